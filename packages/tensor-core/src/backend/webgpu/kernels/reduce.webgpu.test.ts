import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReferenceBackend } from "../../reference/index.ts";
import type { ReduceOperation } from "../../backend.ts";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { runKernel, type BufferContents } from "../../../validation/run-kernel.ts";
import { outputSpec, tensorSpec, type KernelSpec } from "../../../validation/tensor-spec.ts";
import { choices, integers, normals, uniforms, type Filler } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

describe("reductions beside the reference", () => {
  const reference = createReferenceBackend();
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  it("reduce", () => checkKernelAgainstReference(backend, "reduce", { runs: 80 }));
  it("argReduce", () => checkKernelAgainstReference(backend, "argReduce", { runs: 40 }));
  it("cumulative", () => checkKernelAgainstReference(backend, "cumulative", { runs: 40 }));

  const valuesOf = (contents: BufferContents): readonly number[] => {
    const { spec, values } = contents.get("output")!;
    return values.slice(spec.offset, spec.offset + spec.shape.reduce((count, size) => count * size, 1));
  };

  async function compareReduce(
    operation: ReduceOperation,
    shape: readonly number[],
    axes: readonly number[],
    fill: Filler,
    dtype: "float32" | "int32" | "bool" = "float32",
    offset = 0,
  ): Promise<{ actual: readonly number[]; expected: readonly number[] }> {
    const kept = shape.filter((_, axis) => !axes.includes(axis));
    const input = tensorSpec(dtype, shape, fill, { offset });
    const spec: KernelSpec<"reduce"> = { operation, axes, input, output: outputSpec(dtype, kept) };
    const [actual, expected] = await Promise.all([runKernel(backend, "reduce", spec), runKernel(reference, "reduce", spec)]);
    return { actual: valuesOf(actual), expected: valuesOf(expected) };
  }

  const largest = (values: readonly number[]): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  it.each([
    ["one long row", [1, 70_000], [1], 0],
    ["one long row, odd", [70_001], [0], 1],
    ["columns", [300, 300], [0], 0],
    ["rows", [300, 300], [1], 0],
    ["few interleaved columns", [5, 4000, 3], [1], 0],
    ["split columns", [3000, 40], [0], 0],
    ["a kept axis between", [40, 9, 256], [0, 2], 0],
  ] as const)("sums and finds the largest of %s", async (_, shape, axes, offset) => {
    const values = normals(11);
    const sum = await compareReduce("sum", shape, axes, values, "float32", offset);
    const count = sum.expected.length;
    expect(sum.actual).toHaveLength(count);
    // Values within ±3 add up to rounding errors of a few ulp of the partial sums.
    expect(largest(sum.actual.map((value, i) => value - sum.expected[i]!))).toBeLessThan(1e-4);
    const maximum = await compareReduce("maximum", shape, axes, values, "float32", offset);
    expect(maximum.actual).toEqual(maximum.expected);
  });

  it("adds a million equal values without losing any", async () => {
    const { actual } = await compareReduce("sum", [1_000_000], [0], () => 0.1);
    const exact = 1_000_000 * Math.fround(0.1);
    expect(Math.abs(actual[0]! - exact) / exact).toBeLessThan(2e-7);
    const mean = await compareReduce("mean", [2, 500_001], [0, 1], () => 0.1);
    expect(Math.abs(mean.actual[0]! / Math.fround(0.1) - 1)).toBeLessThan(2e-7);
  });

  it("splits truth values, integers and special values over workgroups", async () => {
    for (const [operation, rare] of [["any", 1], ["all", 0]] as const) {
      for (const length of [90_000, 90_001]) {
        for (const found of [true, false]) {
          const usual = 1 - rare;
          const fill: Filler = (i) => (found && i === length + 77_777 ? rare : usual);
          const { actual } = await compareReduce(operation, [2, length], [1], fill, "bool");
          expect(actual).toEqual([usual, found ? rare : usual]);
        }
      }
    }
    const wrapped = await compareReduce("sum", [70_000], [0], integers(3, -(2 ** 31), 2 ** 31 - 1), "int32");
    expect(wrapped.actual).toEqual(wrapped.expected);
    const nan = await compareReduce("minimum", [2, 70_000], [1], (i) => (i === 69_000 ? NaN : i === 80_000 ? -Infinity : i));
    expect(nan.actual).toEqual([NaN, -Infinity]);
  });

  it("gives the mean, the extremes and the sums of nothing", async () => {
    const results: number[] = [];
    for (const operation of ["mean", "maximum", "minimum", "sum", "product"] as const) {
      results.push((await compareReduce(operation, [2, 0], [1], () => 0)).actual[1]!);
    }
    expect(results).toEqual([NaN, -Infinity, Infinity, 0, 1]);
    expect((await compareReduce("maximum", [0, 2], [0], () => 0, "int32")).actual).toEqual([-(2 ** 31), -(2 ** 31)]);
    expect((await compareReduce("all", [0, 5], [0], () => 0, "bool")).actual).toEqual([1, 1, 1, 1, 1]);
  });

  it("gives the same bits every time", async () => {
    const run = async (): Promise<readonly number[]> => (await compareReduce("sum", [3, 70_001], [1], uniforms(5, -1e6, 1e6))).actual;
    expect(await run()).toEqual(await run());
  });

  it.each([
    [1, 70_000, 1],
    [3, 5000, 64],
    [2, 70_001, 1],
    [5, 4000, 3],
  ])("finds the first extreme of [%i, %i, %i] over workgroups", async (outer, size, inner) => {
    for (const [operation, dtype, fill] of [
      ["argmax", "float32", choices(7, [-1, 0, -0, 3, 3, -Infinity])],
      ["argmin", "float32", (i: number) => (i % 77_777 === 60_011 ? NaN : Math.sin(i))],
      ["argmin", "int32", integers(9, -(2 ** 31), 2 ** 31 - 1)],
    ] as const) {
      const output = outputSpec("int32", [outer, inner]);
      const spec = { operation, input: tensorSpec(dtype, [outer, size, inner], fill), output, outer, size, inner };
      const [actual, expected] = await Promise.all([runKernel(backend, "argReduce", spec), runKernel(reference, "argReduce", spec)]);
      expect(valuesOf(actual)).toEqual(valuesOf(expected));
    }
  });

  it.each([
    [1, 70_000, 1],
    [3, 5001, 1],
    [30, 300, 1],
    [5, 4000, 3],
    [2, 1000, 130],
  ])("scans [%i, %i, %i] in pieces, both ways", async (outer, size, inner) => {
    const shape = [outer, size, inner];
    for (const reverse of [false, true]) {
      const blocks = { outer, size, inner, reverse, operation: "sum" as const };
      const input = tensorSpec("int32", shape, integers(3, -(2 ** 30), 2 ** 30));
      const integral = { ...blocks, input, output: outputSpec("int32", shape) };
      const exact = await Promise.all([runKernel(backend, "cumulative", integral), runKernel(reference, "cumulative", integral)]);
      expect(valuesOf(exact[0])).toEqual(valuesOf(exact[1]));
      const floats = { ...blocks, input: tensorSpec("float32", shape, uniforms(4, 0, 1)), output: outputSpec("float32", shape) };
      const [actual, expected] = (
        await Promise.all([runKernel(backend, "cumulative", floats), runKernel(reference, "cumulative", floats)])
      ).map(valuesOf);
      expect(largest(actual!.map((value, i) => value / expected![i]! - 1))).toBeLessThan(2e-6);
    }
  });
});
