import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Dtype } from "../../../tensor/dtype.ts";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import { runKernel } from "../../../validation/run-kernel.ts";
import { outputSpec, tensorSpec, type Layout } from "../../../validation/tensor-spec.ts";
import { normals } from "../../../validation/values.ts";
import { createWasmBackend } from "../../wasm/backend.ts";
import type { WebGpuBackend } from "../backend.ts";
import { mergeAxes } from "../strided.ts";
import { findTranspose } from "./movement/transpose.ts";

let backend: WebGpuBackend;
beforeAll(async () => {
  backend = await laneBackend();
});
afterAll(() => backend.destroy());

describe("movement kernels beside the reference", () => {
  it.each(["fill", "arange", "copy", "gather", "scatterAdd", "gatherElements", "scatterElementsAdd"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 150 });
  });
});

describe("copies of transposed tensors beside the WASM kernels", () => {
  const cpu = createWasmBackend();

  interface Problem {
    readonly shape: readonly number[];
    readonly input: Layout;
    readonly output?: Layout;
    readonly from?: Dtype;
    readonly to?: Dtype;
  }

  it.each<[string, Problem]>([
    ["whole tiles", { shape: [96, 64], input: { offset: 0, order: [1, 0] } }],
    ["parts of tiles, with an offset", { shape: [131, 50], input: { offset: 3, order: [1, 0] } }],
    ["an output that is not row-major", { shape: [70, 80], input: { offset: 0 }, output: { offset: 1, order: [1, 0] } }],
    ["batches", { shape: [5, 33, 40], input: { offset: 0, order: [0, 2, 1] } }],
    ["axes turned around, one backwards", { shape: [3, 17, 4, 40], input: { offset: 2, order: [3, 2, 0, 1], flip: 0b0101 } }],
    ["a repeated axis", { shape: [40, 3, 50], input: { offset: 0, order: [2, 1, 0], broadcast: 0b010 } }],
    ["a conversion", { shape: [70, 80], input: { offset: 0, order: [1, 0] }, to: "int32" }],
  ])("%s", async (_, { shape, input, output, from = "float32", to = "float32" }) => {
    const fill = normals(7);
    const spec = {
      input: tensorSpec(from, shape, (i) => 100 * fill(i), input),
      output: outputSpec(to, shape, output),
    };
    expect(findTranspose(mergeAxes(shape, [spec.input.strides, spec.output.strides]))).toBeDefined();
    expect(await runKernel(backend, "copy", spec)).toEqual(await runKernel(cpu, "copy", spec));
  });

  it("leaves small and narrow matrices, and equal layouts, to the plain kernel", () => {
    const isTransposed = (shape: number[], input: number[], output: number[]): boolean =>
      findTranspose(mergeAxes(shape, [input, output])) !== undefined;
    expect(isTransposed([64, 64], [1, 64], [64, 1])).toBe(true);
    expect(isTransposed([32, 32], [1, 32], [32, 1])).toBe(false);
    expect(isTransposed([4096, 3], [1, 4096], [3, 1])).toBe(false);
    expect(isTransposed([64, 64], [128, 1], [64, 1])).toBe(false);
    expect(isTransposed([64, 64], [2, 128], [64, 1])).toBe(false);
  });
});
