import type { DeviceName } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import { createCodec } from "../codecs/registry.ts";
import { CodecTableError, CodecTargetError, SettingsError } from "../errors.ts";
import type { ActivationSet } from "./activations-folder.ts";
import { COMPARED_CODECS, COMPARED_RATIOS, planCodecs } from "./compared-codecs.ts";
import { comparisonRows, type RowOptions } from "./comparison-rows.ts";
import { rateOf, settingsAtRatio, type RateAllocation } from "./equal-bytes.ts";
import { markdownTable, shortNumber, unavailableMarkdown } from "./markdown.ts";
import { measureReconstruction, type MessageRows, type Reconstruction } from "./reconstruction.ts";

/** A codec at a ratio, measured. */
export interface ReconstructionRow {
  /** `ComparedCodec.key`. */
  readonly codec: string;
  readonly label: string;
  /** What was aimed for; none for codecs of a fixed rate. */
  readonly ratio?: number;
  readonly mode?: CodecMode;
  /** Of a block of low frequencies: KS / S. */
  readonly tokenShare?: number;
  /** Begin rows left out. Absent where the codec could not be measured. */
  readonly result?: Reconstruction;
  /** With the same mode, begin rows in the messages, where the table has one to send them as a bit. */
  readonly withBeginRows?: Reconstruction;
  /** Why there is no result: a table without what the codec needs, a target out of reach. */
  readonly unavailable?: string;
}

/** What was compared, and what came out. */
export interface ReconstructionComparison {
  readonly activations: string;
  readonly block: number;
  readonly hiddenSize: number;
  /** Test rows without begin rows, and the prompts that they are of. */
  readonly rows: number;
  readonly prompts: number;
  readonly tableHash: string;
  /** ‖A - mean‖ / ‖A‖ with the mean of the calibration rows: what no bytes at all give. */
  readonly meanOnlyError: number;
  /** False where the signal ended it: what was measured until then is there. */
  readonly complete: boolean;
  readonly results: readonly ReconstructionRow[];
}

/** Options of `compareReconstruction`. */
export interface CompareReconstructionOptions extends RowOptions<ReconstructionRow> {
  /** Names as of `comparedCodec`. Default: all. */
  readonly codecs?: readonly string[];
  /** Default 4, 7.6, 10, 16. */
  readonly ratios?: readonly number[];
  readonly allocation?: RateAllocation;
  readonly device?: DeviceName;
  /** Ends the comparison with what there is. */
  readonly signal?: AbortSignal | undefined;
}

/** One message a prompt. Where the set has a begin row, it is left out unless `withBeginRows`. Prompts of nothing else are dropped. */
export function messagesOf(set: ActivationSet, { withBeginRows = false }: { readonly withBeginRows?: boolean } = {}): MessageRows[] {
  const skipped = set.beginRow === undefined || withBeginRows ? 0 : 1;
  return set.prompts.flatMap(({ rows, tokens }) =>
    tokens.length <= skipped
      ? []
      : [{ rows: rows.subarray(skipped * set.hiddenSize), tokens: tokens.length - skipped, positionOffset: skipped }],
  );
}

function meanOnlyError(messages: readonly MessageRows[], { mean, hiddenSize }: CodecTable): number {
  let [difference, energy] = [0, 0];
  for (const { rows } of messages) {
    for (const [i, value] of rows.entries()) {
      difference += (value - mean[i % hiddenSize]!) ** 2;
      energy += value ** 2;
    }
  }
  return Math.sqrt(difference / energy);
}

/**
 * Measures codecs at equal ratios on a folder's test prompts, with a table calibrated on its calibration rows: one message a prompt.
 * A codec that the table does not suffice for, or a ratio out of its reach, gives a row that says so.
 * @throws SettingsError for unknown codecs, ratios out of range and a table of another width
 */
export async function compareReconstruction(
  set: ActivationSet, table: CodecTable, options: CompareReconstructionOptions = {},
): Promise<ReconstructionComparison> {
  if (table.hiddenSize !== set.hiddenSize) {
    throw new SettingsError(`the codec table is for hiddenSize ${table.hiddenSize}, the activations of ${set.name} have ${set.hiddenSize}`);
  }
  const { allocation = "shared-step", device = "cpu", signal } = options;
  const measure = { hiddenSize: set.hiddenSize, block: set.block, device, signal };
  const messages = messagesOf(set);
  const whole = set.beginRow !== undefined && table.beginRow !== undefined ? messagesOf(set, { withBeginRows: true }) : undefined;
  const planned = planCodecs(options.codecs ?? COMPARED_CODECS, options.ratios ?? COMPARED_RATIOS);
  const results = await comparisonRows<ReconstructionRow>(planned, options, async (codec, ratio) => {
    const head = { codec: codec.key, label: codec.label, ...(ratio === undefined ? {} : { ratio }) };
    try {
      const settings = await settingsAtRatio(codec, ratio, messages, table, { ...measure, allocation });
      const coder = createCodec(codec.name, { ...settings, table });
      const result = await measureReconstruction(coder, messages, measure);
      const withBeginRows = whole && (await measureReconstruction(coder, whole, measure));
      return { ...head, ...rateOf(settings), result, ...(withBeginRows === undefined ? {} : { withBeginRows }) };
    } catch (error) {
      if (signal?.aborted) return undefined;
      if (!(error instanceof CodecTargetError || error instanceof SettingsError || error instanceof CodecTableError)) throw error;
      return { ...head, unavailable: error.message };
    }
  });
  return {
    activations: set.name, block: set.block, hiddenSize: set.hiddenSize, rows: messages.reduce((sum, { tokens }) => sum + tokens, 0),
    prompts: messages.length, tableHash: table.hash, meanOnlyError: meanOnlyError(messages, table),
    complete: results.length === planned.length, results,
  };
}

/** Where messages are larger or smaller than asked for by more than this share, the table says so. */
const SAME_RATIO = 0.02;

/** The comparison as Markdown: errors at the ratios, then what every row took. */
export function reconstructionMarkdown(comparison: ReconstructionComparison): string {
  const { results } = comparison;
  const ratios = [...new Set(results.flatMap(({ ratio }) => ratio ?? []))].sort((a, b) => a - b);
  const cell = (row: ReconstructionRow | undefined): string => {
    if (row === undefined) return "";
    if (row.result === undefined) return "-";
    const { relativeError, byteRatioFloat16 } = row.result;
    const isAsAsked = Math.abs(byteRatioFloat16 / row.ratio! - 1) <= SAME_RATIO;
    return shortNumber(relativeError) + (isAsAsked ? "" : ` (${shortNumber(byteRatioFloat16, 2)}x)`);
  };
  const keys = [...new Set(results.filter(({ ratio }) => ratio !== undefined).map(({ codec }) => codec))];
  const errors = keys.map((key) => {
    const rows = results.filter(({ codec }) => codec === key);
    return [rows[0]!.label, ...ratios.map((ratio) => cell(rows.find((row) => row.ratio === ratio)))];
  });
  const megabytes = (result: Reconstruction, milliseconds: number): string =>
    shortNumber((2 * result.tokens * comparison.hiddenSize) / 1e3 / milliseconds, 1);
  const details = results.flatMap(({ label, ratio, result, withBeginRows }) =>
    result === undefined
      ? []
      : [[
          label, ratio === undefined ? "fixed" : String(ratio), shortNumber(result.relativeError, 4),
          withBeginRows === undefined ? "" : shortNumber(withBeginRows.relativeError, 4), shortNumber(result.elementRatio, 2),
          shortNumber(result.byteRatioFloat16, 2), shortNumber(result.byteRatioFloat32, 2),
          megabytes(result, result.encodeMilliseconds), megabytes(result, result.decodeMilliseconds),
        ]],
  );
  return [
    `Relative error ‖A′ - A‖ / ‖A‖ on ${comparison.rows} rows of ${comparison.prompts} prompts (${comparison.activations}, ` +
      `block ${comparison.block}, width ${comparison.hiddenSize}), begin rows left out, at equal ratios to float16, headers counted. ` +
      "In brackets the true byte ratio where it is another.",
    markdownTable(["codec", ...ratios.map((ratio) => `${ratio}x`)], [
      ...errors, ["stored mean only (no bytes)", ...ratios.map(() => shortNumber(comparison.meanOnlyError))],
    ]),
    "All that was measured. Speeds are megabytes of float16 activations a second in this process.",
    markdownTable(
      [
        "codec", "target", "error", "error with begin rows", "element ratio", "byte ratio to float16", "byte ratio to float32",
        "encode MB/s", "decode MB/s",
      ],
      details,
    ),
    ...unavailableMarkdown(results),
  ].join("\n\n");
}
