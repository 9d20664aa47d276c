import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function matmulKernels(runtime: WebGpuRuntime): Pick<Kernels, "matmul"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { matmul: missing, };
}
