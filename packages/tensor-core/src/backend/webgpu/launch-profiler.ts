import { launchesPerBatch, type LaunchTimer } from "./command-queue.ts";
import { bufferUsage, mapModeRead } from "./gpu-constants.ts";
import type { Pipeline } from "./pipelines.ts";
import type { KernelLaunch } from "./program.ts";

/** Launches timed in one profile; more run untimed. */
const maximumLaunches = 2 ** 18;
/** Batches whose timestamps are on their way at once; launches of more run untimed. */
const maximumPending = 1024;
const bytesPerTimestamp = 8;

/** One launch with its time on the GPU. */
export interface TimedLaunch {
  readonly label: string;
  readonly workgroups: readonly number[];
  readonly bytes: number | undefined;
  readonly operations: number | undefined;
  /** Number of its submission. */
  readonly batch: number;
  /** Nanoseconds of the GPU's clock, which starts anywhere. */
  readonly begin: bigint;
  readonly end: bigint;
}

/** One submission as the CPU sees it, in milliseconds of `performance.now()`. */
export interface TimedSubmission {
  readonly batch: number;
  /** When its first timed launch was recorded. */
  readonly recorded: number;
  /** The call that submits it. */
  readonly start: number;
  readonly end: number;
  readonly launches: number;
}

/** What a profile is made of. */
export interface ProfileRecording {
  readonly launches: readonly TimedLaunch[];
  readonly submissions: readonly TimedSubmission[];
  /** Launches without timestamps: beyond the limits, or lost on the way. */
  readonly untimed: number;
}

type Waiting = Omit<TimedLaunch, "batch" | "begin" | "end">;

/** Two timestamps a launch, in one set of queries that all batches use in turn, copied out with each batch. */
export class LaunchProfiler implements LaunchTimer {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer[] = [];
  readonly #idle: GPUBuffer[] = [];
  readonly #pending = new Set<Promise<void>>();
  readonly #launches: TimedLaunch[] = [];
  readonly #submissions: TimedSubmission[] = [];
  #waiting: Waiting[] = [];
  #recorded = 0;
  #target: GPUBuffer | undefined;
  #timed = 0;
  #untimed = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
    const count = 2 * launchesPerBatch;
    this.#queries = device.createQuerySet({ type: "timestamp", count });
    this.#resolved = device.createBuffer({ size: count * bytesPerTimestamp, usage: bufferUsage.queryResolve | bufferUsage.copySource });
  }

  next({ label }: Pipeline, { workgroups, work }: KernelLaunch): GPUComputePassTimestampWrites | undefined {
    if (this.#timed >= maximumLaunches || this.#pending.size >= maximumPending || this.#waiting.length >= launchesPerBatch) {
      this.#untimed++;
      return undefined;
    }
    const first = 2 * this.#waiting.length;
    if (first === 0) this.#recorded = performance.now();
    const { bytes, operations } = work ?? {};
    this.#waiting.push({ label, workgroups: workgroups.map((count) => count ?? 1), bytes, operations });
    this.#timed++;
    return { querySet: this.#queries, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 };
  }

  resolve(encoder: GPUCommandEncoder): void {
    const queries = 2 * this.#waiting.length;
    if (queries === 0) return;
    this.#target = this.#idle.pop() ?? this.#createStaging();
    encoder.resolveQuerySet(this.#queries, 0, queries, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#target, 0, queries * bytesPerTimestamp);
  }

  submitted(start: number): void {
    const [launches, staging] = [this.#waiting, this.#target];
    if (staging === undefined) return;
    this.#waiting = [];
    this.#target = undefined;
    const batch = this.#submissions.length;
    this.#submissions.push({ batch, recorded: this.#recorded, start, end: performance.now(), launches: launches.length });
    const reading = this.#read(staging, launches, batch).finally(() => this.#pending.delete(reading));
    this.#pending.add(reading);
  }

  /** Resolves when all timestamps submitted have arrived. */
  async finish(): Promise<ProfileRecording> {
    await Promise.all(this.#pending);
    const launches = this.#launches.toSorted((a, b) => a.batch - b.batch);
    return { launches, submissions: this.#submissions, untimed: this.#untimed };
  }

  /** Call it when no unsubmitted command uses the queries. */
  destroy(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
    for (const buffer of this.#staging) buffer.destroy();
  }

  #createStaging(): GPUBuffer {
    const size = 2 * launchesPerBatch * bytesPerTimestamp;
    const buffer = this.#device.createBuffer({ size, usage: bufferUsage.mapRead | bufferUsage.copyDestination });
    this.#staging.push(buffer);
    return buffer;
  }

  async #read(staging: GPUBuffer, launches: readonly Waiting[], batch: number): Promise<void> {
    try {
      await staging.mapAsync(mapModeRead);
    } catch {
      // The device was lost, which all that waits for results is told.
      this.#untimed += launches.length;
      return;
    }
    const timestamps = new BigUint64Array(staging.getMappedRange(0, 2 * launches.length * bytesPerTimestamp));
    for (const [i, launch] of launches.entries()) {
      this.#launches.push({ ...launch, batch, begin: timestamps[2 * i]!, end: timestamps[2 * i + 1]! });
    }
    staging.unmap();
    this.#idle.push(staging);
  }
}
