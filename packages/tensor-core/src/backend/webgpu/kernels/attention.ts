import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function attentionKernels(runtime: WebGpuRuntime): Pick<Kernels, "attention" | "attentionGradient"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { attention: missing, attentionGradient: missing, };
}
