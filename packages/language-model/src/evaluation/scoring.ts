import { tensor } from "@frugal/tensor-core";
import { LanguageModelError } from "../errors.ts";
import { checkIds } from "../model/check-ids.ts";
import { breathe } from "../scheduling/event-loop.ts";
import { scoringWindows, targetLosses, type ScoringModel, type ScoringOptions } from "./windows.ts";

/** Log-likelihood of token sequences. */
export interface SequenceScore {
  /** Σ log p(token | tokens before), natural logarithm, over all but each sequence's first token. */
  readonly logProbability: number;
  /** Tokens scored. */
  readonly tokens: number;
  /** exp(-logProbability / tokens). */
  readonly perplexity: number;
}

/**
 * Log-probability of each token given those before it, from the second on: [ids.length - 1]. Longer inputs than the window are scored in
 * windows that overlap by half, so that every token sees at least half a window.
 * @throws LanguageModelError for fewer than two tokens, ids outside the vocabulary, and losses that are not finite; SettingsError for a
 * window outside 2 … context; the signal's reason
 */
export async function tokenLogProbabilities(
  model: ScoringModel, ids: readonly number[], options: ScoringOptions = {},
): Promise<Float32Array> {
  const result = new Float32Array(Math.max(0, ids.length - 1));
  for await (const { input, target, start, first } of scoringWindows([model], ids, options)) {
    const losses = await targetLosses(model, input, target);
    for (let i = first; i < losses.length; i++) result[start + i] = -losses[i]!;
  }
  return result;
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
