import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";

/** To be written. */
export function fftKernels(runtime: WebGpuRuntime): Pick<Kernels, "fft" | "realFft" | "inverseRealFft"> {
  void runtime;
  const missing = (): never => {
    throw new Error("not written yet");
  };
  return { fft: missing, realFft: missing, inverseRealFft: missing, };
}
