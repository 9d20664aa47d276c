import { DeviceError } from "../../errors.ts";
import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import { contiguousStrides, sizeOf } from "../../tensor/shape.ts";
import type { TensorView } from "../backend.ts";
import { BufferPool, type WebGpuBuffer } from "./buffers.ts";
import { CommandQueue } from "./command-queue.ts";
import type { DeviceLostError } from "./errors.ts";
import type { Aliases, KernelLaunch } from "./program.ts";
import { PipelineCache } from "./pipelines.ts";

/** What kernels may count on, beyond the WebGPU baseline. */
export interface RuntimeFeatures {
  /** `array<f16>` and f16 arithmetic in shaders. */
  readonly f16: boolean;
  readonly subgroups: boolean;
  readonly timestamps: boolean;
  /** 8×8 (and larger) matrix multiply-accumulate across a subgroup. */
  readonly subgroupMatrix: boolean;
}

/** Limits that kernels choose by; at least the WebGPU defaults: 256 invocations and 16 KiB. */
export interface RuntimeLimits {
  readonly workgroupInvocations: number;
  readonly workgroupMemory: number;
}

/** Storage arrays that every adapter binds in one shader. */
const maximumBindings = 8;

/** Freed memory kept for reuse. */
const maximumIdleBytes = 2 ** 30;

/** Allocations from here on are isolated in a batch of their own, so that running out of memory costs nobody else's results. */
const isolatedAllocation = 2 ** 24;

/** Work that a kernel family holds back to merge it with what follows (element-wise chains). */
export interface DeferredWork {
  /** Records everything held back. */
  flush(): void;
  /** A buffer of held-back work was freed: true when the family keeps its memory, to recycle it later. */
  keep(buffer: WebGpuBuffer): boolean;
}

/** A device at work: memory, pipelines and the command queue. Kernels are functions over it. */
export class WebGpuRuntime {
  readonly device: GPUDevice;
  readonly features: RuntimeFeatures;
  readonly limits: RuntimeLimits;
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
  readonly queue: CommandQueue;
  deferred: DeferredWork | undefined;
  /** Set when the device is gone. */
  lost: DeviceLostError | undefined;

  constructor(device: GPUDevice) {
    this.device = device;
    this.features = {
      f16: device.features.has("shader-f16"),
      subgroups: device.features.has("subgroups"),
      timestamps: device.features.has("timestamp-query"),
      subgroupMatrix: device.features.has("chromium-experimental-subgroup-matrix"),
    };
    this.limits = {
      workgroupInvocations: device.limits.maxComputeInvocationsPerWorkgroup,
      workgroupMemory: device.limits.maxComputeWorkgroupStorageSize,
    };
    this.pool = new BufferPool(device, maximumIdleBytes);
    this.pipelines = new PipelineCache(device);
    this.queue = new CommandQueue(device, this.pool);
  }

  /** @throws DeviceLostError */
  checkAlive(): void {
    if (this.lost !== undefined) throw this.lost;
  }

  /** @throws OutOfMemoryError @throws DeviceLostError */
  allocate(byteLength: number): WebGpuBuffer {
    this.checkAlive();
    if (byteLength >= isolatedAllocation && this.pool.needsNew(byteLength)) void this.submit();
    this.queue.begin();
    const buffer = this.pool.allocate(byteLength);
    this.queue.noteWrite(buffer);
    return buffer;
  }

  free(buffer: WebGpuBuffer): void {
    this.pool.retire(buffer);
    if (!this.deferred?.keep(buffer)) this.pool.recycle(buffer);
  }

  /** A contiguous tensor for use inside one kernel; give it back with `release` once the launches that use it are recorded. */
  temporary(dtype: Dtype, shape: readonly number[]): TensorView {
    const buffer = this.allocate(sizeOf(shape) * itemSize(dtype));
    return { buffer, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
  }

  release(...temporaries: readonly (TensorView | undefined)[]): void {
    for (const view of temporaries) if (view !== undefined) this.free(view.buffer as WebGpuBuffer);
  }

  /**
   * Records a launch of a kernel, after everything recorded or held back before it.
   * @throws DeviceLostError
   */
  launch(launch: KernelLaunch): void {
    this.deferred?.flush();
    this.launchNow(launch);
  }

  /** As `launch`, ahead of what is held back: for the family that holds it. */
  launchNow(launch: KernelLaunch): void {
    this.checkAlive();
    const [x, y = 1, z = 1] = launch.workgroups;
    if (x === 0 || y === 0 || z === 0) return;
    const prepared = this.#separate(launch);
    let key = `${launch.name}|${launch.variant ?? ""}|`;
    let layout = "";
    const buffers: WebGpuBuffer[] = [];
    const aliases = aliasesOf(prepared.launch);
    for (const name in prepared.launch.bindings) {
      const { buffer, access, type } = prepared.launch.bindings[name]!;
      const target = aliases.get(name);
      key += target === undefined ? `${name}:${type}:${access},` : `${name}=${target},`;
      if (access === "write") this.queue.noteWrite(buffer);
      this.queue.noteRead(buffer);
      if (target !== undefined) continue;
      layout += isWritten(prepared.launch, buffer) ? "w" : "r";
      buffers.push(buffer);
    }
    if (buffers.length > maximumBindings) throw new DeviceError(`internal: ${launch.name} binds ${buffers.length} arrays, ${maximumBindings} is the limit`);
    for (const name in launch.uniforms) key += `${name}:${launch.uniforms[name]!.type},`;
    this.queue.begin();
    this.queue.launch(this.pipelines.get(`${key}${layout}`, prepared.launch, aliases, layout), prepared.launch, buffers);
    for (const copy of prepared.copies) this.pool.free(copy);
  }

  /** Records a copy between buffers, in order with the launches; offsets and length in multiples of 4. @throws DeviceLostError */
  copyBytes(source: WebGpuBuffer, sourceOffset: number, target: WebGpuBuffer, targetOffset: number, byteLength: number): void {
    this.checkAlive();
    this.deferred?.flush();
    this.queue.copy(source, sourceOffset, target, targetOffset, byteLength);
  }

  /** Submits everything recorded; see `CommandQueue.submit`. */
  submit(): Promise<void> {
    this.deferred?.flush();
    return this.queue.submit();
  }

  /**
   * WebGPU takes a buffer that is written only once a launch. Arrays of one type on one buffer become one variable; a read-only array of
   * another type gets a copy of the buffer.
   */
  #separate(launch: KernelLaunch): { readonly launch: KernelLaunch; readonly copies: readonly WebGpuBuffer[] } {
    let bindings: Record<string, KernelLaunch["bindings"][string]> | undefined;
    const copies: WebGpuBuffer[] = [];
    for (const name in launch.bindings) {
      const binding = launch.bindings[name]!;
      if (binding.access === "write") continue;
      const conflict = Object.values(launch.bindings).some(
        (other) => other.access === "write" && other.buffer === binding.buffer && other.type !== binding.type,
      );
      if (!conflict) continue;
      const copy = this.allocate(binding.buffer.byteLength);
      this.queue.copy(binding.buffer, 0, copy, 0, Math.ceil(binding.buffer.byteLength / 4) * 4);
      copies.push(copy);
      bindings ??= { ...launch.bindings };
      bindings[name] = { ...binding, buffer: copy };
    }
    return { launch: bindings === undefined ? launch : { ...launch, bindings }, copies };
  }
}

function isWritten(launch: KernelLaunch, buffer: WebGpuBuffer): boolean {
  for (const name in launch.bindings) {
    const binding = launch.bindings[name]!;
    if (binding.buffer === buffer && binding.access === "write") return true;
  }
  return false;
}

const noAliases: Aliases = new Map();

function aliasesOf(launch: KernelLaunch): Aliases {
  let aliases: Map<string, string> | undefined;
  const names = Object.keys(launch.bindings);
  for (let i = 1; i < names.length; i++) {
    const { buffer, type } = launch.bindings[names[i]!]!;
    const first = names.findIndex((name) => launch.bindings[name]!.buffer === buffer);
    if (first === i || !isWritten(launch, buffer)) continue;
    if (launch.bindings[names[first]!]!.type !== type) {
      throw new DeviceError(`internal: ${launch.name} writes one buffer as two types, ${names[first]} and ${names[i]}`);
    }
    (aliases ??= new Map()).set(names[i]!, names[first]!);
  }
  return aliases ?? noAliases;
}
