import { crossEntropy, dispose, tensor, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { LanguageModelError } from "../errors.ts";
import type { KeyValueCache } from "../model/key-value-cache.ts";
import { breathe } from "../scheduling/event-loop.ts";

/** What scoring needs of a model: a whole `DecoderModel`, or one that is split between machines. */
export interface ScoringModel {
  readonly device: DeviceName;
  readonly config: { readonly maxPositionEmbeddings: number };
  createCache(options?: { readonly capacity?: number }): KeyValueCache;
  forward(ids: Tensor, options?: { readonly cache?: KeyValueCache }): Tensor | Promise<Tensor>;
}

/** Log-likelihood of token sequences. */
export interface SequenceScore {
  /** Σ log p(token | tokens before), natural logarithm, over all but each sequence's first token. */
  readonly logProbability: number;
  /** Tokens scored. */
  readonly tokens: number;
  /** exp(-logProbability / tokens). */
  readonly perplexity: number;
}

/** Options of scoring. */
export interface ScoringOptions {
  /** Tokens scored at a time, at most the model's context, which is the default. Memory for logits grows with it. */
  readonly window?: number;
  /** Called after each window with the number of tokens scored so far. An error thrown here ends the scoring. */
  readonly onProgress?: (scored: number) => void;
}

/**
 * Log-probability of each token given those before it, from the second on: [ids.length - 1]. Longer inputs than the window are scored in
 * windows that overlap by half, so that every token sees at least half a window.
 * @throws LanguageModelError for fewer than two tokens, RangeError for a window outside 2 … context
 */
export async function tokenLogProbabilities(
  model: ScoringModel, ids: readonly number[], options: ScoringOptions = {},
): Promise<Float32Array> {
  if (ids.length < 2) throw new LanguageModelError(`scoring needs at least two tokens, got ${ids.length}`);
  const { window: context = model.config.maxPositionEmbeddings } = options;
  if (!Number.isInteger(context) || context < 2 || context > model.config.maxPositionEmbeddings) {
    throw new RangeError(`window ${context}; use an integer from 2 to the context of ${model.config.maxPositionEmbeddings}`);
  }
  const result = new Float32Array(ids.length - 1);
  let scored = 0;
  for (let start = 0; scored < result.length; start += Math.floor(context / 2)) {
    await breathe();
    const window = ids.slice(start, start + context);
    const values = await targetLosses(model, window.slice(0, -1), window.slice(1));
    for (let i = scored - start; i < values.length; i++) result[start + i] = -values[i]!;
    scored = start + values.length;
    options.onProgress?.(scored);
  }
  return result;
}

/** -log p of each target given the inputs up to its place. */
async function targetLosses(
  model: ScoringModel, inputIds: readonly number[], targetIds: readonly number[], cache?: KeyValueCache,
): Promise<Float32Array> {
  const shape = [1, inputIds.length];
  const inputs = tensor(Int32Array.from(inputIds), shape, { device: model.device });
  const targets = tensor(Int32Array.from(targetIds), shape, { device: model.device });
  const logits = await model.forward(inputs, cache ? { cache } : {});
  const losses = tidy(() => crossEntropy(logits, targets, { reduction: "none" }));
  const values = await losses.data("float32");
  dispose([inputs, targets, logits, losses]);
  return values;
}

/** Perplexity of sequences that each stand alone (put the begin token first). */
export async function scoreSequences(
  model: ScoringModel, sequences: readonly (readonly number[])[],
  options: ScoringOptions = {},
): Promise<SequenceScore> {
  if (sequences.length === 0) throw new LanguageModelError("scoreSequences: there is no sequence to score");
  let logProbability = 0;
  let tokens = 0;
  for (const ids of sequences) {
    const before = tokens;
    const onProgress = (scored: number): void => options.onProgress?.(before + scored);
    for (const value of await tokenLogProbabilities(model, ids, { ...options, onProgress })) logProbability += value;
    tokens += ids.length - 1;
  }
  return { logProbability, tokens, perplexity: Math.exp(-logProbability / tokens) };
}

/** Score of one answer. */
export interface ContinuationScore {
  /** Σ log p of the continuation's tokens. */
  readonly logProbability: number;
  /** Divided by the number of tokens: longer answers are not at a disadvantage. */
  readonly meanLogProbability: number;
}

/** Log-likelihood of each continuation after a shared prompt, whose keys and values are computed once. */
export async function scoreContinuations(
  model: ScoringModel, promptIds: readonly number[], continuations: readonly (readonly number[])[],
): Promise<ContinuationScore[]> {
  const longest = Math.max(0, ...continuations.map((ids) => ids.length));
  if (promptIds.length === 0 || continuations.some((ids) => ids.length === 0)) {
    throw new LanguageModelError("scoreContinuations: prompt and continuations need at least one token each");
  }
  const cache = model.createCache({ capacity: promptIds.length + longest });
  try {
    const shared = promptIds.slice(0, -1);
    if (shared.length > 0) {
      const inputs = tensor(Int32Array.from(shared), [1, shared.length], { device: model.device });
      dispose([inputs, await model.forward(inputs, { cache })]);
    }
    const scores: ContinuationScore[] = [];
    for (const ids of continuations) {
      await breathe();
      cache.truncate(shared.length);
      const losses = await targetLosses(model, [promptIds.at(-1)!, ...ids.slice(0, -1)], ids, cache);
      const logProbability = -losses.reduce((total, loss) => total + loss, 0);
      scores.push({ logProbability, meanLogProbability: logProbability / ids.length });
    }
    return scores;
  } finally {
    cache.dispose();
  }
}
