import { LanguageModelError } from "../errors.ts";
import type { SequenceScore } from "./scoring.ts";
import { scoringWindows, targetPredictions, windowOf, type ScoringModel, type ScoringOptions } from "./windows.ts";

/** What a model says of one sequence, from its second token on. */
export interface SequencePredictions {
  /** log p(token | tokens before), natural logarithm: [tokens - 1]. */
  readonly logProbabilities: Float32Array;
  /** The most likely token at each of these places, the first of equals: [tokens - 1]. */
  readonly mostLikely: Int32Array;
}

/** What a reference model says of sequences, to compare any number of candidates with. */
export interface ReferencePredictions {
  readonly sequences: readonly SequencePredictions[];
  /** Tokens scored at a time; candidates are scored in the same windows. */
  readonly window: number;
}

/** A candidate beside a reference, on the same tokens. */
export interface ModelComparison {
  readonly reference: SequenceScore;
  readonly candidate: SequenceScore;
  /** Share of the positions at which both have the same most likely next token. */
  readonly agreement: number;
  /** Positions compared: all but each sequence's first token. */
  readonly tokens: number;
}

/** Each window by every model before the next window: one forward pass each. */
async function predict(models: readonly ScoringModel[], ids: readonly number[], options: ScoringOptions): Promise<SequencePredictions[]> {
  const count = Math.max(0, ids.length - 1);
  const results = models.map(() => ({ logProbabilities: new Float32Array(count), mostLikely: new Int32Array(count) }));
  for await (const { input, target, start, first } of scoringWindows(models, ids, options)) {
    for (const [at, model] of models.entries()) {
      const { losses, mostLikely } = await targetPredictions(model, input, target);
      for (let i = first; i < losses.length; i++) {
        results[at]!.logProbabilities[start + i] = -losses[i]!;
        results[at]!.mostLikely[start + i] = mostLikely[i]!;
      }
    }
  }
  return results;
}

/** `predict` of all sequences; progress counts on from one to the next. */
async function* predictAll(
  models: readonly ScoringModel[], sequences: readonly (readonly number[])[], options: ScoringOptions,
): AsyncGenerator<SequencePredictions[]> {
  if (sequences.length === 0) throw new LanguageModelError("there is no sequence to compare on");
  const window = windowOf(models, options);
  let before = 0;
  for (const ids of sequences) {
    const onProgress = (scored: number): void => options.onProgress?.(before + scored);
    yield await predict(models, ids, { ...options, window, onProgress });
    before += ids.length - 1;
  }
}

/** @throws LanguageModelError for models whose ids mean different tokens */
function checkVocabularies(reference: ScoringModel, candidate: ScoringModel): void {
  if (reference.vocabularySize === candidate.vocabularySize) return;
  const sizes = `${reference.vocabularySize} and ${candidate.vocabularySize}`;
  throw new LanguageModelError(`vocabularies of ${sizes} tokens cannot be compared; take models with the same tokenizer`);
}

/** Sums of what was predicted, sequence by sequence. */
class Comparison {
  #tokens = 0;
  #agreed = 0;
  #reference = 0;
  #candidate = 0;

  add(reference: SequencePredictions, candidate: SequencePredictions): void {
    for (const [i, logProbability] of reference.logProbabilities.entries()) {
      this.#tokens++;
      this.#reference += logProbability;
      this.#candidate += candidate.logProbabilities[i]!;
      if (reference.mostLikely[i] === candidate.mostLikely[i]) this.#agreed++;
    }
  }

  result(): ModelComparison {
    const tokens = this.#tokens;
    const score = (logProbability: number): SequenceScore => ({ logProbability, tokens, perplexity: Math.exp(-logProbability / tokens) });
    return { reference: score(this.#reference), candidate: score(this.#candidate), agreement: this.#agreed / tokens, tokens };
  }
}

/**
 * How a candidate (the same model in fewer bits, or split with a codec) predicts sequences, beside its reference: likelihood, and the share
 * of places where both would choose the same token. Each sequence stands alone (put the begin token first); long ones are scored in
 * windows that overlap by half, by one forward pass of each model a window. Only losses and ids leave the device.
 * @throws LanguageModelError for no sequences, sequences of fewer than two tokens, ids outside the vocabulary, models with different
 * vocabularies and losses that are not finite; SettingsError for a window outside 2 … context; the signal's reason
 */
export async function compareModels(
  reference: ScoringModel, candidate: ScoringModel, sequences: readonly (readonly number[])[], options: ScoringOptions = {},
): Promise<ModelComparison> {
  checkVocabularies(reference, candidate);
  const comparison = new Comparison();
  for await (const [first, second] of predictAll([reference, candidate], sequences, options)) comparison.add(first!, second!);
  return comparison.result();
}

/**
 * The reference's half of `compareModels`, to be computed once for many candidates; 8 bytes a token. Where candidates have a shorter
 * context, give it as the window. @throws as `compareModels`
 */
export async function referencePredictions(
  model: ScoringModel, sequences: readonly (readonly number[])[], options: ScoringOptions = {},
): Promise<ReferencePredictions> {
  const predictions: SequencePredictions[] = [];
  for await (const [prediction] of predictAll([model], sequences, options)) predictions.push(prediction!);
  return { sequences: predictions, window: windowOf([model], options) };
}

/**
 * `compareModels` with a reference's predictions of the same sequences, in the windows they were made with.
 * @throws as `compareModels`, and LanguageModelError when the predictions are not of these sequences
 */
export async function compareWithReference(
  predictions: ReferencePredictions, candidate: ScoringModel, sequences: readonly (readonly number[])[],
  options: Omit<ScoringOptions, "window"> = {},
): Promise<ModelComparison> {
  const lengths = predictions.sequences.map(({ logProbabilities }) => logProbabilities.length + 1);
  if (lengths.length !== sequences.length || sequences.some((ids, i) => ids.length !== lengths[i])) {
    throw new LanguageModelError("the predictions are of other sequences; make them anew with referencePredictions()");
  }
  const comparison = new Comparison();
  let at = 0;
  for await (const [candidates] of predictAll([candidate], sequences, { ...options, window: predictions.window })) {
    comparison.add(predictions.sequences[at++]!, candidates!);
  }
  return comparison.result();
}
