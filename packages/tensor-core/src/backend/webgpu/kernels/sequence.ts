import type { Kernels } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { causalConv1d, causalConv1dGradient } from "./sequence/convolution.ts";
import { selectiveScanGradient } from "./sequence/scan-gradient.ts";
import { selectiveScan } from "./sequence/scan.ts";

/** Causal convolution and the selective scan. */
export function sequenceKernels(
  runtime: WebGpuRuntime,
): Pick<Kernels, "causalConv1d" | "causalConv1dGradient" | "selectiveScan" | "selectiveScanGradient"> {
  return {
    causalConv1d: (parameters) => causalConv1d(runtime, parameters),
    causalConv1dGradient: (parameters) => causalConv1dGradient(runtime, parameters),
    selectiveScan: (parameters) => selectiveScan(runtime, parameters),
    selectiveScanGradient: (parameters) => selectiveScanGradient(runtime, parameters),
  };
}
