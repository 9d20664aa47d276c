import { afterAll } from "vitest";
import { webgpu, type WebGpuDevice } from "../backend/webgpu/webgpu.ts";

/** Opens the device "webgpu" on the page's own WebGPU for one test file, and closes it at the end. @throws DeviceError without an adapter */
export async function openPageDevice(): Promise<WebGpuDevice> {
  const device = await webgpu();
  afterAll(() => device.destroy());
  return device;
}
