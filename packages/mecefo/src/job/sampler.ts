import { createHash } from "node:crypto";
import { createTokenDataset, DatasetError } from "@frugal/language-model";
import { SettingsError } from "../errors.ts";
import type { Job } from "./job.ts";

/** A microbatch: ids, row-major [microbatchSize, sequenceLength]. */
export interface Microbatch {
  readonly inputs: Int32Array;
  /** The token after each input. */
  readonly targets: Int32Array;
  /** 16 hexadecimal digits of the SHA-256 of inputs and targets: what the ledger of a run compares. */
  readonly hash: string;
}

/** Gives any microbatch of a run. Nothing is remembered, so no state is lost with whoever reads the data. */
export interface MicrobatchSampler {
  /** Microbatches of a step: `microbatch` goes from 0 to this. */
  readonly microbatchesPerStep: number;
  /** Steps after which every sequence was read once. */
  readonly stepsPerEpoch: number;
  /** @throws SettingsError for a number outside the global batch */
  microbatch(step: number, microbatch: number): Microbatch;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Int32Array): Uint8Array => new Uint8Array(buffer, byteOffset, byteLength);

/** What the order of the data depends on. */
export type SamplerJob = Pick<Job, "grid" | "microbatches" | "microbatchSize" | "sequenceLength" | "seed">;

/**
 * The microbatches of a run: a pure function of seed, step and the number of the microbatch within the global batch. Which pipeline reads
 * it, and how many there are, does not matter, as long as their product with the microbatches of each is the same.
 * @throws SettingsError if there are too few tokens for one sequence
 */
export function createSampler(tokens: Int32Array, job: SamplerJob): MicrobatchSampler {
  const { grid, microbatches, microbatchSize: batchSize, sequenceLength, seed } = job;
  const total = grid.pipelines * microbatches;
  let dataset: ReturnType<typeof createTokenDataset>;
  try {
    dataset = createTokenDataset(tokens, { sequenceLength, batchSize, seed });
  } catch (cause) {
    if (!(cause instanceof DatasetError)) throw cause;
    throw new SettingsError(`data: ${cause.message}; use a smaller sequenceLength or more text`, { cause });
  }
  return {
    microbatchesPerStep: total,
    stepsPerEpoch: dataset.stepsPerEpoch / total,
    microbatch(step, microbatch) {
      if (!Number.isSafeInteger(step) || step < 0 || !Number.isInteger(microbatch) || microbatch < 0 || microbatch >= total) {
        throw new SettingsError(`microbatch ${microbatch} of step ${step} is not one of 0 to ${total - 1} of a step from 0`);
      }
      const { inputs, targets } = dataset.batch(step * total + microbatch);
      const hash = createHash("sha256").update(bytesOf(inputs)).update(bytesOf(targets)).digest("hex").slice(0, 16);
      return { inputs, targets, hash };
    },
  };
}
