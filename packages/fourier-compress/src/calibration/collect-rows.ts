import type { StagedModel } from "@frugal/language-model";
import { crossEntropy, tensor, tidy, valueAndGrad, type Tensor } from "@frugal/tensor-core";
import { startsWithRow } from "../codecs/begin-row.ts";
import { SettingsError } from "../errors.ts";

/** Activations of calibration text at one split, those that codecs code: without begin rows and spikes. */
export interface CalibrationRows {
  readonly hiddenSize: number;
  /** Sequence after sequence, [Σ tokens, hiddenSize]. */
  readonly rows: Float32Array;
  /** Rows of each sequence. */
  readonly tokens: readonly number[];
  /** The row of the begin token, where all sequences begin with the same one. */
  readonly beginRow?: Float32Array;
  /** Rows of a larger norm were left out. */
  readonly spikeNorm: number;
  /** Mean squared gradient of the loss with respect to each channel, [hiddenSize]. */
  readonly fisher?: Float32Array;
}

/** What `collectRows` needs to know. */
export interface CollectOptions {
  /** The block whose input is collected. */
  readonly splitBlock: number;
  /**
   * Also differentiate the next-token loss with respect to the activations, for FWSVD-style codecs; three times the time. Default
   * false.
   */
  readonly fisher?: boolean;
  readonly signal?: AbortSignal;
  /** Called after each sequence. */
  readonly onProgress?: (sequences: number) => void;
}

/** Rows this many times as long as the median are spikes: massive activations are 60 times and more (Sun et al. 2024). */
const SPIKE_FACTOR = 10;

/** One sequence's activations. */
export interface SequenceActivations {
  /** [tokens, hiddenSize]. */
  readonly values: Float32Array;
  readonly tokens: number;
  /** Whether its first row is that of the begin token at position 0. */
  readonly beginsWithBegin: boolean;
}

/** Leaves out begin rows and spikes. @throws SettingsError for rows that are not finite, and when no row is left */
export function separateRows(sequences: readonly SequenceActivations[], hiddenSize: number, beginRow?: Float32Array): CalibrationRows {
  const isBegin = (sequence: SequenceActivations, row: number): boolean => row === 0 && sequence.beginsWithBegin;
  const norms = sequences.map(({ values, tokens }) => {
    const found = new Float64Array(tokens);
    for (let row = 0; row < tokens; row++) {
      let total = 0;
      for (let i = row * hiddenSize; i < (row + 1) * hiddenSize; i++) total += values[i]! ** 2;
      found[row] = Math.sqrt(total);
    }
    return found;
  });
  const ordinary = sequences.flatMap((sequence, index) => [...norms[index]!].filter((_, row) => !isBegin(sequence, row)));
  const broken = norms.findIndex((found) => !found.every(Number.isFinite));
  if (broken >= 0) {
    throw new SettingsError(`the activations of calibration sequence ${broken} are not finite; the model overflowed before the split`);
  }
  if (ordinary.length === 0) throw new SettingsError("there is no row to calibrate with; give sequences of at least two tokens");
  const median = Float64Array.from(ordinary).sort()[ordinary.length >> 1]!;
  const spikeNorm = SPIKE_FACTOR * median;
  const kept = sequences.map((sequence, index) =>
    Array.from({ length: sequence.tokens }, (_, row) => row).filter((row) => !isBegin(sequence, row) && norms[index]![row]! <= spikeNorm),
  );
  const rows = new Float32Array(kept.reduce((total, list) => total + list.length, 0) * hiddenSize);
  let offset = 0;
  for (const [index, list] of kept.entries()) {
    for (const row of list) {
      rows.set(sequences[index]!.values.subarray(row * hiddenSize, (row + 1) * hiddenSize), offset);
      offset += hiddenSize;
    }
  }
  const begin = beginRow ?? commonBeginRow(sequences, hiddenSize);
  return {
    hiddenSize, rows, spikeNorm, tokens: kept.map((list) => list.length).filter((count) => count > 0),
    ...(begin === undefined ? {} : { beginRow: begin }),
  };
}

function commonBeginRow(sequences: readonly SequenceActivations[], hiddenSize: number): Float32Array | undefined {
  const first = sequences[0];
  if (first === undefined || !sequences.every(({ beginsWithBegin }) => beginsWithBegin)) return undefined;
  const row = first.values.slice(0, hiddenSize);
  return sequences.every(({ values }) => startsWithRow(values, row)) ? row : undefined;
}

/**
 * Runs calibration text through the device part of a model, one sequence at a time.
 * @throws SettingsError for a split outside the model or no sequences
 */
export async function collectRows(
  model: StagedModel, sequences: readonly (readonly number[])[], options: CollectOptions,
): Promise<CalibrationRows> {
  const { splitBlock, fisher = false, signal, onProgress } = options;
  const { hiddenSize, blockCount } = model;
  if (!Number.isInteger(splitBlock) || splitBlock < 0 || splitBlock > blockCount) {
    throw new SettingsError(`splitBlock ${splitBlock}; use 0 to ${blockCount}`);
  }
  if (sequences.length === 0) throw new SettingsError("give at least one sequence to calibrate with");
  const begin = sequences[0]![0];
  const sameBegin = sequences.every((ids) => ids[0] === begin);
  const collected: SequenceActivations[] = [];
  const squaredGradient = new Float64Array(hiddenSize);
  let differentiated = 0;
  for (const [index, ids] of sequences.entries()) {
    signal?.throwIfAborted();
    using input = tensor(Int32Array.from(ids), [1, ids.length], { device: model.device });
    using hidden = tidy(() => model.forwardBlocks(model.embed(input), 0, splitBlock));
    collected.push({ values: await hidden.data("float32"), tokens: ids.length, beginsWithBegin: sameBegin });
    if (fisher && ids.length > 1) {
      using gradient = lossGradient(model, hidden, ids, splitBlock);
      const values = await gradient.data("float32");
      for (let i = 0; i < values.length; i++) squaredGradient[i % hiddenSize]! += values[i]! ** 2;
      differentiated += ids.length;
    }
    onProgress?.(index + 1);
  }
  const separated = separateRows(collected, hiddenSize);
  if (!fisher || differentiated === 0) return separated;
  return { ...separated, fisher: Float32Array.from(squaredGradient, (total) => total / differentiated) };
}

/** Gradient of the summed next-token loss with respect to the activations, [1, tokens, hiddenSize]. */
function lossGradient(model: StagedModel, hidden: Tensor, ids: readonly number[], splitBlock: number): Tensor {
  using targets = tensor(Int32Array.from(ids.slice(1)), [1, ids.length - 1], { device: model.device });
  const loss = (input: Tensor): Tensor => {
    const output = model.forwardBlocks(input, splitBlock, model.blockCount);
    return crossEntropy(model.head(output.slice(null, [0, -1])), targets, { reduction: "sum" });
  };
  const [value, gradient] = valueAndGrad(loss)(hidden);
  value.dispose();
  return gradient;
}
