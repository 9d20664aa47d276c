/**
 * `@frugal/tensor-core/relaxed`: kernels with fused multiply-adds (WebAssembly relaxed SIMD). Faster on engines that make one instruction
 * of them, but results are then no longer
 * the same on every machine; on one machine they still are for any number of threads.
 */
import { chooseKernels } from "../backend/cpu.ts";
import { isBackendBuilt } from "../backend/registry.ts";
import { baselineKernels } from "../backend/wasm/kernels/baseline.wasm.ts";
import { relaxedKernels } from "../backend/wasm/kernels/relaxed.wasm.ts";
import { unpackKernels } from "../backend/wasm/runtime-instance.ts";
import { DeviceError } from "../errors.ts";
import { decide, type RelaxedKernels } from "./decision.ts";
import { measureSpeedup } from "./probe.ts";

export type { RelaxedKernels };

/**
 * Uses the relaxed kernels on device "cpu" if this engine has relaxed SIMD and a short trial shows it faster (Node 22 accepts it, at half
 * the speed). Otherwise the baseline
 * stays, and the result says why. Call it before anything else uses the device.
 *
 * ```ts
 * const { enabled, reason } = enableRelaxedKernels();
 * ```
 * @throws DeviceError when the device is in use already: a tensor was made, or `setThreads` called
 */
export function enableRelaxedKernels(): RelaxedKernels {
  if (isBackendBuilt("cpu"))
    throw new DeviceError(
      'enableRelaxedKernels: device "cpu" is in use already; call it before the first tensor is made and before setThreads()',
    );
  const result = decide(WebAssembly.validate(unpackKernels(relaxedKernels)), () => measureSpeedup(baselineKernels, relaxedKernels));
  if (result.enabled) chooseKernels(relaxedKernels);
  return result;
}
