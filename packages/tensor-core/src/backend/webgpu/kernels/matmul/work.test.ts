import { describe, expect, it } from "vitest";
import { contiguousStrides } from "../../../../tensor/shape.ts";
import type { Dtype } from "../../../../tensor/dtype.ts";
import type { KernelArguments, TensorView } from "../../../backend.ts";
import { bytesOf } from "../../work.ts";
import { matmulProblems } from "./problem.ts";
import { workOf } from "./work.ts";

const view = (dtype: Dtype, shape: readonly number[], strides: readonly number[] = contiguousStrides(shape)): TensorView => ({
  buffer: { byteLength: 0 },
  dtype,
  shape,
  strides,
  offset: 0,
});

function total(call: KernelArguments["matmul"], splits = 1): { bytes: number; operations: number } {
  const sum = { bytes: 0, operations: 0 };
  for (const problem of matmulProblems(call)) {
    const work = workOf(problem, { view: problem.output, epilogue: splits === 1 ? problem : undefined }, splits);
    sum.bytes += work.bytes!;
    sum.operations += work.operations!;
  }
  return sum;
}

describe("work of a product", () => {
  it("is each element of both operands once, and the output", () => {
    const [a, output] = [view("float32", [3, 5]), view("float32", [3, 7])];
    expect(total({ a, b: view("float32", [5, 7]), output })).toEqual({ bytes: 4 * (15 + 35 + 21), operations: 210 });
    expect(total({ a, b: view("float16", [5, 7]), output, accumulate: true })).toEqual({ bytes: 60 + 70 + 2 * 84, operations: 210 });
    expect(total({ a, b: view("float32", [5, 7]), output }, 4)).toEqual({ bytes: 4 * (15 + 35 + 4 * 21), operations: 210 });
  });

  it("counts quantised values with their scales, and broadcast operands once", () => {
    const b = { format: "uint4", shape: [7, 8], groupSize: 4, values: view("uint8", [7, 4]), scales: view("float32", [7, 2]) } as const;
    expect(total({ a: view("float32", [1, 8]), b, output: view("float32", [1, 7]) })).toEqual({ bytes: 32 + 28 + 56 + 28, operations: 112 });
    const shared = view("float32", [2, 3, 5], [0, 5, 1]);
    const batched = { a: shared, b: view("float32", [2, 5, 7]), output: view("float32", [2, 3, 7]) };
    expect(total(batched)).toEqual({ bytes: 4 * (15 + 70 + 42), operations: 420 });
    expect(bytesOf([shared, view("float16", [4])])).toBe(68);
  });
});
