import type { TensorView } from "../backend.ts";
import type { Heap } from "./heap.ts";
import type { KernelExports } from "./kernels/kernel-exports.ts";

/** What the kernel wrappers in this folder are given: the compiled kernels, the heap, and the thread pool. */
export interface WasmRuntime {
  /** Kernels on this thread. */
  readonly exports: KernelExports;
  readonly heap: Heap;
  /** Byte address of a view's first element. */
  pointer(view: TensorView): number;
  /**
   * Calls `kernel(...parameters, begin, end)` so that the ranges cover [0, count), on as many threads as `work` is worth. Ranges start on
   * multiples of
   * `granularity`. `work` is a rough count of scalar operations (a multiply-add = 1); small jobs stay on this thread.
   * With `scratchBytes`, every thread gets a scratch block of that size, passed as one more parameter before `begin`.
   */
  parallel(
    kernel: keyof KernelExports,
    parameters: readonly number[],
    count: number,
    options: { readonly granularity?: number; readonly work: number; readonly scratchBytes?: number },
  ): void;
  /** Runs `use` with a scratch block of `byteLength` bytes, 64-byte aligned, freed afterwards. */
  withScratch<Result>(byteLength: number, use: (pointer: number) => Result): Result;
  /** Threads that `parallel` may use, the caller included. */
  readonly threadCount: number;
}
