import { Generator } from "@frugal/tensor-core";

/** How the next token is chosen. */
export interface SamplingOptions {
  /** 0 takes the most likely token; higher is more random. Default 0. */
  readonly temperature?: number;
  /** Only the k most likely tokens. Default: all. */
  readonly topK?: number;
  /** Only the smallest set of tokens whose probabilities reach p (Holtzman et al. 2020). Default 1. */
  readonly topP?: number;
  /** Of the random stream. Default 0. */
  readonly seed?: number;
}

/** A chosen token. */
export interface SampledToken {
  readonly id: number;
  /** Natural logarithm of its probability under the unmodified model. */
  readonly logProbability: number;
}

/** Chooses tokens; the n-th choice depends on the seed, n and the logits alone. */
export type Sampler = (logits: Float32Array) => SampledToken;

/** log Σ exp(logits). */
export function logSumExpOf(logits: Float32Array): number {
  let largest = -Infinity;
  for (const value of logits) if (value > largest) largest = value;
  let total = 0;
  for (const value of logits) total += Math.exp(value - largest);
  return largest + Math.log(total);
}

function argmax(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/** @throws RangeError for settings outside their range */
export function createSampler({ temperature = 0, topK, topP = 1, seed = 0 }: SamplingOptions = {}): Sampler {
  if (!(temperature >= 0 && Number.isFinite(temperature))) throw new RangeError(`temperature ${temperature}; use a finite number >= 0`);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1)) throw new RangeError(`topK ${topK}; use an integer >= 1`);
  if (!(topP > 0 && topP <= 1)) throw new RangeError(`topP ${topP}; use 0 < topP <= 1`);
  const random = new Generator(seed);
  return (logits) => {
    if (temperature === 0) {
      const id = argmax(logits);
      return { id, logProbability: logits[id]! - logSumExpOf(logits) };
    }
    const draw = random.next();
    const candidates = shortlist(logits, topK, topP, temperature);
    const largest = logits[candidates[0]!]!;
    const weights = candidates.map((id) => Math.exp((logits[id]! - largest) / temperature));
    let remaining = draw * weights.reduce((total, weight) => total + weight, 0);
    let chosen = candidates.at(-1)!;
    for (let i = 0; i < candidates.length; i++) {
      remaining -= weights[i]!;
      if (remaining < 0) {
        chosen = candidates[i]!;
        break;
      }
    }
    return { id: chosen, logProbability: logits[chosen]! - logSumExpOf(logits) };
  };
}

/** Ids that may be drawn, most likely first. */
function shortlist(logits: Float32Array, topK: number | undefined, topP: number, temperature: number): number[] {
  const ids = Array.from(logits, (_, id) => id);
  const limit = Math.min(topK ?? ids.length, ids.length);
  if (limit === ids.length && topP === 1) {
    const best = argmax(logits);
    [ids[0], ids[best]] = [best, 0];
    return ids;
  }
  ids.sort((a, b) => logits[b]! - logits[a]! || a - b);
  const kept = ids.slice(0, limit);
  if (topP === 1) return kept;
  const largest = logits[kept[0]!]!;
  const weights = kept.map((id) => Math.exp((logits[id]! - largest) / temperature));
  const target = topP * weights.reduce((total, weight) => total + weight, 0);
  let reached = 0;
  const count = weights.findIndex((weight) => (reached += weight) >= target);
  return kept.slice(0, count < 0 ? kept.length : count + 1);
}
