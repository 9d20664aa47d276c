import { DeviceError } from "../errors.ts";
import { backendOf } from "./registry.ts";
import { createWasmBackend, type WasmBackend } from "./wasm/backend.ts";
import { createWasmRuntime } from "./wasm/runtime-instance.ts";

/** The stored kernels that the backend will be built with; undefined = the baseline. */
let chosenKernels: string | undefined;

/** Has the "cpu" backend built with other kernels. Without effect once it is built. */
export function chooseKernels(kernels: string): void {
  chosenKernels = kernels;
}

/** Builds the "cpu" backend. @throws DeviceError where WebAssembly SIMD is missing */
export function createCpuBackend(): WasmBackend {
  try {
    return createWasmBackend(createWasmRuntime(chosenKernels));
  } catch (error) {
    if (error instanceof WebAssembly.CompileError || typeof WebAssembly === "undefined") {
      throw new DeviceError(
        `the "cpu" device needs WebAssembly with SIMD and threads, which this runtime lacks (${String(error)}); import "@frugal/tensor-core/reference" and use device "reference"`,
      );
    }
    throw error;
  }
}

/**
 * Sets how many threads CPU kernels use, this one included; default: all cores in Node and in cross-origin-isolated browser pages, 1 in
 * other pages.
 * Results have the same bits for any number.
 * @throws DeviceError for a count that is not a whole number from 1 to 32
 */
export function setThreads(count: number): void {
  (backendOf("cpu") as WasmBackend).runtime.pool.setThreadCount(count);
}

/** Threads that CPU kernels use. */
export function getThreads(): number {
  return (backendOf("cpu") as WasmBackend).runtime.pool.threadCount;
}
