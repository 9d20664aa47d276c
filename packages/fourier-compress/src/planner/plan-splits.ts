import type { StagedModel, WeightSource } from "@frugal/language-model";
import { calibrateModel } from "../calibration/calibrate.ts";
import type { CodecTable } from "../calibration/codec-table.ts";
import { SettingsError } from "../errors.ts";
import { comparePerplexity, type PerplexityComparison, type PerplexityRow } from "../evaluation/perplexity-comparison.ts";
import type { TokenSequences } from "../evaluation/token-sequences.ts";

/** A codec at a ratio in front of one block. */
export interface PlanPoint extends PerplexityRow {
  /** Blocks that the device runs. */
  readonly splitBlock: number;
}

/** What a plan is to sweep. */
export interface PlanOptions {
  /** For the tables' hashes: `modelFingerprint`. */
  readonly model: string;
  /** Default: before every block but the first, and after the last. */
  readonly splitBlocks?: readonly number[];
  /** Default "klt" and "channel". */
  readonly codecs?: readonly string[];
  /** Default 4, 6, 7.6, 10, 16. */
  readonly ratios?: readonly number[];
  /** For the tables' consumer factors, which the SVD-LLM-style codec needs. */
  readonly source?: WeightSource;
  /** Points measured before: not measured again. */
  readonly done?: readonly PlanPoint[];
  /** Ends the sweep with the points that are there. */
  readonly signal?: AbortSignal;
  /** Called with each table, to be kept. */
  readonly onTable?: (table: CodecTable) => void | Promise<void>;
  /** Called with each point, and how many of all there are. */
  readonly onPoint?: (point: PlanPoint, index: number, count: number) => void | Promise<void>;
}

/** How quality falls with the rate at each split of a model. */
export interface SplitPlan {
  /** Of the test sequences, without a codec. */
  readonly perplexity: number;
  readonly blockCount: number;
  readonly points: readonly PlanPoint[];
  /** False where the signal ended it. */
  readonly complete: boolean;
}

const PLAN_RATIOS: readonly number[] = [4, 6, 7.6, 10, 16];
const PLAN_CODECS: readonly string[] = ["klt", "channel"];

/**
 * Calibrates and measures every split of a model: perplexity and agreement over the rate, block by block. This is what "layer-aware" can
 * mean; FourierCompress splits after block 1 without asking.
 * @throws SettingsError for blocks outside the model; as `calibrateModel` and `comparePerplexity`
 */
export async function planSplits(model: StagedModel, { calibration, test }: TokenSequences, options: PlanOptions): Promise<SplitPlan> {
  const { blockCount } = model;
  const { codecs = PLAN_CODECS, ratios = PLAN_RATIOS, done = [], signal } = options;
  const splitBlocks = options.splitBlocks ?? Array.from({ length: blockCount }, (_, index) => index + 1);
  const outside = splitBlocks.find((block) => !Number.isInteger(block) || block < 0 || block > blockCount);
  if (outside !== undefined) throw new SettingsError(`split ${outside}; use 0 to the model's ${blockCount} blocks`);
  if (splitBlocks.length === 0) throw new SettingsError("give at least one split to plan for");
  const points: PlanPoint[] = [];
  let perplexity = Number.NaN;
  let complete = true;
  let count = splitBlocks.length * codecs.length * ratios.length;
  for (const splitBlock of splitBlocks) {
    if (signal?.aborted) {
      complete = false;
      break;
    }
    let comparison: PerplexityComparison;
    try {
      const table = await calibrateModel(model, calibration, {
        model: options.model, splitBlock, ...(options.source === undefined ? {} : { source: options.source }),
        ...(signal === undefined ? {} : { signal }),
      });
      await options.onTable?.(table);
      comparison = await comparePerplexity(model, splitBlock, test, {
        table, codecs, ratios, signal, done: done.filter((point) => point.splitBlock === splitBlock),
        async onRow(row, _index, rowsOfBlock) {
          count = splitBlocks.length * rowsOfBlock;
          await options.onPoint?.({ ...row, splitBlock }, points.length + 1, count);
          points.push({ ...row, splitBlock });
        },
      });
    } catch (error) {
      // Neither calibration nor the model without codec has anything to show for half of it; the splits before it have.
      if (!signal?.aborted) throw error;
      complete = false;
      break;
    }
    perplexity = comparison.perplexity;
    // Points measured before came without a call.
    for (const row of comparison.results) {
      const isThere = points.some((point) => point.splitBlock === splitBlock && point.codec === row.codec && point.ratio === row.ratio);
      if (!isThere) points.push({ ...row, splitBlock });
    }
    complete &&= comparison.complete;
  }
  return { perplexity, blockCount, points, complete };
}

/** The cheapest point of a split that is good enough. */
export interface Recommendation {
  readonly splitBlock: number;
  /** Undefined where no measured rate keeps the limit. */
  readonly point: PlanPoint | undefined;
}

/** Byte ratios as near as this, in proportion, are the same: codecs of one target differ in the last digits. */
const SAME_RATIO = 0.02;

/**
 * For each split the largest byte ratio whose perplexity rises by at most `mostRise` (a fraction), over all codecs of the plan; of equal
 * ratios the one with the smallest rise.
 */
export function recommendRates({ points }: SplitPlan, mostRise: number): Recommendation[] {
  if (!(mostRise >= 0)) throw new SettingsError(`mostRise ${mostRise}; use a number >= 0, as 0.05`);
  const splitBlocks = [...new Set(points.map(({ splitBlock }) => splitBlock))].sort((a, b) => a - b);
  return splitBlocks.map((splitBlock) => {
    const kept = points.filter((point) => point.splitBlock === splitBlock && (point.perplexityRise ?? Infinity) <= mostRise);
    const ratioOf = (point: PlanPoint): number => point.traffic?.byteRatioFloat16 ?? 0;
    const largest = Math.max(...kept.map(ratioOf));
    const [point] = kept
      .filter((each) => ratioOf(each) >= (1 - SAME_RATIO) * largest)
      .sort((a, b) => a.perplexityRise! - b.perplexityRise!);
    return { splitBlock, point };
  });
}
