import type { TensorView } from "../backend.ts";
import { Heap, type HeapBuffer } from "./heap.ts";
import { baselineKernels } from "./kernels/baseline.wasm.ts";
import type { KernelExports } from "./kernels/kernel-exports.ts";
import type { WasmRuntime } from "./runtime.ts";
import { ThreadPool } from "./threads.ts";
import { itemSize } from "../../tensor/dtype.ts";

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The runtime, with the parts that only the backend itself needs. */
export interface WasmRuntimeInstance extends WasmRuntime {
  readonly pool: ThreadPool;
}

/** Compiles a kernel module (base64; the baseline build unless told) over a new heap. Synchronous: the module is small. */
export function createWasmRuntime(kernels: string = baselineKernels): WasmRuntimeInstance {
  const heap = new Heap();
  const module = new WebAssembly.Module(decodeBase64(kernels));
  const instance = new WebAssembly.Instance(module, { env: { memory: heap.memory } });
  const exports = { ...(instance.exports as unknown as KernelExports) };
  const pool = new ThreadPool(heap, module, exports);
  const noOptions = 1;
  return {
    exports,
    heap,
    pool,
    get threadCount() {
      return pool.threadCount;
    },
    pointer(view: TensorView): number {
      return (view.buffer as HeapBuffer).pointer + view.offset * itemSize(view.dtype);
    },
    parallel(kernel, parameters, count, options) {
      pool.run(kernel, parameters, count, options.granularity ?? noOptions, options.work, options.scratchBytes ?? 0);
    },
    withScratch(byteLength, use) {
      const buffer = heap.allocate(byteLength);
      try {
        return use(buffer.pointer);
      } finally {
        heap.free(buffer);
      }
    },
  };
}
