import { DeviceError } from "../../errors.ts";
import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import { contiguousStrides, sizeOf } from "../../tensor/shape.ts";
import type { DeviceBuffer, TensorView } from "../backend.ts";
import { BufferPool, type WebGpuBuffer } from "./buffers.ts";
import { CommandQueue } from "./command-queue.ts";
import { ConstantTables } from "./constants.ts";
import { ErrorScopes } from "./error-scopes.ts";
import type { DeviceLostError } from "./errors.ts";
import { LaunchPlans, type LaunchPlan } from "./launch-plans.ts";
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

/** What is known of a device beyond what it says itself. */
export interface RuntimeOptions {
  /** Choose kernels as for a software adapter, or as for a graphics card; default: what the adapter is. */
  readonly isSoftware?: boolean | undefined;
  /** Whether kernels may use subgroups, where the device has them; default false, see `hasOrderedSubgroups`. */
  readonly subgroups?: boolean | undefined;
}

/** Storage arrays that every adapter binds in one shader. */
const maximumBindings = 8;

/**
 * Freed memory kept for reuse, or as much as was ever in use at a time where that is more: a training step must not ask the driver anew.
 */
const leastIdleBytes = 2 ** 28;

/** Allocations from here on are isolated in a batch of their own, so that running out of memory costs nobody else's results. */
export const isolatedAllocation: number = 2 ** 24;

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
  /** The adapter computes on the CPU: kernels that compile quickly serve it better than kernels that run fast on a card. */
  readonly isSoftware: boolean;
  readonly pool: BufferPool;
  readonly pipelines: PipelineCache;
  readonly queue: CommandQueue;
  readonly #plans = new LaunchPlans();
  readonly constants: ConstantTables;
  deferred: DeferredWork | undefined;
  /** Set when the device is gone. */
  lost: DeviceLostError | undefined;
  /** An error outside all recorded commands, of which nobody was told yet. */
  uncaptured: Error | undefined;

  constructor(device: GPUDevice, { isSoftware, subgroups = false }: RuntimeOptions = {}) {
    this.device = device;
    // Older browsers do not tell.
    this.isSoftware = isSoftware ?? (device.adapterInfo as GPUAdapterInfo | undefined)?.isFallbackAdapter ?? false;
    this.features = {
      f16: device.features.has("shader-f16"),
      subgroups: subgroups && device.features.has("subgroups"),
      timestamps: device.features.has("timestamp-query"),
      subgroupMatrix: device.features.has("chromium-experimental-subgroup-matrix"),
    };
    this.limits = {
      workgroupInvocations: device.limits.maxComputeInvocationsPerWorkgroup,
      workgroupMemory: device.limits.maxComputeWorkgroupStorageSize,
    };
    const scopes = new ErrorScopes(device);
    this.pool = new BufferPool(device, scopes, leastIdleBytes, (error) => this.#noMemory(error));
    this.pipelines = new PipelineCache(device, scopes);
    this.queue = new CommandQueue(device, this.pool, scopes);
    this.constants = new ConstantTables(device, this.queue);
  }

  /** @throws DeviceLostError */
  checkAlive(): void {
    if (this.lost !== undefined) throw this.lost;
  }

  /** The error outside all commands, once. */
  takeUncaptured(): Error | undefined {
    const error = this.uncaptured;
    this.uncaptured = undefined;
    return error;
  }

  /**
   * @throws OutOfMemoryError for more than one buffer holds; that the driver has no memory left, reads of the tensor say
   * @throws DeviceLostError
   */
  allocate(byteLength: number): WebGpuBuffer {
    this.checkAlive();
    if (byteLength >= isolatedAllocation && this.pool.needsNew(byteLength)) void this.submit();
    return this.pool.allocate(byteLength);
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

  /** A read-only table that `make` computes at its first use; kept outside the tensors' memory, within bounds. */
  constant(key: string, make: () => Float32Array): WebGpuBuffer {
    this.checkAlive();
    return this.constants.get(key, make);
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
    const { workgroups, bindings } = launch;
    if (workgroups[0] === 0 || workgroups[1] === 0 || workgroups[2] === 0) return;
    const buffers: WebGpuBuffer[] = [];
    let isShared = false;
    for (const name in bindings) {
      const { access } = bindings[name]!;
      const buffer = bindings[name]!.buffer as WebGpuBuffer;
      isShared ||= buffers.includes(buffer) && (access === "write" || isWritten(launch, buffer));
      buffers.push(buffer);
    }
    if (isShared) {
      this.#launchShared(launch);
      return;
    }
    const plan = this.#plans.find(launch, "") ?? this.#plan(launch, "", noAliases, accessOf(launch, noAliases));
    this.queue.launch(plan.pipeline, launch, buffers, plan.access);
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

  /** A launch that binds a buffer several times and writes it. */
  #launchShared(original: KernelLaunch): void {
    const { launch, copies } = this.#separate(original);
    const aliases = aliasesOf(launch);
    const sharing = [...aliases].map(([name, target]) => `${name}=${target}`).join();
    const names = Object.keys(launch.bindings).filter((name) => !aliases.has(name));
    const plan = this.#plans.find(launch, sharing) ?? this.#plan(launch, sharing, aliases, accessOf(launch, aliases));
    this.queue.launch(
      plan.pipeline,
      launch,
      names.map((name) => launch.bindings[name]!.buffer as WebGpuBuffer),
      plan.access,
    );
    for (const copy of copies) this.pool.free(copy);
  }

  #plan(launch: KernelLaunch, sharing: string, aliases: Aliases, access: string): LaunchPlan {
    if (access.length > maximumBindings) {
      throw new DeviceError(`internal: ${launch.name} binds ${access.length} arrays, ${maximumBindings} is the limit`);
    }
    return this.#plans.add(launch, sharing, access, this.pipelines.get(launch, aliases, access));
  }

  /** Memory kept for reuse goes back to the driver, so that trying again may succeed. */
  #noMemory(error: Error): void {
    this.queue.failures.note(error);
    void this.queue.submit();
    this.pool.trim();
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
      this.queue.copy(binding.buffer as WebGpuBuffer, 0, copy, 0, Math.ceil(binding.buffer.byteLength / 4) * 4);
      copies.push(copy);
      bindings ??= { ...launch.bindings };
      bindings[name] = { ...binding, buffer: copy };
    }
    return { launch: bindings === undefined ? launch : { ...launch, bindings }, copies };
  }
}

function isWritten(launch: KernelLaunch, buffer: DeviceBuffer): boolean {
  for (const name in launch.bindings) {
    const binding = launch.bindings[name]!;
    if (binding.buffer === buffer && binding.access === "write") return true;
  }
  return false;
}

const noAliases: Aliases = new Map();

/** One letter an array of its own, r or w. */
function accessOf(launch: KernelLaunch, aliases: Aliases): string {
  const names = Object.keys(launch.bindings).filter((name) => !aliases.has(name));
  return names.map((name) => (isWritten(launch, launch.bindings[name]!.buffer) ? "w" : "r")).join("");
}

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
