import type { Kernels, ReduceOperation, TensorView } from "../backend.ts";
import { elementCount, elementOffset, forEachIndex, load, store } from "./access.ts";
import { contiguousStrides } from "../../tensor/shape.ts";

/** Reductions and running totals. */
export const reduceKernels: Pick<Kernels, "reduce" | "argReduce" | "cumulative"> = {
  reduce({ operation, input, axes, output }) {
    const values = load(input);
    const combine = combinerOf(operation, input);
    const result = new Float64Array(elementCount(output.shape)).fill(startOf(operation, input));
    // Strides of the output as the input's index sees it: 0 along reduced axes.
    const keptStrides = contiguousStrides(input.shape.map((size, axis) => (axes.includes(axis) ? 1 : size)));
    const strides = keptStrides.map((stride, axis) => (axes.includes(axis) ? 0 : stride));
    forEachIndex(input.shape, (index, position) => {
      const place = elementOffset(index, strides, 0);
      result[place] = combine(result[place]!, values[position]!);
    });
    const count = axes.reduce((product, axis) => product * input.shape[axis]!, 1);
    store(output, operation === "mean" ? result.map((sum) => sum / count) : result);
  },

  argReduce({ operation, input, output, outer, size, inner }) {
    const values = load(input);
    const better = operation === "argmax" ? (a: number, b: number) => a > b : (a: number, b: number) => a < b;
    const result = new Float64Array(outer * inner);
    for (let o = 0; o < outer; o++) {
      for (let k = 0; k < inner; k++) {
        const at = (i: number): number => values[(o * size + i) * inner + k]!;
        let best = 0;
        for (let i = 1; i < size; i++) {
          if (Number.isNaN(at(best))) break;
          if (Number.isNaN(at(i)) || better(at(i), at(best))) best = i;
        }
        result[o * inner + k] = best;
      }
    }
    store(output, result);
  },

  cumulative({ operation, input, output, outer, size, inner, reverse }) {
    const values = load(input);
    const combine = combinerOf(operation, input);
    const result = new Float64Array(values.length);
    for (let o = 0; o < outer; o++) {
      for (let k = 0; k < inner; k++) {
        let total = startOf(operation, input);
        for (let step = 0; step < size; step++) {
          const place = (o * size + (reverse ? size - 1 - step : step)) * inner + k;
          total = combine(total, values[place]!);
          result[place] = total;
        }
      }
    }
    store(output, result);
  },
};

function startOf(operation: ReduceOperation, input: TensorView): number {
  const integer = input.dtype === "int32";
  switch (operation) {
    case "sum":
    case "mean":
    case "any":
      return 0;
    case "product":
    case "all":
      return 1;
    case "maximum":
      return integer ? -(2 ** 31) : -Infinity;
    case "minimum":
      return integer ? 2 ** 31 - 1 : Infinity;
  }
}

function combinerOf(operation: ReduceOperation, input: TensorView): (total: number, value: number) => number {
  switch (operation) {
    case "sum":
    case "mean":
      return (total, value) => total + value;
    case "product":
      return input.dtype === "int32" ? Math.imul : (total, value) => total * value;
    case "maximum":
      return Math.max;
    case "minimum":
      return Math.min;
    case "any":
      return (total, value) => (total !== 0 || value !== 0 ? 1 : 0);
    case "all":
      return (total, value) => (total !== 0 && value !== 0 ? 1 : 0);
  }
}
