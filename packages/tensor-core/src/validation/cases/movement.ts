import * as draw from "../arbitrary.ts";
import type { Dtype } from "../../tensor/dtype.ts";
import { denseLayouts, layouts, seeds, shapes, sizesOrZero, small } from "../arbitraries.ts";
import { exact, within, type KernelTests } from "../kernel-test.ts";
import { outputSpec, tensorSpec } from "../tensor-spec.ts";
import { choices, integers, normals, specialFloats, specialIntegers, sprinkled, type Filler } from "../values.ts";

const dtypes = draw.constantFrom<Dtype>("float32", "float16", "int32", "uint8", "int8", "bool");

/** Values that a dtype holds, edges included. */
function valuesOf(dtype: Dtype, seed: number): Filler {
  switch (dtype) {
    case "float32":
    case "float16":
      return sprinkled(seed, normals(seed, 0, 40), [...specialFloats, 127.9, -128.9, 255.9, 3e9, -3e9]);
    case "int32":
      return sprinkled(seed, integers(seed, -300, 300), specialIntegers);
    case "int8":
      return integers(seed, -128, 127);
    case "uint8":
      return integers(seed, 0, 255);
    case "bool":
      return integers(seed, 0, 1);
  }
}

const blocks = draw
  .record({ outer: small(6, 0), size: small(40), count: small(40, 0), inner: draw.oneof(small(6), small(70)) })
  .filter(({ outer, size, count, inner }) => outer * Math.max(size, count) * inner <= 20000);

/** Tests of filling, copying and indexing. */
export const movementTests: KernelTests<"fill" | "arange" | "copy" | "gather" | "scatterAdd" | "gatherElements" | "scatterElementsAdd"> = {
  fill: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({ dtype: dtypes, shape: shapes(), layout: denseLayouts, seed: seeds })
      .map(({ dtype, shape, layout, seed }) => ({ output: outputSpec(dtype, shape, layout), value: valuesOf(dtype, seed)(0) })),
  },

  arange: {
    outputs: ["output"],
    tolerance: ({ start, step, output }) => ({ absolute: 3e-7 * (Math.abs(start) + Math.abs(step) * (output.shape[0] ?? 0)), relative: 0 }),
    cases: draw
      .record({ integer: draw.boolean(), length: sizesOrZero, start: small(40, -40), step: small(20, -20), layout: denseLayouts })
      .map(({ integer, length, start, step, layout }) => ({
        output: outputSpec(integer ? "int32" : "float32", [length], layout),
        start: integer ? start : start / 3,
        step: integer ? step : step / 7,
      })),
  },

  copy: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({ shape: shapes(), from: dtypes, to: dtypes, input: layouts(), output: layouts({ broadcast: false }), seed: seeds })
      .map(({ shape, from, to, input, output, seed }) => ({
        input: tensorSpec(from, shape, valuesOf(from, seed), input),
        output: outputSpec(to, shape, output),
      })),
  },

  gather: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({ dtype: dtypes, blocks, layout: denseLayouts, seed: seeds })
      .map(({ dtype, blocks: { outer, size, count, inner }, layout, seed }) => ({
        input: tensorSpec(dtype, [outer, size, inner], valuesOf(dtype, seed), layout),
        indices: tensorSpec("int32", [count], indicesInto(size, seed), layout),
        output: outputSpec(dtype, [outer, count, inner], layout),
        outer,
        size,
        inner,
      })),
  },

  scatterAdd: {
    outputs: ["output"],
    tolerance: within(1e-5, 1e-6),
    cases: draw
      .record({ dtype: draw.constantFrom<Dtype>("float32", "int32"), blocks, layout: denseLayouts, seed: seeds })
      .map(({ dtype, blocks: { outer, size, count, inner }, layout, seed }) => ({
        output: tensorSpec(dtype, [outer, size, inner], addends(dtype, seed), layout),
        indices: tensorSpec("int32", [count], indicesInto(size, seed), layout),
        updates: tensorSpec(dtype, [outer, count, inner], addends(dtype, seed + 5), layout),
        outer,
        size,
        inner,
      })),
  },

  gatherElements: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({ dtype: draw.constantFrom<Dtype>("float32", "int32"), blocks, layout: denseLayouts, seed: seeds })
      .map(({ dtype, blocks: { outer, size, count, inner }, layout, seed }) => ({
        input: tensorSpec(dtype, [outer, size, inner], valuesOf(dtype, seed), layout),
        indices: tensorSpec("int32", [outer, count, inner], indicesInto(size, seed), layout),
        output: outputSpec(dtype, [outer, count, inner], layout),
        outer,
        size,
        inner,
      })),
  },

  scatterElementsAdd: {
    outputs: ["output"],
    tolerance: within(1e-5, 1e-6),
    cases: draw.record({ blocks, layout: denseLayouts, seed: seeds }).map(({ blocks: { outer, size, count, inner }, layout, seed }) => ({
      output: tensorSpec("float32", [outer, size, inner], normals(seed), layout),
      indices: tensorSpec("int32", [outer, count, inner], indicesInto(size, seed), layout),
      updates: tensorSpec("float32", [outer, count, inner], normals(seed + 5), layout),
      outer,
      size,
      inner,
    })),
  },
};

function indicesInto(size: number, seed: number): Filler {
  return sprinkled(seed, integers(seed, 0, size - 1), [-1, size, -(2 ** 31), 2 ** 31 - 1]);
}

function addends(dtype: Dtype, seed: number): Filler {
  return dtype === "int32" ? choices(seed, [...specialIntegers, 3, 5, 7]) : normals(seed);
}
