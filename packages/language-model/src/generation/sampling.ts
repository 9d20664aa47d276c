import { argmax, cast, concatenate, divide, Generator, logSumExp, max, softmax, subtract, tidy, type Tensor } from "@frugal/tensor-core";
import { LanguageModelError, SettingsError } from "../errors.ts";
import { drawToken } from "./draw-token.ts";

/** How the next token is chosen. */
export interface SamplingOptions {
  /** 0 takes the most likely token, the first of equals; higher is more random. Default 0. */
  readonly temperature?: number;
  /** Only the k most likely tokens. Default: all. */
  readonly topK?: number;
  /** Of those, only the smallest set whose probabilities reach p (Holtzman et al. 2020). Default 1. */
  readonly topP?: number;
  /** Of the random stream, any safe integer. Default 0. */
  readonly seed?: number;
  /**
   * Tokens of the stream drawn before: the next is the one after them, so that generation goes on elsewhere, or after an interruption, as
   * it would have gone on. Default 0.
   */
  readonly drawn?: number;
  /** Also say how likely each chosen token was, which takes one more pass over the logits. Default false. */
  readonly logProbabilities?: boolean;
}

/** A chosen token. */
export interface SampledToken {
  readonly id: number;
  /** Natural logarithm of its probability under the unmodified model; only with `logProbabilities`. */
  readonly logProbability?: number;
}

/** Chooses tokens from logits with vocabularySize elements; the n-th choice depends on the seed, n and the logits alone. */
export type Sampler = (logits: Tensor) => Promise<SampledToken>;

/** Below this, dividing float32 logits could overflow; the most likely token is certain long before. */
const COLDEST = 1e-6;

/** The logits go to the host only where a draw needs them all: the most likely token is found on the device. */
async function mostLikely(logits: Tensor, logProbabilities: boolean): Promise<SampledToken> {
  const summary = tidy(() => {
    const flat = logits.reshape([-1]);
    // Ids are exact in float32: vocabularies are smaller than 2^24.
    const parts = [cast(argmax(flat), "float32"), max(flat), ...(logProbabilities ? [logSumExp(flat)] : [])];
    return concatenate(parts.map((part) => part.reshape([1])));
  });
  const [id, largest, total] = await summary.data("float32");
  summary.dispose();
  assertFinite(largest!);
  return logProbabilities ? { id: id!, logProbability: largest! - total! } : { id: id! };
}

function assertFinite(value: number): void {
  if (!Number.isFinite(value)) throw new LanguageModelError("the model's logits are not finite; are its weights damaged?");
}

/** @throws SettingsError for settings outside their range; the sampler throws LanguageModelError for logits that are not finite */
export function createSampler(options: SamplingOptions = {}): Sampler {
  const { temperature = 0, topK, topP = 1, seed = 0, drawn = 0, logProbabilities = false } = options;
  if (!(temperature >= 0 && Number.isFinite(temperature))) throw new SettingsError(`temperature ${temperature}; use a finite number >= 0`);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1)) throw new SettingsError(`topK ${topK}; use an integer >= 1`);
  if (!(topP > 0 && topP <= 1)) throw new SettingsError(`topP ${topP}; use 0 < topP <= 1`);
  if (!Number.isSafeInteger(drawn) || drawn < 0) throw new SettingsError(`drawn ${drawn}; use an integer >= 0`);
  const random = new Generator(seed);
  // A token takes one number of the stream, whatever its logits.
  random.state = { ...random.state, counter: drawn };
  if (temperature === 0) return (logits) => mostLikely(logits, logProbabilities);
  return async (logits) => {
    const probabilities = tidy(() => {
      const flat = logits.reshape([-1]);
      return softmax(divide(subtract(flat, max(flat)), Math.max(temperature, COLDEST)));
    });
    const values = await probabilities.data("float32");
    probabilities.dispose();
    assertFinite(values[0]!);
    const id = drawToken(values, random.next(), { topK, topP });
    if (!logProbabilities) return { id };
    const chosen = tidy(() => subtract(logits.reshape([-1]).slice(id), logSumExp(logits.reshape([-1]))));
    const logProbability = await chosen.item();
    chosen.dispose();
    return { id, logProbability };
  };
}
