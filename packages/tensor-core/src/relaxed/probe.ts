import type { TensorView } from "../backend/backend.ts";
import { Heap } from "../backend/wasm/heap.ts";
import { createMatmul } from "../backend/wasm/matmul.ts";
import { createWasmRuntime } from "../backend/wasm/runtime-instance.ts";

/** Rows, columns and depth of the products: 1.8 Mflop, 35 µs each, all in the first-level caches. */
const size = 96;
/** Products with each build; engines have optimised their code within the first half. */
const rounds = 40;

/** A product of two matrices with the kernels as stored, in memory of its own. Returns the milliseconds it took. */
function product(kernels: string): () => number {
  const runtime = createWasmRuntime(kernels, new Heap(256));
  runtime.pool.setThreadCount(1);
  const { matmul } = createMatmul(runtime);
  const matrix = (): TensorView => {
    const buffer = runtime.heap.allocate(4 * size * size);
    runtime.heap.float32.fill(0.5, buffer.pointer >>> 2, (buffer.pointer >>> 2) + size * size);
    return { buffer, dtype: "float32", shape: [size, size], strides: [size, 1], offset: 0 };
  };
  const [a, b, output] = [matrix(), matrix(), matrix()];
  return () => {
    const started = performance.now();
    matmul({ a, b, output });
    return performance.now() - started;
  };
}

/**
 * How many times faster matrix products are with `candidate` than with `baseline`, here and now. Takes turns, and takes the fastest of
 * each, so that other work on the
 * machine disturbs both alike: about 5 ms besides compiling.
 */
export function measureSpeedup(baseline: string, candidate: string): number {
  const runs = [product(baseline), product(candidate)] as const;
  const best: [number, number] = [Infinity, Infinity];
  for (let round = 0; round < rounds; round++) {
    for (const side of [0, 1] as const) {
      const time = runs[side]();
      if (round >= rounds / 2) best[side] = Math.min(best[side], time);
    }
  }
  // Browsers round their clocks: what is too fast to see is no speedup.
  return best[0] > 0 && best[1] > 0 ? best[0] / best[1] : 1;
}
