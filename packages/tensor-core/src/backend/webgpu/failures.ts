import type { WebGpuBuffer } from "./buffers.ts";

/** Anything that a batch fills: a tensor's memory, or the staging copy behind a read. */
export interface BatchOutput {
  failure: Error | undefined;
}

/** What one submitted batch read and wrote. */
export interface BatchRecord {
  readonly reads: readonly WebGpuBuffer[];
  readonly writes: readonly BatchOutput[];
  /** The first error the GPU reported for the batch. */
  readonly error: Promise<Error | undefined>;
}

/**
 * Errors of a GPU arrive after the fact. A batch with an error is dropped whole, so everything it should have written does not exist, nor
 * does what later batches computed from that. This follows batches in order and marks exactly those buffers.
 */
export class FailureTracker {
  #settled: Promise<void> = Promise.resolve();

  /** Follows a batch; resolves once its outputs, and those of all earlier ones, are marked. */
  track(batch: BatchRecord): Promise<void> {
    this.#settled = this.#settled.then(async () => {
      const failure = (await batch.error) ?? batch.reads.find((buffer) => buffer.failure !== undefined)?.failure;
      if (failure === undefined) return;
      for (const output of batch.writes) output.failure ??= failure;
    });
    return this.#settled;
  }

  /** Resolves when all batches so far are judged. */
  settled(): Promise<void> {
    return this.#settled;
  }
}
