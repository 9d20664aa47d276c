import { openDevice } from "../backend/webgpu/device.ts";
import { createWebGpuBackend, type WebGpuBackend } from "../backend/webgpu/backend.ts";
import { laneGpu } from "./webgpu-lane.ts";

/** How a test's device differs from what the adapter offers. */
export interface LaneBackendOptions {
  /** Choose kernels as for a graphics card although the adapter computes on the CPU. */
  readonly isSoftware?: boolean;
  /** No more than every WebGPU adapter has: 256 invocations and 16 KiB of memory a workgroup. */
  readonly baselineLimits?: boolean;
}

/** A backend of its own on the lane's adapter; destroy it when the tests are done. */
export async function laneBackend(
  withoutFeatures: readonly string[] = [],
  { isSoftware, baselineLimits = false }: LaneBackendOptions = {},
): Promise<WebGpuBackend> {
  const { device, subgroups } = await openDevice({ gpu: await laneGpu(), withoutFeatures, baselineLimits });
  return createWebGpuBackend(device, { isSoftware, subgroups });
}
