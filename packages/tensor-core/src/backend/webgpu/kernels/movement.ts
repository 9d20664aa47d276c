import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function movementKernels(runtime: WebGpuRuntime): Pick<Kernels, "fill" | "arange" | "copy" | "gather" | "scatterAdd" | "gatherElements" | "scatterElementsAdd"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { fill: missing, arange: missing, copy: missing, gather: missing, scatterAdd: missing, gatherElements: missing, scatterElementsAdd: missing, };
}
