import * as draw from "../arbitrary.ts";
import type { Activation } from "../../backend/backend.ts";
import { denseLayouts, layouts, seeds, small } from "../arbitraries.ts";
import type { KernelTests } from "../kernel-test.ts";
import { outputSpec, tensorSpec, type Layout, type QuantizedSpec } from "../tensor-spec.ts";
import { integers, normals, uniforms } from "../values.ts";

const extents = draw.oneof(
  { arbitrary: small(9), weight: 5 },
  { arbitrary: draw.integer({ min: 10, max: 40 }), weight: 3 },
  { arbitrary: draw.constantFrom(0, 63, 64, 65, 257, 300, 520, 1030), weight: 1 },
);

const activations = draw.option(draw.constantFrom<Activation>("relu", "silu", "gelu", "geluTanh"));

const plainCases = draw
  .record({
    batch: draw.array(small(3), { maxLength: 2 }),
    m: extents,
    k: extents,
    n: extents,
    a: layouts(),
    b: layouts(),
    output: denseLayouts,
    half: draw.boolean(),
    bias: draw.boolean(),
    activation: activations,
    accumulate: draw.boolean(),
    seed: seeds,
  })
  .filter(({ m, k, n }) => m * k * n <= 2_000_000)
  .map(({ batch, m, k, n, a, b, output, half, bias, activation, accumulate, seed }) => ({
    a: tensorSpec("float32", [...batch, m, k], normals(seed), a),
    b: tensorSpec(half ? "float16" : "float32", [...batch, k, n], normals(seed + 1), b),
    output: accumulate
      ? tensorSpec("float32", [...batch, m, n], normals(seed + 2), output)
      : outputSpec("float32", [...batch, m, n], output),
    bias: bias && !accumulate ? tensorSpec("float32", [n], normals(seed + 3), output) : undefined,
    activation: accumulate ? undefined : activation,
    accumulate,
  }));

const quantizedCases = draw
  .record({
    a: layouts(),
    m: extents,
    n: extents,
    groups: small(9),
    groupSize: draw.constantFrom(8, 16, 24, 32, 64),
    format: draw.constantFrom("int8" as const, "uint4" as const),
    minimums: draw.boolean(),
    layout: denseLayouts,
    bias: draw.boolean(),
    activation: activations,
    seed: seeds,
  })
  .map(({ m, n, groups, groupSize, format, minimums, layout, bias, activation, seed, a }) => ({
    a: tensorSpec("float32", [m, groups * groupSize], normals(seed), a),
    b: quantizedSpec(format, n, groups, groupSize, minimums, seed + 1, layout),
    output: outputSpec("float32", [m, n], layout),
    bias: bias ? tensorSpec("float32", [n], normals(seed + 3), layout) : undefined,
    activation,
    accumulate: undefined,
  }));

/** Tests of matrix products. */
export const matmulTests: KernelTests<"matmul"> = {
  matmul: {
    outputs: ["output"],
    tolerance: ({ a }) => ({ absolute: 3e-7 * (10 + a.shape.at(-1)!), relative: 1e-5 }),
    cases: draw.oneof({ arbitrary: plainCases, weight: 3 }, { arbitrary: quantizedCases, weight: 1 }),
  },
};

function quantizedSpec(
  format: "int8" | "uint4",
  outputs: number,
  groups: number,
  groupSize: number,
  minimums: boolean,
  seed: number,
  layout: Layout,
): QuantizedSpec {
  const inputs = groups * groupSize;
  return {
    format,
    shape: [outputs, inputs],
    groupSize,
    values:
      format === "int8"
        ? tensorSpec("int8", [outputs, inputs], integers(seed, -127, 127), layout)
        : tensorSpec("uint8", [outputs, inputs / 2], integers(seed, 0, 255), layout),
    scales: tensorSpec("float32", [outputs, groups], uniforms(seed + 1, 0.001, 0.02), layout),
    minimums: minimums ? tensorSpec("float32", [outputs, groups], uniforms(seed + 2, -0.2, 0), layout) : undefined,
  };
}
