/** `@frugal/tensor-core/webgpu`: the device "webgpu", on any GPU with a WebGPU driver, in browsers and in Node. */
export { parseTuning, type AutotuneOptions, type MatmulTuning, type TileMeasurement, type TuningShape } from "./autotune.ts";
export { loadTuning, saveTuning, type TuningStorageOptions } from "./autotune-storage.ts";
export type { ChromeTrace, ChromeTraceEvent } from "./chrome-trace.ts";
export type { DeviceRequest } from "./device.ts";
export { DeviceLostError, GpuCommandError } from "./errors.ts";
export {
  isContiguousView,
  type KernelDevice,
  type KernelRecorder,
  type RecordedLaunch,
  type WgslKernel,
  type WgslKernelCommon,
  type WgslKernelLaunch,
  type WgslKernelRecord,
} from "./override/kernel.ts";
export type { KernelTiming } from "./override/measure.ts";
export type { RegisteredKernel } from "./override/register.ts";
export type { KernelReport, WgslValidationOptions } from "./override/report.ts";
export type { PipelineRecord } from "./pipelines.ts";
export { loadPipelines, savePipelines, type LoadedPipelines, type SavedPipelines } from "./pipeline-storage.ts";
export type { GpuProfile, KernelProfile, Profiled } from "./profile.ts";
export {
  entryPoint,
  f32,
  i32,
  isAligned,
  read,
  u32,
  workgroupGrid,
  write,
  type ElementType,
  type KernelBinding,
  type KernelLaunch,
  type UniformValue,
} from "./program.ts";
export type { RuntimeFeatures, RuntimeLimits } from "./runtime.ts";
export type { SubgroupMatrixState } from "./kernels/matmul/subgroup-matrix-trial.ts";
export { webgpu, type AdapterDescription, type WebGpuDevice, type WebGpuOptions, type WebGpuStatistics } from "./webgpu.ts";
export type { ElementMismatch } from "../../validation/compare.ts";
export { outputSpec, tensorSpec, type KernelSpec, type Layout, type QuantizedSpec, type TensorSpec } from "../../validation/tensor-spec.ts";
export { KernelValidationError, type CompileMessage, type ValidationDetails, type ValidationFailure } from "../../validation/errors.ts";
export type { ValidationOptions, ValidationReport } from "../../validation/validate-kernel.ts";
