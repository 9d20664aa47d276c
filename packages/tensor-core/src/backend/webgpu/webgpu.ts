import { DeviceError } from "../../errors.ts";
import { installBackend } from "../registry.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./backend.ts";
import { openDevice, type DeviceRequest } from "./device.ts";
import type { DeviceLostError } from "./errors.ts";
import type { PipelineRecord } from "./pipelines.ts";
import type { RuntimeFeatures } from "./runtime.ts";

/** How to open the device "webgpu". */
export type WebGpuOptions = DeviceRequest;

/** What the adapter says of itself. */
export interface AdapterDescription {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
}

/** What the device has done since it was opened. */
export interface WebGpuStatistics {
  /** Kernels launched, after fusion. */
  readonly launches: number;
  /** Command buffers submitted. */
  readonly submissions: number;
  readonly pipelinesCompiled: number;
  /** Time that compiling held up the program; drivers may go on in the background. */
  readonly compileMilliseconds: number;
}

/** The open device "webgpu". */
export interface WebGpuDevice {
  readonly adapter: AdapterDescription;
  readonly features: RuntimeFeatures;
  /** Resolves when the device is lost, by the driver or by `destroy`. */
  readonly lost: Promise<DeviceLostError>;
  statistics(): WebGpuStatistics;
  /** The pipelines used so far, as JSON-able records for `warmUp` in another run. */
  pipelines(): readonly PipelineRecord[];
  /**
   * Compiles pipelines ahead of need, in parallel. Records never change results: a kernel uses one only when its text is what the kernel
   * would compile now.
   */
  warmUp(records: readonly PipelineRecord[]): Promise<{ readonly compiled: number; readonly failed: number }>;
  /** Closes the device. Its tensors cannot be read any more; `webgpu()` opens a new one. */
  destroy(): void;
}

let current: { readonly backend: WebGpuBackend; readonly device: WebGpuDevice } | undefined;

/**
 * Opens a GPU, so that tensors can be made on `{ device: "webgpu" }`. Needs no call of `destroy`: a program ends by itself. While a device
 * is open, a call without options returns it; after a loss it opens a new one.
 *
 * ```ts
 * const { adapter } = await webgpu();
 * const x = tensor([1, 2, 3], { device: "webgpu" });
 * console.log(adapter.description, await x.exp().data());
 * ```
 * @throws DeviceError when there is no WebGPU or no adapter (it says what to install), or options are given while a device is open
 */
export async function webgpu(options?: WebGpuOptions): Promise<WebGpuDevice> {
  if (current !== undefined && current.backend.runtime.lost === undefined) {
    if (options !== undefined) throw new DeviceError('webgpu: device "webgpu" is open already; destroy() it before opening another with options');
    return current.device;
  }
  const { device, info } = await openDevice(options);
  const backend = createWebGpuBackend(device);
  const { vendor, architecture, device: name, description } = info;
  const handle: WebGpuDevice = {
    adapter: { vendor, architecture, device: name, description },
    features: backend.runtime.features,
    lost: backend.lost,
    statistics() {
      const { queue, pipelines } = backend.runtime;
      return {
        launches: queue.statistics.launches,
        submissions: queue.statistics.submissions,
        pipelinesCompiled: pipelines.statistics.compiled,
        compileMilliseconds: pipelines.statistics.compileMilliseconds,
      };
    },
    pipelines: () => backend.runtime.pipelines.records(),
    warmUp: (records) => backend.runtime.pipelines.warmUp(records),
    destroy() {
      backend.destroy();
      if (current?.backend !== backend) return;
      current = undefined;
      installBackend("webgpu", undefined);
    },
  };
  current = { backend, device: handle };
  installBackend("webgpu", backend);
  return handle;
}
