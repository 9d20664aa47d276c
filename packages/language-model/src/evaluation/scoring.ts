import { crossEntropy, dispose, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { LanguageModelError, SettingsError } from "../errors.ts";
import { checkIds } from "../model/check-ids.ts";
import type { DecoderCache } from "../model/decoder-cache.ts";
import type { ForwardOptions, StagedModel } from "../model/staged-model.ts";
import { breathe } from "../scheduling/event-loop.ts";

/** What scoring needs of a model: any whole `StagedModel`, or one that is split between machines. */
export interface ScoringModel extends Pick<StagedModel, "device" | "vocabularySize" | "config" | "createCache"> {
  forward(ids: Tensor, options?: ForwardOptions): Tensor | Promise<Tensor>;
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
  /**
   * Tokens scored at a time, at most the model's context. Memory for logits grows with it. Default: the context, or 2048 where it is
   * longer.
   */
  readonly window?: number;
  /** Called after each window with the number of tokens scored so far. An error thrown here ends the scoring. */
  readonly onProgress?: (scored: number) => void;
}

/** Default bound on the tokens scored at a time: their logits over a vocabulary of 128,000 take a gigabyte. */
const LARGEST_DEFAULT_WINDOW = 2048;

/**
 * Log-probability of each token given those before it, from the second on: [ids.length - 1]. Longer inputs than the window are scored in
 * windows that overlap by half, so that every token sees at least half a window.
 * @throws LanguageModelError for fewer than two tokens, ids outside the vocabulary, and losses that are not finite; SettingsError for a
 * window outside 2 … context
 */
export async function tokenLogProbabilities(
  model: ScoringModel, ids: readonly number[], options: ScoringOptions = {},
): Promise<Float32Array> {
  if (ids.length < 2) throw new LanguageModelError(`scoring needs at least two tokens, got ${ids.length}`);
  checkIds(model, ids);
  const { maxPositionEmbeddings: longest } = model.config;
  const { window: context = Math.min(longest, LARGEST_DEFAULT_WINDOW) } = options;
  if (!Number.isInteger(context) || context < 2 || context > longest) {
    throw new SettingsError(`window ${context}; use an integer from 2 to the context of ${longest}`);
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

/** -log p of each target given the inputs up to its place. @throws LanguageModelError when one is not finite */
async function targetLosses(
  model: ScoringModel, inputIds: readonly number[], targetIds: readonly number[], cache?: DecoderCache,
): Promise<Float32Array> {
  const shape = [1, inputIds.length];
  const made: Tensor[] = [];
  const track = (value: Tensor): Tensor => (made.push(value), value);
  let values: Float32Array;
  try {
    const inputs = track(tensor(Int32Array.from(inputIds), shape, { device: model.device }));
    const targets = track(tensor(Int32Array.from(targetIds), shape, { device: model.device }));
    const logits = track(await model.forward(inputs, cache ? { cache } : {}));
    const losses = track(tidy(() => crossEntropy(logits, targets, { reduction: "none" })));
    values = await losses.data("float32");
  } finally {
    dispose(made);
  }
  const broken = values.findIndex((loss) => !Number.isFinite(loss));
  if (broken >= 0) throw new LanguageModelError(`the loss of token ${broken + 1} is ${values[broken]}; are the model's weights damaged?`);
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
  checkIds(model, promptIds);
  for (const ids of continuations) checkIds(model, ids);
  const cache = model.createCache({ capacity: promptIds.length + longest });
  try {
    const shared = promptIds.slice(0, -1);
    if (shared.length > 0) {
      const inputs = tensor(Int32Array.from(shared), [1, shared.length], { device: model.device });
      try {
        (await model.forward(inputs, { cache, lastOnly: true })).dispose();
      } finally {
        inputs.dispose();
      }
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
