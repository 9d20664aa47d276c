/** Opens WebGPU for the benchmarks: Dawn from the module that the parent names, on the adapter of this process. */
import { pathToFileURL } from "node:url";
import { webgpu, type AdapterDescription, type WebGpuDevice } from "@frugal/tensor-core/webgpu";

/** Names the module and the lane to `openGpu`, in the environment of a process. */
export const moduleVariable = "FRUGAL_WEBGPU_MODULE";
export const laneVariable = "FRUGAL_WEBGPU_LANE";

/** The adapter as results name it. */
export interface GpuAdapterReport extends Omit<AdapterDescription, "isSoftware"> {
  /** An adapter in software: proves nothing about speed. */
  readonly software: boolean;
  readonly features: readonly string[];
  readonly maximumBufferBytes: number;
}

/** An adapter to measure peaks on, and our device on the same. */
export interface OpenGpu {
  readonly adapter: GPUAdapter;
  readonly report: GpuAdapterReport;
  readonly device: WebGpuDevice;
}

interface DawnModule {
  create(options: readonly string[]): GPU;
}

/** Kept as long as the process: Dawn's objects do not outlive it. */
let gpu: GPU | undefined;

/** @throws Error when the process was started without the variables @throws DeviceError without an adapter */
export async function openGpu(): Promise<OpenGpu> {
  const path = process.env[moduleVariable];
  const lane = process.env[laneVariable];
  if (path === undefined) throw new Error(`${moduleVariable} does not name the module webgpu; start by npm run bench -- tensor-core --gpu`);
  const { create } = (await import(pathToFileURL(path).href)) as DawnModule;
  // Timestamps are rounded to 100 µs otherwise.
  gpu = create([...(lane === "system" || lane === undefined ? [] : ["backend=vulkan"]), "disable-dawn-features=timestamp_quantization"]);
  const device = await webgpu({ gpu });
  const adapter = (await gpu.requestAdapter({ powerPreference: "high-performance" }))!;
  const { vendor, architecture, device: name, description, isFallbackAdapter } = adapter.info;
  return {
    adapter,
    device,
    report: {
      vendor,
      architecture,
      device: name,
      description,
      software: isFallbackAdapter || /llvmpipe|swiftshader/i.test(`${name} ${architecture} ${description}`),
      features: Object.entries(device.features).flatMap(([feature, present]) => (present ? [feature] : [])),
      maximumBufferBytes: Math.min(adapter.limits.maxStorageBufferBindingSize, adapter.limits.maxBufferSize),
    },
  };
}
