import type { Backend } from "../backend.ts";
import { attentionKernels } from "./attention.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { feedforwardKernels } from "./feedforward.ts";
import { fftKernels } from "./fft.ts";
import { matmulKernels } from "./matmul.ts";
import { ReferenceMemory } from "./memory.ts";
import { movementKernels } from "./movement.ts";
import { optimizerKernels } from "./optim.ts";
import { randomKernels } from "./random.ts";
import { reduceKernels } from "./reduce.ts";
import { rowKernels } from "./rows.ts";
import { sequenceKernels } from "./sequence.ts";
import { sortKernels } from "./sort.ts";

/**
 * The reference device: float64 loops that follow the formulas of the contract, rounded once when stored. Every other backend is tested
 * against it, and it computes where WebAssembly SIMD is missing. Correct and slow.
 */
export function createReferenceBackend(): Backend {
  const memory = new ReferenceMemory();
  return {
    name: "reference",
    kernels: {
      ...movementKernels,
      ...elementwiseKernels,
      ...reduceKernels,
      ...sortKernels,
      ...matmulKernels,
      ...rowKernels,
      ...feedforwardKernels,
      ...attentionKernels,
      ...sequenceKernels,
      ...fftKernels,
      ...randomKernels,
      ...optimizerKernels,
    },
    allocate: (byteLength) => memory.allocate(byteLength),
    free: (buffer) => memory.free(buffer),
    write: (buffer, byteOffset, bytes) => memory.write(buffer, byteOffset, bytes),
    read: async (buffer, byteOffset, byteLength) => memory.readSync(buffer, byteOffset, byteLength),
    readSync: (buffer, byteOffset, byteLength) => memory.readSync(buffer, byteOffset, byteLength),
    hostView: (buffer, byteOffset, byteLength) => memory.hostView(buffer, byteOffset, byteLength),
    synchronize: async () => {},
    memory: () => memory.usage(),
  };
}
