import type { StagedModel, WeightSource } from "@frugal/language-model";
import { tensor } from "@frugal/tensor-core";
import { searchFourierTokenShare } from "../codecs/fourier-search.ts";
import { SettingsError } from "../errors.ts";
import type { CodecTable } from "./codec-table.ts";
import { collectRows, type CalibrationRows } from "./collect-rows.ts";
import { consumerFactor } from "./consumer-factor.ts";
import { channelStatistics } from "./covariance.ts";
import { crossFittedBasis } from "./cross-fit.ts";
import { withHash, type UnhashedCodecTable } from "./hash-table.ts";
import { measureRates } from "./measure-rates.ts";

/** What a table is to be of, and how much of it. */
export interface CalibrateOptions {
  /** Whose activations these are, for people and for the table's hash: the model's fingerprint or the name of a data set. */
  readonly model: string;
  /** The block whose input they are. */
  readonly block: number;
  /** Also fit the basis of the KLT and PCA codecs, from at least 16 rows. Default true; takes half a minute at hiddenSize 2048. */
  readonly basis?: boolean;
  /** `consumerFactor` of the block, for the SVD-LLM-style codec. */
  readonly consumerFactor?: Float32Array;
  readonly signal?: AbortSignal;
}

/** Prompts that the shape of the Fourier block is searched on. */
const SHAPE_PROMPTS = 32;
/** Where no prompt is long enough to choose a shape with: near the best on the activations that we measured. */
const USUAL_TOKEN_SHARE = 0.2;
const FEWEST_ROWS_OF_A_BASIS = 16;

/** A codec table from rows that stand in memory. @throws SettingsError for too few rows */
export async function calibrateRows(rows: CalibrationRows, options: CalibrateOptions): Promise<CodecTable> {
  const { model, block, basis: wantsBasis = true, signal } = options;
  const { hiddenSize } = rows;
  const count = rows.rows.length / hiddenSize;
  if (wantsBasis && count < FEWEST_ROWS_OF_A_BASIS) {
    throw new SettingsError(`${count} calibration rows are too few for a basis; give more text, or set basis: false`);
  }
  const statistics = channelStatistics(rows.rows, hiddenSize);
  const fitted = wantsBasis ? await crossFittedBasis(rows.rows, hiddenSize, signal === undefined ? {} : { signal }) : {};
  signal?.throwIfAborted();
  const unrated: UnhashedCodecTable = {
    model, block, hiddenSize, rows: count, ...statistics, ...fitted, spikeNorm: rows.spikeNorm,
    ...(rows.beginRow === undefined ? {} : { beginRow: rows.beginRow }),
    ...(rows.fisher === undefined ? {} : { fisher: rows.fisher }),
    ...(options.consumerFactor === undefined ? {} : { consumerFactor: options.consumerFactor }),
    fourierTokenShare: await bestTokenShare(rows),
    rates: {},
  };
  signal?.throwIfAborted();
  const rates = await measureRates(unrated, rows.rows, signal);
  return await withHash({ ...unrated, rates });
}

/** Settings of `calibrateModel`. */
export interface CalibrateModelOptions extends Omit<CalibrateOptions, "block" | "consumerFactor"> {
  /** The block whose input is calibrated. */
  readonly splitBlock: number;
  /** Where the model's weights came from, for the SVD-LLM-style codec's factor. Default: without it. */
  readonly source?: WeightSource;
  /** Also measure the loss's sensitivity to each channel, for the FWSVD-style codec; needs the whole model. Default false. */
  readonly fisher?: boolean;
  /** Called after each sequence. */
  readonly onProgress?: (sequences: number) => void;
}

/** Runs calibration text through a model's device part and makes the table of the split. @throws SettingsError */
export async function calibrateModel(
  model: StagedModel, sequences: readonly (readonly number[])[], options: CalibrateModelOptions,
): Promise<CodecTable> {
  const { splitBlock, source } = options;
  const rows = await collectRows(model, sequences, options);
  const hasReaders = source !== undefined && splitBlock < model.blockCount;
  return await calibrateRows(rows, {
    ...options, block: splitBlock, ...(hasReaders ? { consumerFactor: await consumerFactor(source, splitBlock) } : {}),
  });
}

async function bestTokenShare({ rows, tokens, hiddenSize }: CalibrationRows): Promise<number> {
  const prompts = [];
  let first = 0;
  for (const count of tokens) {
    // A block of one frequency is all that shorter prompts have room for.
    if (count >= 16 && prompts.length < SHAPE_PROMPTS) {
      prompts.push(tensor(rows.slice(first * hiddenSize, (first + count) * hiddenSize), [count, hiddenSize]));
    }
    first += count;
  }
  if (prompts.length === 0) return USUAL_TOKEN_SHARE;
  try {
    return (await searchFourierTokenShare(prompts)).tokenShare;
  } finally {
    for (const prompt of prompts) prompt.dispose();
  }
}
