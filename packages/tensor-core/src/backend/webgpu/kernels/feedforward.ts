import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function feedforwardKernels(runtime: WebGpuRuntime): Pick<Kernels, "swiglu" | "swigluGradient" | "rotaryEmbedding"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { swiglu: missing, swigluGradient: missing, rotaryEmbedding: missing, };
}
