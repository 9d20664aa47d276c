import type { SequencePredictions, StagedModel } from "@frugal/language-model";
import { DeviceHalf } from "./coded-model.ts";
import { CodedScoring, type CodedOptions, type CodedRow } from "./coded-predictions.ts";
import { COMPARED_CODECS, COMPARED_RATIOS, planCodecs } from "./compared-codecs.ts";
import { comparisonRows, type RowOptions } from "./comparison-rows.ts";
import { markdownTable, percent, shortNumber, unavailableMarkdown } from "./markdown.ts";

/** A codec at a ratio, with what the model makes of its activations. */
export interface PerplexityRow extends CodedRow {
  readonly perplexity?: number;
  /** perplexity / the model's without codec - 1. */
  readonly perplexityRise?: number;
  /** Share of the positions at which the most likely next token is that of the model without codec. */
  readonly agreement?: number;
}

/** What codecs do to a model's predictions of a text. */
export interface PerplexityComparison {
  readonly splitBlock: number;
  /** Positions scored: all but the first of each sequence. */
  readonly tokens: number;
  readonly sequences: number;
  /** Without codec. */
  readonly perplexity: number;
  /** The codec table used, where there was one. */
  readonly tableHash?: string;
  /** False where the signal ended it: what was measured until then is there. */
  readonly complete: boolean;
  readonly results: readonly PerplexityRow[];
}

/** Options of `comparePerplexity`. */
export interface PerplexityOptions extends CodedOptions, RowOptions<PerplexityRow> {}

function perplexityOf(predictions: readonly SequencePredictions[]): number {
  let [sum, count] = [0, 0];
  for (const { logProbabilities } of predictions) {
    for (const value of logProbabilities) sum += value;
    count += logProbabilities.length;
  }
  return Math.exp(-sum / count);
}

/** Share of the positions at which both have the same most likely token. */
export function agreementOf(reference: readonly SequencePredictions[], candidate: readonly SequencePredictions[]): number {
  let [agreed, count] = [0, 0];
  for (const [i, { mostLikely }] of reference.entries()) {
    for (const [j, token] of mostLikely.entries()) agreed += token === candidate[i]!.mostLikely[j] ? 1 : 0;
    count += mostLikely.length;
  }
  return agreed / count;
}

/**
 * Perplexity and next-token agreement of a model split before `splitBlock` with each codec at each ratio, over the same sequences. Each
 * sequence (each window of a long one) is one message. The device's half runs once.
 * @throws SettingsError for unknown codecs and a table of another place; as `referencePredictions`; the signal's reason
 */
export async function comparePerplexity(
  model: StagedModel, splitBlock: number, sequences: readonly (readonly number[])[], options: PerplexityOptions = {},
): Promise<PerplexityComparison> {
  const planned = planCodecs(options.codecs ?? COMPARED_CODECS, options.ratios ?? COMPARED_RATIOS);
  const scoring = await CodedScoring.open(new DeviceHalf(model, splitBlock), sequences, options);
  const reference = scoring.reference.sequences;
  const perplexity = perplexityOf(reference);
  const results = await comparisonRows<PerplexityRow>(planned, options, async (codec, ratio) => {
    const scored = await scoring.score(codec, ratio);
    if (scored?.predictions === undefined) return scored?.row;
    const through = perplexityOf(scored.predictions);
    const agreement = agreementOf(reference, scored.predictions);
    return { ...scored.row, perplexity: through, perplexityRise: through / perplexity - 1, agreement };
  });
  return {
    splitBlock, tokens: reference.reduce((sum, { mostLikely }) => sum + mostLikely.length, 0), sequences: sequences.length, perplexity,
    ...(options.table === undefined ? {} : { tableHash: options.table.hash }),
    complete: results.length === planned.length, results,
  };
}

const LEAKAGE_NOTE =
  "Tokens leaked: what the nearest input embedding gives away to whoever reads the messages. Compression is no privacy.";

/** The comparison as Markdown. */
export function perplexityMarkdown({ results, perplexity, tokens, sequences, splitBlock }: PerplexityComparison): string {
  const withLeakage = results.some(({ leakage }) => leakage !== undefined);
  const rows = results.flatMap(({ label, ratio, traffic, perplexity: through, perplexityRise, agreement, leakage }) =>
    traffic === undefined
      ? []
      : [[
          label, ratio === undefined ? "fixed" : `${ratio}x`, shortNumber(traffic.byteRatioFloat16, 2),
          shortNumber(traffic.byteRatioFloat32, 2), shortNumber(traffic.elementRatio, 2), shortNumber(traffic.relativeError),
          shortNumber(through!), percent(perplexityRise!), percent(agreement!),
          ...(withLeakage ? [leakage === undefined ? "" : percent(leakage)] : []),
        ]],
  );
  return [
    `Split before block ${splitBlock}; ${tokens} tokens of ${sequences} sequences, one message each; perplexity without codec ` +
      `${shortNumber(perplexity)}.`,
    markdownTable(
      [
        "codec", "target", "bytes to float16", "bytes to float32", "elements", "relative error", "perplexity", "rise", "agreement",
        ...(withLeakage ? ["tokens leaked"] : []),
      ],
      rows,
    ),
    ...(withLeakage ? [LEAKAGE_NOTE] : []),
    ...unavailableMarkdown(results),
  ].join("\n\n");
}
