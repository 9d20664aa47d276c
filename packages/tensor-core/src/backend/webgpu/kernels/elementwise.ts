import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function elementwiseKernels(runtime: WebGpuRuntime): Pick<Kernels, "unary" | "unaryGradient" | "predicate" | "binary" | "binaryScalar" | "compare" | "where" | "addScaled"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { unary: missing, unaryGradient: missing, predicate: missing, binary: missing, binaryScalar: missing, compare: missing, where: missing, addScaled: missing, };
}
