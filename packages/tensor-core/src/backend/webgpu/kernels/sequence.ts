import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function sequenceKernels(runtime: WebGpuRuntime): Pick<Kernels, "causalConv1d" | "causalConv1dGradient" | "selectiveScan" | "selectiveScanGradient"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { causalConv1d: missing, causalConv1dGradient: missing, selectiveScan: missing, selectiveScanGradient: missing, };
}
