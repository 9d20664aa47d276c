import { argmax, cast, concatenate, crossEntropy, dispose, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { LanguageModelError, SettingsError } from "../errors.ts";
import { checkIds } from "../model/check-ids.ts";
import type { DecoderCache } from "../model/decoder-cache.ts";
import type { ForwardOptions, StagedModel } from "../model/staged-model.ts";
import { breathe } from "../scheduling/event-loop.ts";

/** What scoring needs of a model: any whole `StagedModel`, or one that is split between machines. */
export interface ScoringModel extends Pick<StagedModel, "device" | "vocabularySize" | "config" | "createCache"> {
  forward(ids: Tensor, options?: ForwardOptions): Tensor | Promise<Tensor>;
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
  /** Ends the scoring with its reason, before the next window. */
  readonly signal?: AbortSignal;
}

/** Default bound on the tokens scored at a time: their logits over a vocabulary of 128,000 take a gigabyte. */
const LARGEST_DEFAULT_WINDOW = 2048;

/** Tokens that are scored by one forward pass. */
export interface ScoringWindow {
  readonly input: readonly number[];
  /** What follows each input. */
  readonly target: readonly number[];
  /** Place of the first input in the sequence. */
  readonly start: number;
  /** Targets before this one were scored by the window before. */
  readonly first: number;
}

/** The window that all of these models have the positions for, as far as nothing else is asked. @throws SettingsError */
export function windowOf(models: readonly ScoringModel[], { window }: Pick<ScoringOptions, "window"> = {}): number {
  const longest = Math.min(...models.map(({ config }) => config.maxPositionEmbeddings));
  const context = window ?? Math.min(longest, LARGEST_DEFAULT_WINDOW);
  if (Number.isInteger(context) && context >= 2 && context <= longest) return context;
  throw new SettingsError(`window ${context}; use an integer from 2 to the context of ${longest}`);
}

/**
 * The windows of a sequence, overlapping by half. Progress is told when the next one is asked for.
 * @throws LanguageModelError for fewer than two tokens and ids outside a vocabulary, SettingsError for the window, the signal's reason
 */
export async function* scoringWindows(
  models: readonly ScoringModel[], ids: readonly number[], options: ScoringOptions,
): AsyncGenerator<ScoringWindow> {
  if (ids.length < 2) throw new LanguageModelError(`scoring needs at least two tokens, got ${ids.length}`);
  for (const model of models) checkIds(model, ids);
  const context = windowOf(models, options);
  let scored = 0;
  for (let start = 0; scored < ids.length - 1; start += Math.floor(context / 2)) {
    await breathe();
    options.signal?.throwIfAborted();
    const window = ids.slice(start, start + context);
    yield { input: window.slice(0, -1), target: window.slice(1), start, first: scored - start };
    scored = start + window.length - 1;
    options.onProgress?.(scored);
  }
}

/** `read` of the logits at each input, in one tensor whose numbers come to the host; everything else is freed. */
async function readLogits(
  model: ScoringModel, inputIds: readonly number[], targetIds: readonly number[], cache: DecoderCache | undefined,
  read: (logits: Tensor, targets: Tensor) => Tensor,
): Promise<Float32Array> {
  const shape = [1, inputIds.length];
  const made: Tensor[] = [];
  const track = (value: Tensor): Tensor => (made.push(value), value);
  try {
    const inputs = track(tensor(Int32Array.from(inputIds), shape, { device: model.device }));
    const targets = track(tensor(Int32Array.from(targetIds), shape, { device: model.device }));
    const logits = track(await model.forward(inputs, cache ? { cache } : {}));
    return await track(tidy(() => read(logits, targets))).data("float32");
  } finally {
    dispose(made);
  }
}

/** @throws LanguageModelError when a loss is not finite */
function checkLosses(losses: Float32Array): void {
  const broken = losses.findIndex((loss) => !Number.isFinite(loss));
  if (broken >= 0) throw new LanguageModelError(`the loss of token ${broken + 1} is ${losses[broken]}; are the model's weights damaged?`);
}

/** -log p of each target given the inputs up to its place. @throws LanguageModelError when one is not finite */
export async function targetLosses(
  model: ScoringModel, inputIds: readonly number[], targetIds: readonly number[], cache?: DecoderCache,
): Promise<Float32Array> {
  const read = (logits: Tensor, targets: Tensor): Tensor => crossEntropy(logits, targets, { reduction: "none" });
  const losses = await readLogits(model, inputIds, targetIds, cache, read);
  checkLosses(losses);
  return losses;
}

/** The same, and the most likely token at each place, the first of equals, found on the device. @throws LanguageModelError */
export async function targetPredictions(
  model: ScoringModel, inputIds: readonly number[], targetIds: readonly number[],
): Promise<{ readonly losses: Float32Array; readonly mostLikely: Float32Array }> {
  const values = await readLogits(model, inputIds, targetIds, undefined, (logits, targets) => {
    const losses = crossEntropy(logits, targets, { reduction: "none" });
    // Ids are exact in float32: vocabularies are smaller than 2^24.
    return concatenate([losses, cast(argmax(logits, -1), "float32")]);
  });
  const losses = values.subarray(0, inputIds.length);
  checkLosses(losses);
  return { losses, mostLikely: values.subarray(inputIds.length) };
}
