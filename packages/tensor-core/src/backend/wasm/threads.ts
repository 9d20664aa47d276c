import { DeviceError, TensorError } from "../../errors.ts";
import type { Heap, HeapBuffer } from "./heap.ts";
import type { KernelExports } from "./kernels/kernel-exports.ts";
import { workerSource } from "./worker-source.ts";

/** Word offsets in the control block, one cache line apart where threads write. */
const words = {
  sequence: 0,
  open: 1,
  kernel: 2,
  parameterCount: 3,
  count: 4,
  chunk: 5,
  scratchBytes: 6,
  next: 16,
  active: 32,
  sleeping: 48,
  ready: 49,
  failed: 50,
  generation: 51,
  workerChunks: 52,
} as const;

const controlPointer = 1024;
/** The parameters, as 64 doubles, follow the 256 bytes of control words. The last one holds the scratch block's address. */
const parameterOffset = 256;
const scratchParameter = 63;
/** Loads a worker spins before it sleeps: about 0.2 ms, so that the kernels of one training step find it awake. */
const spinCount = 20_000;
const maximumThreads = 32;

let workerUrl: string | undefined;

function spawn(workerData: unknown, onFailure: (error: unknown) => void): void {
  const nodeThreads = globalThis.process?.getBuiltinModule?.("node:worker_threads");
  if (nodeThreads) {
    const worker = new nodeThreads.Worker(workerSource, { eval: true, workerData, execArgv: [], stdin: false });
    worker.on("error", onFailure);
    worker.unref();
    return;
  }
  workerUrl ??= URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const worker = new Worker(workerUrl);
  worker.addEventListener("error", onFailure);
  worker.postMessage(workerData);
}

let warned = false;

function warnOnce(error: unknown): void {
  if (warned) return;
  warned = true;
  // oxlint-disable-next-line no-console -- not an error, but whoever runs this should know why it is slow
  console.warn("@frugal/tensor-core: kernels run on fewer threads, a worker could not start:", error);
}

/** Whether this runtime can share WebAssembly memory with workers: Node always, browsers when cross-origin isolated. */
export function canUseThreads(): boolean {
  if (globalThis.process?.versions?.node) return true;
  return globalThis.crossOriginIsolated === true && typeof Worker !== "undefined";
}

/** Cores the runtime reports, 1 where threads cannot be used. */
export function defaultThreadCount(): number {
  return canUseThreads() ? Math.max(1, Math.min(maximumThreads, globalThis.navigator?.hardwareConcurrency ?? 1)) : 1;
}

/**
 * Fork and join over the shared memory. The caller takes part in every job and workers take chunks from a common counter, so a job never
 * waits for a
 * worker that has not started. Kernels write the same bits however a range is split (assembly/README.md), so neither the number of threads
 * nor their
 * timing shows in results.
 */
export class ThreadPool {
  readonly #heap: Heap;
  readonly #module: WebAssembly.Module;
  readonly #exports: KernelExports;
  readonly #control: Int32Array;
  readonly #parameters: Float64Array;
  /** Kernels travel as their position among the module's exports, which is the same on every thread. */
  readonly #kernelIndex: ReadonlyMap<string, number>;
  #started = false;
  #generation = 0;
  #threadCount: number;
  #sequence = 0;
  #scratch: HeapBuffer | undefined;
  #jobs = 0;
  /** Jobs below this many scalar operations are faster on the calling thread alone. */
  minimumWork: number = 65_536;

  constructor(heap: Heap, module: WebAssembly.Module, exports: KernelExports) {
    this.#heap = heap;
    this.#module = module;
    this.#threadCount = heap.shared ? defaultThreadCount() : 1;
    this.#exports = exports;
    this.#kernelIndex = new Map(Object.keys(exports).map((name, index) => [name, index]));
    this.#control = new Int32Array(heap.memory.buffer, controlPointer, 64);
    this.#parameters = new Float64Array(heap.memory.buffer, controlPointer + parameterOffset, 64);
  }

  get threadCount(): number {
    return this.#threadCount;
  }

  /** What has run here so far: jobs that were offered to workers, and chunks that workers took. */
  get activity(): { readonly jobs: number; readonly workerChunks: number } {
    return { jobs: this.#jobs, workerChunks: Atomics.load(this.#control, words.workerChunks) };
  }

  /** @throws DeviceError for a count that is not a whole number from 1 to 32. */
  setThreadCount(count: number): void {
    if (!Number.isInteger(count) || count < 1 || count > maximumThreads) {
      throw new DeviceError(`setThreads: ${count} threads asked for; give a whole number from 1 to ${maximumThreads}`);
    }
    const usable = this.#heap.shared && canUseThreads() ? count : 1;
    if (usable !== this.#threadCount) this.stop();
    this.#threadCount = usable;
  }

  /** Ends the workers; the next large job starts them again. */
  stop(): void {
    if (!this.#started) return;
    this.#started = false;
    // Workers leave by themselves: one terminated inside a job would leave `active` above zero for ever.
    Atomics.store(this.#control, words.generation, ++this.#generation);
    this.#announce(0);
    while (Atomics.load(this.#control, words.ready) > 0);
  }

  /** See `WasmRuntime.parallel`. */
  run(
    kernel: keyof KernelExports,
    parameters: readonly number[],
    count: number,
    granularity: number,
    work: number,
    scratchBytes: number,
  ): void {
    if (count <= 0) return;
    const threads = this.#threadCount;
    const call = this.#exports[kernel] as (...parameters: number[]) => void;
    const scratchStride = (scratchBytes + 63) & ~63;
    const scratch = scratchBytes > 0 ? this.#scratchPointer(scratchStride * threads) : 0;
    if (threads === 1 || work < this.minimumWork || count <= granularity) {
      if (scratchBytes > 0) call(...parameters, scratch, 0, count);
      else call(...parameters, 0, count);
      return;
    }
    if (!this.#started) this.#start(threads - 1);
    this.#jobs++;
    const control = this.#control;
    // Two chunks a thread even out a core that is busy elsewhere without multiplying per-chunk set-up.
    const chunk = Math.max(granularity, Math.ceil(count / (threads * 2) / granularity) * granularity);
    this.#parameters.set(parameters);
    if (scratchBytes > 0) this.#parameters[scratchParameter] = scratch;
    control[words.kernel] = this.#kernelIndex.get(kernel)!;
    control[words.parameterCount] = parameters.length;
    control[words.count] = count;
    control[words.chunk] = chunk;
    control[words.scratchBytes] = scratchStride;
    Atomics.store(control, words.next, 0);
    this.#announce(1);
    let failure: unknown;
    try {
      for (;;) {
        const begin = Atomics.add(control, words.next, chunk);
        if (begin >= count) break;
        const end = Math.min(begin + chunk, count);
        if (scratchBytes > 0) call(...parameters, scratch, begin, end);
        else call(...parameters, begin, end);
      }
    } catch (error) {
      failure = error;
      Atomics.store(control, words.next, count);
    }
    // Close the job, then wait for those inside: a worker that arrives later sees it closed and leaves the next job's parameters alone.
    Atomics.store(control, words.open, 0);
    while (Atomics.load(control, words.active) > 0);
    const trapped = Atomics.exchange(control, words.failed, 0) !== 0;
    if (failure !== undefined) throw failure;
    if (trapped) throw new TensorError(`kernel ${kernel} trapped on a worker thread; please report this`);
  }

  #start(workers: number): void {
    this.#started = true;
    const shared = { module: this.#module, memory: this.#heap.memory, controlPointer, words, parameterOffset, spinCount };
    try {
      for (let index = 1; index <= workers; index++) spawn({ ...shared, index, generation: this.#generation }, warnOnce);
    } catch (error) {
      // A permission model or a page's security policy may forbid workers: the caller's own thread does all the work then.
      this.#threadCount = 1;
      warnOnce(error);
    }
  }

  /** Wakes the workers with a new sequence number; `open` says whether there is a job to join. */
  #announce(open: 0 | 1): void {
    this.#sequence = (this.#sequence + 1) & 0x3fffffff || 1;
    Atomics.store(this.#control, words.open, open * this.#sequence);
    Atomics.store(this.#control, words.sequence, this.#sequence);
    if (Atomics.load(this.#control, words.sleeping) > 0) Atomics.notify(this.#control, words.sequence);
  }

  #scratchPointer(byteLength: number): number {
    if (!this.#scratch || this.#scratch.capacity < byteLength) {
      if (this.#scratch) this.#heap.free(this.#scratch);
      this.#scratch = this.#heap.allocateInternal(byteLength);
    }
    return this.#scratch.pointer;
  }
}
