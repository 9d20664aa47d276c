import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function randomKernels(runtime: WebGpuRuntime): Pick<Kernels, "random"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { random: missing, };
}
