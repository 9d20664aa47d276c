import { foldIn, permutedIndex, randomKey, randomWord } from "@frugal/tensor-core";
import { DatasetError } from "../errors.ts";

/** Sequences for next-token training, row-major [batchSize, sequenceLength]. */
export interface TokenBatch {
  readonly inputs: Int32Array;
  /** The token after each input. */
  readonly targets: Int32Array;
  readonly batchSize: number;
  readonly sequenceLength: number;
}

/** Batches as a pure function of the step: nothing to save for a resume, and every worker can make any batch. */
export interface TokenDataset {
  /** Sequences that an epoch goes through. */
  readonly sequencesPerEpoch: number;
  /** Steps that an epoch takes; not whole in general, since batches run on into the next epoch. */
  readonly stepsPerEpoch: number;
  /** What the batches depend on besides the step, for checkpoints to compare. */
  readonly settings?: Readonly<Record<string, number | boolean | string>>;
  /** @throws DatasetError if `step` is not a non-negative integer */
  batch(step: number): TokenBatch;
}

/** Options of `createTokenDataset`. */
export interface TokenDatasetOptions {
  readonly sequenceLength: number;
  readonly batchSize: number;
  /** Any safe integer. Default: 0. */
  readonly seed?: number;
  /**
   * Default true: every epoch starts at another offset and visits its sequences in another order, each once. False: from the
   * start, in order, for evaluation.
   */
  readonly shuffle?: boolean;
}

function positiveInteger(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1) throw new DatasetError(`${name} ${value} is not a positive integer`);
  return value;
}

/**
 * Cuts token ids into sequences and gives deterministic batches of them: `batch(step)` depends on ids, seed and step alone.
 * @throws DatasetError if there are fewer than sequenceLength + 1 ids, or sizes that make no sense
 */
export function createTokenDataset(ids: ArrayLike<number>, options: TokenDatasetOptions): TokenDataset {
  const sequenceLength = positiveInteger("sequenceLength", options.sequenceLength);
  const batchSize = positiveInteger("batchSize", options.batchSize);
  const shuffle = options.shuffle ?? true;
  const tokens = Int32Array.from(ids);
  const whole = Math.floor((tokens.length - 1) / sequenceLength);
  if (whole < 1) throw new DatasetError(`${tokens.length} tokens do not make one sequence of ${sequenceLength} with its targets`);
  if (!Number.isSafeInteger(options.seed ?? 0)) throw new DatasetError(`seed ${options.seed} is not a safe integer`);
  const key = randomKey(options.seed ?? 0);
  // One sequence is given up, where there are enough, so that the cuts can fall elsewhere in each epoch.
  const sequences = shuffle && whole > 1 ? whole - 1 : whole;
  const offsets = shuffle ? Math.min(sequenceLength, tokens.length - sequences * sequenceLength) : 1;

  const startOf = (sequence: number): number => {
    const epoch = Math.floor(sequence / sequences);
    const position = sequence % sequences;
    if (!shuffle) return position * sequenceLength;
    const epochKey = foldIn(key, epoch);
    const offset = Math.floor((randomWord(epochKey, 0) / 2 ** 32) * offsets);
    return offset + permutedIndex(foldIn(epochKey, 1), sequences, position) * sequenceLength;
  };

  return {
    sequencesPerEpoch: sequences,
    stepsPerEpoch: sequences / batchSize,
    settings: { tokens: tokens.length, sequenceLength, batchSize, seed: options.seed ?? 0, shuffle },
    batch(step) {
      if (!Number.isSafeInteger(step) || step < 0 || !Number.isSafeInteger((step + 1) * batchSize)) {
        throw new DatasetError(`step ${step} is not a step number`);
      }
      const inputs = new Int32Array(batchSize * sequenceLength);
      const targets = new Int32Array(batchSize * sequenceLength);
      for (let row = 0; row < batchSize; row++) {
        const start = startOf(step * batchSize + row);
        inputs.set(tokens.subarray(start, start + sequenceLength), row * sequenceLength);
        targets.set(tokens.subarray(start + 1, start + 1 + sequenceLength), row * sequenceLength);
      }
      return { inputs, targets, batchSize, sequenceLength };
    },
  };
}
