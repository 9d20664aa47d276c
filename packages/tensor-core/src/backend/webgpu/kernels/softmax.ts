import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function softmaxKernels(runtime: WebGpuRuntime): Pick<Kernels, "softmax" | "softmaxGradient" | "crossEntropy" | "crossEntropyGradient"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { softmax: missing, softmaxGradient: missing, crossEntropy: missing, crossEntropyGradient: missing, };
}
