import type { Backend, DeviceBuffer, Kernels } from "../backend.ts";
import type { HeapBuffer } from "./heap.ts";
import { createWasmRuntime, type WasmRuntimeInstance } from "./runtime-instance.ts";
import { createAttention } from "./attention.ts";
import { createElementwise } from "./elementwise.ts";
import { createFft } from "./fft.ts";
import { createMatmul } from "./matmul.ts";
import { createMovement } from "./movement.ts";
import { createOptim } from "./optim.ts";
import { createRandom } from "./random.ts";
import { createReduce } from "./reduce.ts";
import { createRows } from "./rows.ts";
import { createScan } from "./scan.ts";
import { createSort } from "./sort.ts";

/** The CPU device: SIMD kernels over one shared heap. */
export interface WasmBackend extends Backend {
  readonly name: "cpu";
  readonly runtime: WasmRuntimeInstance;
  readSync(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array;
  hostView(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array;
}

/** Builds the backend from its kernel families. */
export function createWasmBackend(runtime: WasmRuntimeInstance = createWasmRuntime()): WasmBackend {
  const kernels: Kernels = {
    ...createMovement(runtime),
    ...createElementwise(runtime),
    ...createReduce(runtime),
    ...createSort(runtime),
    ...createMatmul(runtime),
    ...createRows(runtime),
    ...createAttention(runtime),
    ...createScan(runtime),
    ...createFft(runtime),
    ...createRandom(runtime),
    ...createOptim(runtime),
  };
  const { heap } = runtime;
  const window = (buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array => {
    const begin = (buffer as HeapBuffer).pointer + byteOffset;
    return heap.uint8.subarray(begin, begin + byteLength);
  };
  return {
    name: "cpu",
    kernels,
    runtime,
    allocate: (byteLength) => heap.allocate(byteLength),
    free: (buffer) => heap.free(buffer as HeapBuffer),
    write: (buffer, byteOffset, bytes) => heap.uint8.set(bytes, (buffer as HeapBuffer).pointer + byteOffset),
    read: async (buffer, byteOffset, byteLength) => new Uint8Array(window(buffer, byteOffset, byteLength)),
    readSync: (buffer, byteOffset, byteLength) => new Uint8Array(window(buffer, byteOffset, byteLength)),
    hostView: window,
    synchronize: async () => {},
    memory: () => heap.usage(),
  };
}
