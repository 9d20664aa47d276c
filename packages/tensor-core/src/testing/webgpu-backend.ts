import { openDevice } from "../backend/webgpu/device.ts";
import { createWebGpuBackend, type WebGpuBackend } from "../backend/webgpu/backend.ts";
import { laneGpu } from "./webgpu-lane.ts";

/** A backend of its own on the lane's adapter; destroy it when the tests are done. */
export async function laneBackend(withoutFeatures: readonly string[] = []): Promise<WebGpuBackend> {
  const { device } = await openDevice({ gpu: await laneGpu(), withoutFeatures });
  return createWebGpuBackend(device);
}
