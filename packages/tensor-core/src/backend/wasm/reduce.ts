import { itemSize } from "../../tensor/dtype.ts";
import type { Kernels, ReduceOperation, TensorView } from "../backend.ts";
import { countElements, isContiguous } from "./layout.ts";
import { withContiguousCopy } from "./movement.ts";
import type { WasmRuntime } from "./runtime.ts";

/** Codes of assembly/reduce.ts; int32 adds `integerCode`. A mean is a sum with a divisor. */
const reduceCodes: Record<ReduceOperation, number> = { sum: 0, mean: 0, product: 1, maximum: 2, minimum: 3, any: 8, all: 9 };
const integerCode = 4;

/**
 * Fewer elements are reduced in one go. More, in few rows or columns, go in blocks of these lengths, whose results are then reduced in
 * turn.
 */
const splitCount = 131_072;
const rowBlock = 16_384;
const columnBlock = 1024;

/** A contiguous block [outer, size, inner] that loses its middle axis. */
interface Middle {
  readonly outer: number;
  readonly size: number;
  readonly inner: number;
}

/**
 * Splits a shape into runs of axes that are kept and reduced in turn: sizes of [kept, reduced, kept, reduced, …, kept], axes of size 1 left
 * out.
 */
function alternatingSizes(shape: readonly number[], axes: readonly number[]): number[] {
  const sizes = [1];
  for (let axis = 0; axis < shape.length; axis++) {
    const size = shape[axis]!;
    if (size === 1) continue;
    const reduced = axes.includes(axis);
    if (reduced === (sizes.length % 2 === 0)) sizes[sizes.length - 1]! *= size;
    else sizes.push(size);
  }
  if (sizes.length % 2 === 0) sizes.push(1);
  return sizes;
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}

/** Reductions and running totals. */
export function createReduce(runtime: WasmRuntime): Pick<Kernels, "reduce" | "argReduce" | "cumulative"> {
  /** Reduces the middle axis; in two stages where one would leave threads idle. The choice depends on sizes alone. */
  function reduceMiddle(code: number, input: number, output: number, { outer, size, inner }: Middle, divisor: number, bytes: number): void {
    const large = bytes === 4 && outer * size * inner >= splitCount;
    if (inner === 1) {
      const blocks = large && outer < 64 ? Math.ceil(size / rowBlock) : 1;
      if (blocks > 1) {
        runtime.withScratch(outer * blocks * 4, (partial) => {
          runRows(code, input, partial, outer, size, rowBlock, blocks, 1);
          runRows(code, partial, output, outer, blocks, blocks, 1, divisor);
        });
      } else runRows(code, input, output, outer, size, size, 1, divisor);
      return;
    }
    const blocks = large && outer === 1 && inner < 1024 ? Math.floor(size / columnBlock) : 0;
    if (blocks > 1) {
      const rest = size - blocks * columnBlock;
      runtime.withScratch((blocks + 1) * inner * 4, (partial) => {
        runColumns(code, input, partial, blocks, columnBlock, inner, 1);
        if (rest > 0) runColumns(code, input + blocks * columnBlock * inner * 4, partial + blocks * inner * 4, 1, rest, inner, 1);
        runColumns(code, partial, output, 1, blocks + (rest > 0 ? 1 : 0), inner, divisor);
      });
    } else runColumns(code, input, output, outer, size, inner, divisor);
  }

  function runRows(
    code: number, input: number, output: number, rows: number, columns: number, blockLength: number, blocks: number, divisor: number,
  ): void {
    runtime.parallel(
      "reduceRows", [code, input, output, columns, columns, blockLength, blocks, divisor], rows * blocks, { work: rows * columns },
    );
  }

  function runColumns(code: number, input: number, output: number, outer: number, size: number, inner: number, divisor: number): void {
    // Wide tiles read long runs of each row; narrow ones leave work for every thread. Results are the same.
    const tile = inner >= 1024 ? 256 : 64;
    runtime.parallel(
      "reduceColumns", [code, input, output, size, inner, tile, divisor], outer * Math.ceil(inner / tile),
      { work: outer * size * inner, scratchBytes: 12 * tile },
    );
  }

  function reduceContiguous(operation: ReduceOperation, input: number, view: TensorView, axes: readonly number[], output: number): void {
    const code = reduceCodes[operation] + (view.dtype === "int32" ? integerCode : 0);
    const bytes = itemSize(view.dtype);
    const sizes = alternatingSizes(view.shape, axes);
    const divisor = operation === "mean" ? axes.reduce((total, axis) => total * view.shape[axis]!, 1) : 1;
    if (sizes.length === 1) {
      // Only axes of size 1 go.
      runtime.heap.uint8.copyWithin(output, input, input + sizes[0]! * bytes);
      return;
    }
    reduceLast(code, input, output, sizes, divisor, bytes);
  }

  /** Reduces the last reduced run, then what is left. */
  function reduceLast(code: number, input: number, output: number, sizes: readonly number[], divisor: number, bytes: number): void {
    const middle = { outer: product(sizes.slice(0, -2)), size: sizes.at(-2)!, inner: sizes.at(-1)! };
    if (sizes.length === 3) return reduceMiddle(code, input, output, middle, divisor, bytes);
    runtime.withScratch(middle.outer * middle.inner * bytes, (partial) => {
      reduceMiddle(code, input, partial, middle, 1, bytes);
      reduceLast(code, partial, output, [...sizes.slice(0, -3), sizes.at(-3)! * middle.inner], divisor, bytes);
    });
  }

  return {
    reduce({ operation, input, axes, output }) {
      if (countElements(output.shape) === 0) return;
      const target = runtime.pointer(output);
      const run = (source: number): void => reduceContiguous(operation, source, input, axes, target);
      if (isContiguous(input)) run(runtime.pointer(input));
      else withContiguousCopy(runtime, input, run);
    },

    argReduce({ operation, input, output, outer, size, inner }) {
      runtime.parallel(
        "argReduce",
        [input.dtype === "int32" ? 1 : 0, operation === "argmax" ? 1 : 0, runtime.pointer(input), runtime.pointer(output), size, inner],
        outer * inner,
        { work: outer * size * inner },
      );
    },

    cumulative({ operation, input, output, outer, size, inner, reverse }) {
      runtime.parallel(
        "cumulative",
        [
          input.dtype === "int32" ? 1 : 0, operation === "product" ? 1 : 0, reverse ? 1 : 0, runtime.pointer(input),
          runtime.pointer(output), size, inner,
        ],
        outer * inner,
        { granularity: 16, work: outer * size * inner * 2 },
      );
    },
  };
}
