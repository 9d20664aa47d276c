/** `@frugal/tensor-core/webgpu`: the device "webgpu", on any GPU with a WebGPU driver, in browsers and in Node. */
export type { DeviceRequest } from "./device.ts";
export { DeviceLostError, GpuCommandError } from "./errors.ts";
export type { PipelineRecord } from "./pipelines.ts";
export type { RuntimeFeatures } from "./runtime.ts";
export { webgpu, type AdapterDescription, type WebGpuDevice, type WebGpuOptions, type WebGpuStatistics } from "./webgpu.ts";
