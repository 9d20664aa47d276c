import type { SequencePredictions, StagedModel, Tokenizer } from "@frugal/language-model";
import { EvaluationDataError } from "../errors.ts";
import { DeviceHalf } from "./coded-model.ts";
import { CodedScoring, type CodedOptions, type CodedRow } from "./coded-predictions.ts";
import { COMPARED_CODECS, COMPARED_RATIOS, planCodecs } from "./compared-codecs.ts";
import { comparisonRows, type RowOptions } from "./comparison-rows.ts";
import { markdownTable, percent, shortNumber, unavailableMarkdown } from "./markdown.ts";
import { agreementOf } from "./perplexity-comparison.ts";
import { choiceSequences, type Question, type QuestionSet } from "./questions.ts";

/** A share of questions, with its standard error √(p (1 - p) / n). */
export interface Accuracy {
  readonly share: number;
  readonly standardError: number;
}

/** How a model answers. */
export interface MultipleChoiceScore {
  readonly questions: number;
  /** The most likely choice is right. */
  readonly accuracy: Accuracy;
  /** The same with log-likelihoods divided by the choice's characters (as `acc_norm` of lm-evaluation-harness). */
  readonly normalizedAccuracy: Accuracy;
  /** exp of the mean loss over the tokens of right answers. */
  readonly answerPerplexity: number;
}

/** A codec at a ratio, with how the model answers through it. */
export interface MultipleChoiceRow extends CodedRow {
  readonly score?: MultipleChoiceScore;
  /** Share of all positions at which the most likely next token is that of the model without codec. */
  readonly agreement?: number;
}

/** What codecs do to a model's answers. */
export interface MultipleChoiceComparison {
  readonly dataset: string;
  readonly splitBlock: number;
  /** Accuracy of guessing. */
  readonly chance: number;
  /** Without codec. */
  readonly reference: MultipleChoiceScore;
  readonly tableHash?: string;
  /** False where the signal ended it: what was measured until then is there. */
  readonly complete: boolean;
  readonly results: readonly MultipleChoiceRow[];
}

/** Options of `compareMultipleChoice`. */
export interface MultipleChoiceOptions extends CodedOptions, RowOptions<MultipleChoiceRow> {}

/** A choice among the sequences that are scored. */
interface ScoredChoice {
  readonly sequence: number;
  /** The first of its tokens. */
  readonly from: number;
  readonly characters: number;
}

/** A share of `count` questions with its standard error. */
export function accuracyOf(right: number, count: number): Accuracy {
  const share = right / count;
  return { share, standardError: Math.sqrt((share * (1 - share)) / count) };
}

function indexOfLargest(values: readonly number[]): number {
  return values.reduce((best, value, index) => (value > values[best]! ? index : best), 0);
}

function scoreOf(
  questions: readonly Question[], choices: readonly (readonly ScoredChoice[])[], predictions: readonly SequencePredictions[],
): MultipleChoiceScore {
  let [right, normalizedRight, loss, tokens] = [0, 0, 0, 0];
  for (const [index, { answer }] of questions.entries()) {
    const scored = choices[index]!.map(({ sequence, from }) => {
      // The first prediction is of the second token.
      const values = predictions[sequence]!.logProbabilities.subarray(from - 1);
      return { sum: values.reduce((sum, value) => sum + value, 0), count: values.length };
    });
    if (indexOfLargest(scored.map(({ sum }) => sum)) === answer) right++;
    if (indexOfLargest(scored.map(({ sum }, i) => sum / choices[index]![i]!.characters)) === answer) normalizedRight++;
    loss -= scored[answer]!.sum;
    tokens += scored[answer]!.count;
  }
  const count = questions.length;
  return {
    questions: count, accuracy: accuracyOf(right, count), normalizedAccuracy: accuracyOf(normalizedRight, count),
    answerPerplexity: Math.exp(loss / tokens),
  };
}

/**
 * Answers of a model split before `splitBlock` with each codec at each ratio: choices are scored as continuations of
 * "Question: …\nAnswer:", each question with a choice one message, as in prefill.
 * @throws EvaluationDataError for questions longer than the model's context; SettingsError as `comparePerplexity`; the signal's reason
 */
export async function compareMultipleChoice(
  model: StagedModel, tokenizer: Tokenizer, splitBlock: number, { name, questions }: QuestionSet, options: MultipleChoiceOptions = {},
): Promise<MultipleChoiceComparison> {
  const planned = planCodecs(options.codecs ?? COMPARED_CODECS, options.ratios ?? COMPARED_RATIOS);
  const sequences: (readonly number[])[] = [];
  const choices = questions.map((question) =>
    choiceSequences(question, tokenizer).map(({ ids, from }, index) => {
      if (ids.length > model.config.maxPositionEmbeddings) {
        throw new EvaluationDataError(
          `question ${question.id} of ${name} takes ${ids.length} tokens; the model's context is ${model.config.maxPositionEmbeddings}`,
        );
      }
      sequences.push(ids);
      return { sequence: sequences.length - 1, from, characters: Math.max(1, [...question.choices[index]!.trim()].length) };
    }),
  );
  const longest = Math.max(2, ...sequences.map((ids) => ids.length));
  // One window a sequence, so that one message holds it.
  const scoring = await CodedScoring.open(new DeviceHalf(model, splitBlock), sequences, { ...options, window: longest });
  const results = await comparisonRows<MultipleChoiceRow>(planned, options, async (codec, ratio) => {
    const scored = await scoring.score(codec, ratio);
    if (scored?.predictions === undefined) return scored?.row;
    const agreement = agreementOf(scoring.reference.sequences, scored.predictions);
    return { ...scored.row, score: scoreOf(questions, choices, scored.predictions), agreement };
  });
  return {
    dataset: name, splitBlock, chance: questions.reduce((sum, question) => sum + 1 / question.choices.length, 0) / questions.length,
    reference: scoreOf(questions, choices, scoring.reference.sequences),
    ...(options.table === undefined ? {} : { tableHash: options.table.hash }),
    complete: results.length === planned.length, results,
  };
}

function accuracyText({ share, standardError }: Accuracy): string {
  return `${(100 * share).toFixed(1)} ± ${(100 * standardError).toFixed(1)}`;
}

/** The comparison as Markdown; accuracies in percent with one standard error. */
export function multipleChoiceMarkdown({ dataset, splitBlock, chance, reference, results }: MultipleChoiceComparison): string {
  const withLeakage = results.some(({ leakage }) => leakage !== undefined);
  const scoreCells = (score: MultipleChoiceScore): string[] => [
    accuracyText(score.accuracy), accuracyText(score.normalizedAccuracy), shortNumber(score.answerPerplexity),
  ];
  const rows = results.flatMap(({ label, ratio, traffic, score, agreement, leakage }) =>
    traffic === undefined || score === undefined
      ? []
      : [[
          label, ratio === undefined ? "fixed" : `${ratio}x`, shortNumber(traffic.byteRatioFloat16, 2), shortNumber(traffic.relativeError),
          ...scoreCells(score), percent(agreement!), ...(withLeakage ? [leakage === undefined ? "" : percent(leakage)] : []),
        ]],
  );
  return [
    `${dataset}: ${reference.questions} questions, split before block ${splitBlock}; guessing gives ${percent(chance)}. ` +
      "Accuracies in percent ± one standard error: differences of that size are noise; perplexity and agreement tell more.",
    markdownTable(
      [
        "codec", "target", "bytes to float16", "relative error", "accuracy", "accuracy, length-normalised", "perplexity of the answer",
        "agreement", ...(withLeakage ? ["tokens leaked"] : []),
      ],
      [["no codec", "", "1", "0", ...scoreCells(reference), percent(1), ...(withLeakage ? [""] : [])], ...rows],
    ),
    ...unavailableMarkdown(results),
  ].join("\n\n");
}
