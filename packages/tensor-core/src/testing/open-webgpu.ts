import { afterAll } from "vitest";
import { webgpu } from "../backend/webgpu/webgpu.ts";
import { laneGpu } from "./webgpu-lane.ts";

/** Opens the device "webgpu" on the lane's adapter for one test file, and closes it at the end. */
export async function openLaneDevice(): Promise<void> {
  const device = await webgpu({ gpu: await laneGpu() });
  afterAll(() => device.destroy());
}
