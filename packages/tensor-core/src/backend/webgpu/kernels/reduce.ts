import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function reduceKernels(runtime: WebGpuRuntime): Pick<Kernels, "reduce" | "argReduce" | "cumulative"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { reduce: missing, argReduce: missing, cumulative: missing, };
}
