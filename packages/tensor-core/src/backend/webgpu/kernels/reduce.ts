import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { extremeCombiner, reduceCombiner } from "./reduce/combiners.ts";
import { cumulativeKernels } from "./reduce/cumulative.ts";
import { reduceAxes } from "./reduce/reduction.ts";

/** Reductions and running totals. */
export function reduceKernels(runtime: WebGpuRuntime): Pick<Kernels, "reduce" | "argReduce" | "cumulative"> {
  return {
    reduce({ operation, input, axes, output }) {
      reduceAxes(runtime, reduceCombiner(operation, input.dtype === "int32" ? "int32" : "float32"), input, axes, output);
    },

    argReduce({ operation, input, output, outer, size, inner }) {
      const { buffer, dtype, offset } = input;
      const blocks = { buffer, dtype, offset, shape: [outer, size, inner], strides: [size * inner, inner, 1] };
      reduceAxes(runtime, extremeCombiner(operation, dtype === "int32" ? "int32" : "float32"), blocks, [1], output);
    },

    ...cumulativeKernels(runtime),
  };
}
