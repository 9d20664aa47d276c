import { describe, expect, it } from "vitest";
import type { KernelArguments, KernelName, TensorView } from "../backend.ts";
import { checkKernelAgainstReference, kernelNames } from "../../testing/kernel-suite.ts";
import { contiguousStrides } from "../../tensor/shape.ts";
import { createWasmBackend, type WasmBackend } from "./backend.ts";
import { relaxedKernels } from "./kernels/relaxed.wasm.ts";
import { createWasmRuntime } from "./runtime-instance.ts";

describe("WebAssembly kernels beside the reference", () => {
  const backend = createWasmBackend();

  it.each(kernelNames)("%s", { timeout: 60_000 }, async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 80 });
  });
});

/** Kernels that run on the calling thread alone, and those whose generated cases are too small to be cut. */
const serialKernels: ReadonlySet<KernelName> = new Set(["arange", "rotaryEmbedding"]);

describe("WebAssembly kernels give the same bits for any number of threads", () => {
  const alone = createWasmBackend();
  alone.runtime.pool.setThreadCount(1);
  const together = createWasmBackend();
  const { pool } = together.runtime;
  pool.setThreadCount(3);
  // The cases are small: without this they would stay on one thread.
  pool.minimumWork = 0;

  it.each(kernelNames)("%s", { timeout: 60_000 }, async (name) => {
    const before = pool.activity.jobs;
    // One seed, so that the cases are large enough to be cut in every run.
    await checkKernelAgainstReference(together, name, { runs: 200, against: alone, tolerance: 0, seed: 11 });
    if (serialKernels.has(name)) expect(pool.activity.jobs).toBe(before);
    else expect(pool.activity.jobs, "jobs offered to workers").toBeGreaterThan(before);
  });

  /** Runs a kernel on arguments of the given shapes, filled alike; the bytes of the outputs. */
  function run(
    backend: WasmBackend,
    shapes: Readonly<Record<string, readonly number[]>>,
    kernel: (views: Record<string, TensorView>) => void,
  ): Uint8Array[] {
    const views = Object.entries(shapes).map(([name, shape]): [string, TensorView] => {
      const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 1.7) + 1.5);
      const buffer = backend.allocate(values.byteLength);
      backend.write(buffer, 0, new Uint8Array(values.buffer));
      return [name, { buffer, dtype: "float32", shape, strides: contiguousStrides(shape), offset: 0 }];
    });
    kernel(Object.fromEntries(views));
    const bytes = views.map(([, { buffer }]) => backend.readSync(buffer, 0, buffer.byteLength));
    for (const [, { buffer }] of views) backend.free(buffer);
    return bytes;
  }

  it("layerNormGradient and rotaryEmbedding of many rows", () => {
    const [rows, columns] = [700, 33];
    const matrix = [rows, columns];
    const norm = {
      gradient: matrix,
      input: matrix,
      weight: [columns],
      mean: [rows],
      rstd: [rows],
      inputGradient: matrix,
      weightGradient: [columns],
      biasGradient: [columns],
    };
    const tokens = [2, 130, 4, 32];
    const rotary = { input: tokens, output: tokens, cosine: [130, 16], sine: [130, 16] };
    const compute = (backend: WasmBackend): Uint8Array[] => [
      ...run(backend, norm, (views) =>
        backend.kernels.layerNormGradient({ ...(views as unknown as KernelArguments["layerNormGradient"]), rows, columns }),
      ),
      ...run(backend, rotary, (views) =>
        backend.kernels.rotaryEmbedding({
          ...(views as unknown as KernelArguments["rotaryEmbedding"]),
          positionOffset: 0,
          layout: "half",
          inverse: false,
        }),
      ),
    ];
    const before = pool.activity.jobs;
    const actual = compute(together);
    expect(pool.activity.jobs - before).toBeGreaterThanOrEqual(2);
    compute(alone).forEach((bytes, i) => expect(Buffer.compare(actual[i]!, bytes), `buffer ${i}`).toBe(0));
  });

  it("with workers that took their share", () => {
    expect(pool.activity.workerChunks).toBeGreaterThan(0);
  });
});

// Node 22 and later, Chrome 114, Firefox 146; elsewhere the relaxed build is never loaded.
describe("relaxed kernels beside the reference", () => {
  const backend = createWasmBackend(createWasmRuntime(relaxedKernels));

  it.each(kernelNames)("%s", { timeout: 60_000 }, async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 25 });
  });
});

describe("the WebAssembly heap", () => {
  it("holds nothing more after kernels have run again", async () => {
    const backend = createWasmBackend();
    // Plans, tables and thread scratch stay; a second round of the same cases must find them there.
    for (const name of kernelNames) await checkKernelAgainstReference(backend, name, { runs: 10, seed: 5 });
    const before = backend.memory();
    for (const name of kernelNames) await checkKernelAgainstReference(backend, name, { runs: 10, seed: 5 });
    expect(backend.memory()).toMatchObject({ allocatedBytes: before.allocatedBytes, allocations: before.allocations });
  });
});
