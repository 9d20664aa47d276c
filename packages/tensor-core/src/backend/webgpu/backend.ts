import type { Backend, MemoryUsage } from "../backend.ts";
import type { WebGpuBuffer } from "./buffers.ts";
import { uncapturedError } from "./error-scopes.ts";
import { deviceLost, DeviceLostError, GpuCommandError } from "./errors.ts";
import type { BatchOutput } from "./failures.ts";
import { createKernels } from "./kernels/index.ts";
import { isolatedAllocation, WebGpuRuntime, type RuntimeOptions } from "./runtime.ts";
import { StagingPool } from "./staging.ts";
import { writeBytes } from "./unaligned-write.ts";

/** The "webgpu" device. */
export interface WebGpuBackend extends Backend {
  readonly name: "webgpu";
  readonly runtime: WebGpuRuntime;
  readonly staging: StagingPool;
  /** Resolves when the device is lost, for whatever reason. */
  readonly lost: Promise<DeviceLostError>;
  /**
   * Resolves when all queued work is done.
   * @throws the first error of the GPU that nobody was told of: of a command whose results were not read, or outside all commands
   * @throws DeviceLostError
   */
  synchronize(): Promise<void>;
  /** Gives the device back; its tensors are lost. */
  destroy(): void;
}

/** A backend over a device that this backend owns from now on. */
export function createWebGpuBackend(device: GPUDevice, options: RuntimeOptions = {}): WebGpuBackend {
  const runtime = new WebGpuRuntime(device, options);
  const staging = new StagingPool(device);
  const onUncaptured = ({ error }: GPUUncapturedErrorEvent): void => {
    runtime.uncaptured ??= uncapturedError(error);
  };
  device.addEventListener("uncapturederror", onUncaptured);
  const lost = device.lost.then(({ reason, message }) => {
    device.removeEventListener("uncapturederror", onUncaptured);
    runtime.lost ??= deviceLost(reason, message);
    return runtime.lost;
  });
  return {
    name: "webgpu",
    runtime,
    staging,
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
      const failure = runtime.takeUncaptured() ?? runtime.queue.failures.takeUnreported();
      if (failure !== undefined) throw failure;
    },
    memory: (): MemoryUsage => runtime.pool.usage(),
    destroy() {
      runtime.lost ??= new DeviceLostError("the WebGPU device was destroyed; call webgpu() for a new one");
      // Where events are held by native code, the listener would keep all of this alive.
      device.removeEventListener("uncapturederror", onUncaptured);
      staging.destroy();
      device.destroy();
    },
  };
}

/** Reads of one turn of the event loop share a submission. */
async function readBytes(
  runtime: WebGpuRuntime,
  staging: StagingPool,
  buffer: WebGpuBuffer,
  byteOffset: number,
  byteLength: number,
): Promise<Uint8Array> {
  runtime.checkAlive();
  if (byteLength === 0) return new Uint8Array(0);
  const { queue } = runtime;
  runtime.deferred?.flush();
  const start = Math.floor(byteOffset / 4) * 4;
  const length = Math.ceil((byteOffset + byteLength - start) / 4) * 4;
  const output: BatchOutput = { failure: undefined };
  // A large staging buffer that the driver refuses must not cost the results recorded so far.
  if (length >= isolatedAllocation && staging.needsNew(length)) void queue.submit();
  queue.begin();
  const target = staging.take(length);
  queue.copyOut(buffer, start, target, length, output);
  const { batch } = queue;
  await Promise.resolve();
  if (queue.batch === batch) void runtime.submit();
  const [mapping] = await Promise.allSettled([staging.map(target, length), queue.settled()]);
  try {
    if (output.failure !== undefined) {
      queue.failures.forget(output.failure);
      throw output.failure;
    }
    if (mapping.status === "rejected") throw await mappingError(runtime, mapping.reason);
    const uncaptured = runtime.takeUncaptured();
    if (uncaptured !== undefined) throw uncaptured;
  } catch (error) {
    staging.discard(target);
    throw error;
  }
  return staging.copyAndReturn(target, length, byteOffset - start, byteLength);
}

/** A mapping fails before the loss of the device is reported, which says more. */
async function mappingError(runtime: WebGpuRuntime, cause: unknown): Promise<Error> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const patience = new Promise((resolve) => (timer = setTimeout(resolve, 500)));
  await Promise.race([runtime.device.lost, patience]);
  clearTimeout(timer);
  const message = cause instanceof Error ? cause.message : String(cause);
  return runtime.lost ?? new GpuCommandError(`reading from the GPU failed: ${message}`, { cause });
}
