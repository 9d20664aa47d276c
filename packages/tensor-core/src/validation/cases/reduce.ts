import * as draw from "../arbitrary.ts";
import type { ReduceOperation } from "../../backend/backend.ts";
import type { Dtype } from "../../tensor/dtype.ts";
import { denseLayouts, layouts, seeds, shapes, sizes, small } from "../arbitraries.ts";
import { exact, type KernelTests } from "../kernel-test.ts";
import { outputSpec, tensorSpec } from "../tensor-spec.ts";
import { choices, integers, normals, specialIntegers, sprinkled, uniforms, type Filler } from "../values.ts";

function valuesFor(operation: ReduceOperation, dtype: Dtype, seed: number): Filler {
  if (dtype === "bool") return choices(seed, seed % 2 ? [0, 0, 0, 1] : [1, 1, 1, 0]);
  if (dtype === "int32")
    return operation === "product" ? choices(seed, [1, -1, 3, 5, 7]) : sprinkled(seed, integers(seed, -99, 99), specialIntegers);
  if (operation === "product") return uniforms(seed, 0.9, 1.1);
  const rare = operation === "sum" || operation === "mean" ? [0, 5] : [Infinity, -Infinity, 0, -0, 7];
  // NaN only in some cases, or nearly every result would be one.
  return sprinkled(seed, normals(seed), seed % 4 === 0 ? [...rare, NaN] : rare);
}

const blocks = draw
  .record({ outer: small(6, 0), size: sizes, inner: draw.oneof(draw.constant(1), small(9), small(70)) })
  .filter(({ outer, size, inner }) => outer * size * inner <= 20000);

/** Tests of reductions. */
export const reduceTests: KernelTests<"reduce" | "argReduce" | "cumulative"> = {
  reduce: {
    outputs: ["output"],
    tolerance: ({ operation, input, axes }) => {
      const count = axes.reduce((product, axis) => product * input.shape[axis]!, 1);
      // Half a unit in the last place each factor: equal factors all round the same way.
      return { absolute: 2e-7 * (10 + count), relative: operation === "product" ? Math.max(1e-5, 2 ** -24 * count) : 1e-5 };
    },
    cases: draw
      .record({
        kind: draw.oneof(
          draw.record({
            operation: draw.constantFrom<ReduceOperation>("sum", "mean", "product", "maximum", "minimum"),
            dtype: draw.constant<Dtype>("float32"),
          }),
          draw.record({
            operation: draw.constantFrom<ReduceOperation>("sum", "product", "maximum", "minimum"),
            dtype: draw.constant<Dtype>("int32"),
          }),
          draw.record({ operation: draw.constantFrom<ReduceOperation>("any", "all"), dtype: draw.constant<Dtype>("bool") }),
        ),
        shape: shapes({ minRank: 1, maxElements: 20000 }),
        reduced: draw.nat(15),
        input: layouts(),
        output: denseLayouts,
        seed: seeds,
      })
      .map(({ kind: { operation, dtype }, shape, reduced, input, output, seed }) => {
        const axes = shape.map((_, axis) => axis).filter((axis) => (reduced >> axis) & 1);
        return {
          operation,
          axes,
          input: tensorSpec(dtype, shape, valuesFor(operation, dtype, seed), input),
          output: outputSpec(
            dtype,
            shape.filter((_, axis) => !axes.includes(axis)),
            output,
          ),
        };
      }),
  },

  argReduce: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({
        operation: draw.constantFrom("argmax" as const, "argmin" as const),
        dtype: draw.constantFrom<Dtype>("float32", "int32"),
        blocks,
        layout: denseLayouts,
        seed: seeds,
      })
      .map(({ operation, dtype, blocks: { outer, size, inner }, layout, seed }) => ({
        operation,
        input: tensorSpec(dtype, [outer, size, inner], tiedValues(dtype, seed), layout),
        output: outputSpec("int32", [outer, inner], layout),
        outer,
        size,
        inner,
      })),
  },

  cumulative: {
    outputs: ["output"],
    tolerance: ({ size }) => ({ absolute: 3e-7 * (10 + size), relative: 2e-7 * (10 + size) }),
    cases: draw
      .record({
        operation: draw.constantFrom("sum" as const, "product" as const),
        dtype: draw.constantFrom<Dtype>("float32", "float32", "int32"),
        blocks,
        reverse: draw.boolean(),
        layout: denseLayouts,
        seed: seeds,
      })
      .map(({ operation, dtype, blocks: { outer, size, inner }, reverse, layout, seed }) => ({
        operation,
        input: tensorSpec(dtype, [outer, size, inner], valuesFor(operation, dtype, seed), layout),
        output: outputSpec(dtype, [outer, size, inner], layout),
        outer,
        size,
        inner,
        reverse,
      })),
  },
};

/** Few different values, so that ties are common; NaN in some cases. */
export function tiedValues(dtype: Dtype, seed: number): Filler {
  if (dtype === "int32") return sprinkled(seed, integers(seed, -5, 5), specialIntegers);
  if (seed % 3 === 0) return normals(seed);
  const rare = [Infinity, -Infinity, 0, -0, 1e30, 1.5e-45];
  return sprinkled(seed, integers(seed, -3, 3), seed % 3 === 1 ? [...rare, NaN] : rare);
}
