import type { Backend, DeviceBuffer, MemoryUsage } from "../backend.ts";
import type { WebGpuBuffer } from "./buffers.ts";
import { DeviceLostError } from "./errors.ts";
import type { BatchOutput } from "./failures.ts";
import { createKernels } from "./kernels/index.ts";
import { WebGpuRuntime } from "./runtime.ts";
import { StagingPool } from "./staging.ts";
import { writeBytes } from "./unaligned-write.ts";

/** The "webgpu" device. */
export interface WebGpuBackend extends Backend {
  readonly name: "webgpu";
  readonly runtime: WebGpuRuntime;
  /** Resolves when the device is lost, for whatever reason. */
  readonly lost: Promise<DeviceLostError>;
  /** Gives the device back; its tensors are lost. */
  destroy(): void;
}

/** A backend over a device that this backend owns from now on. */
export function createWebGpuBackend(device: GPUDevice): WebGpuBackend {
  const runtime = new WebGpuRuntime(device);
  const staging = new StagingPool(device);
  const lost = device.lost.then(({ reason, message }) => {
    runtime.lost ??= new DeviceLostError(
      `the GPU device was lost (${reason}): ${message || "no reason given"}; its tensors are gone, call webgpu() again for a new device`,
    );
    return runtime.lost;
  });
  return {
    name: "webgpu",
    runtime,
    lost,
    kernels: createKernels(runtime),
    allocate: (byteLength) => runtime.allocate(byteLength),
    free: (buffer) => runtime.free(buffer as WebGpuBuffer),
    write(buffer, byteOffset, bytes) {
      runtime.checkAlive();
      runtime.deferred?.flush();
      writeBytes(runtime, buffer as WebGpuBuffer, byteOffset, bytes);
    },
    read: (buffer, byteOffset, byteLength) => readBytes(runtime, staging, buffer as WebGpuBuffer, byteOffset, byteLength),
    async synchronize() {
      runtime.checkAlive();
      runtime.deferred?.flush();
      await runtime.queue.drain();
      runtime.checkAlive();
    },
    memory: (): MemoryUsage => runtime.pool.usage(),
    destroy() {
      runtime.lost ??= new DeviceLostError("the WebGPU device was destroyed; call webgpu() for a new one");
      staging.destroy();
      device.destroy();
    },
  };
}

/** Reads of one turn of the event loop share a submission. */
async function readBytes(
  runtime: WebGpuRuntime,
  staging: StagingPool,
  buffer: WebGpuBuffer & DeviceBuffer,
  byteOffset: number,
  byteLength: number,
): Promise<Uint8Array> {
  runtime.checkAlive();
  if (byteLength === 0) return new Uint8Array(0);
  runtime.deferred?.flush();
  const start = Math.floor(byteOffset / 4) * 4;
  const length = Math.ceil((byteOffset + byteLength - start) / 4) * 4;
  const output: BatchOutput = { failure: undefined };
  runtime.queue.begin();
  const target = staging.take(length);
  runtime.queue.copyOut(buffer, start, target, length, output);
  const { batch } = runtime.queue;
  try {
    await Promise.resolve();
    if (runtime.queue.batch === batch) void runtime.submit();
    await Promise.all([staging.map(target, length), runtime.queue.settled()]);
  } catch (error) {
    // The copy may be one of the commands that were refused, which says more than the failed mapping; so does the loss of the device.
    await runtime.queue.settled();
    if (output.failure !== undefined) throw output.failure;
    await Promise.race([runtime.device.lost, new Promise((resolve) => setTimeout(resolve, 100))]);
    runtime.checkAlive();
    throw error;
  }
  const bytes = staging.copyAndReturn(target, length, byteOffset - start, byteLength);
  if (output.failure !== undefined) throw output.failure;
  return bytes;
}
