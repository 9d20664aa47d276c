import type { TensorView } from "../backend.ts";
import { Heap, type HeapBuffer } from "./heap.ts";
import { baselineKernels } from "./kernels/baseline.wasm.ts";
import type { KernelExports } from "./kernels/kernel-exports.ts";
import { decodeLzma } from "./kernels/lzma.ts";
import { joinModule } from "./kernels/wasm-streams.ts";
import type { WasmRuntime } from "./runtime.ts";
import { ThreadPool } from "./threads.ts";
import { itemSize } from "../../tensor/dtype.ts";

/** What `scripts/build-kernels.ts` stores, as a WebAssembly binary again: some 25 ms once, for half of the download. */
export function unpackKernels(text: string): Uint8Array<ArrayBuffer> {
  const characters = atob(text);
  const packed = new Uint8Array(characters.length);
  for (let i = 0; i < packed.length; i++) packed[i] = characters.charCodeAt(i);
  return joinModule(decodeLzma(packed));
}

/** Has the module take a memory that is not shared: they must agree, and kernels use no atomics. */
function importUnsharedMemory(binary: Uint8Array): void {
  // "memory", then 2 for a memory, then the flags: 1 for a maximum, 2 for shared.
  const name = [..."memory"].map((character) => character.charCodeAt(0));
  const at = binary.findIndex(
    (_, start) => name.every((code, i) => binary[start + i] === code) && binary[start + 6] === 2 && binary[start + 7] === 3,
  );
  binary[at + 7] = 1;
}

/** The runtime, with the parts that only the backend itself needs. */
export interface WasmRuntimeInstance extends WasmRuntime {
  readonly pool: ThreadPool;
}

/** Compiles a kernel module (as stored; the baseline build unless told) over a heap. Synchronous: the module is small. */
export function createWasmRuntime(kernels: string = baselineKernels, heap: Heap = new Heap()): WasmRuntimeInstance {
  const binary = unpackKernels(kernels);
  if (!heap.shared) importUnsharedMemory(binary);
  const module = new WebAssembly.Module(binary);
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
      const buffer = heap.allocateInternal(byteLength);
      try {
        return use(buffer.pointer);
      } finally {
        heap.free(buffer);
      }
    },
  };
}
