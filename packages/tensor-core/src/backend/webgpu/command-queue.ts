import type { BufferPool, PooledBuffer, WebGpuBuffer } from "./buffers.ts";
import type { ErrorScopes } from "./error-scopes.ts";
import { FailureTracker, type BatchOutput, type RecordedCommand } from "./failures.ts";
import type { Pipeline } from "./pipelines.ts";
import type { KernelLaunch } from "./program.ts";
import { UniformArena, uniformBlockSize } from "./uniforms.ts";

/** Gives each launch a compute pass with timestamps of its own. */
export interface LaunchTimer {
  /** Timestamps of the next launch; undefined to leave it untimed. */
  next(pipeline: Pipeline, launch: KernelLaunch): GPUComputePassTimestampWrites | undefined;
  /** Records the copy of the batch's timestamps into the encoder. */
  resolve(encoder: GPUCommandEncoder): void;
  /** The batch was submitted; `start` is when the call began, in milliseconds of `performance.now()`. */
  submitted(start: number): void;
}

/** Launches recorded before a batch is submitted unasked, so that the GPU starts while the CPU goes on recording. */
export const launchesPerBatch = 64;

/** Commands of a batch, writes from the host and copies included. */
const maximumCommands = 1024;

/** Bind groups kept for launches with the same pipeline layout and buffers. */
export const bindGroupCacheSize = 4096;

interface CachedBindGroup {
  readonly layoutId: number;
  readonly buffers: readonly PooledBuffer[];
  readonly resource: GPUBindGroup;
}

/** What the queue has done so far. */
export interface QueueStatistics {
  launches: number;
  submissions: number;
  bindGroups: number;
}

/**
 * Commands in one encoder, submitted together: when something is read, when `launchesPerBatch` are recorded, or before a write to a buffer
 * that recorded commands use. The GPU keeps the order of commands, so nothing else has to wait.
 */
export class CommandQueue {
  readonly statistics: QueueStatistics = { launches: 0, submissions: 0, bindGroups: 0 };
  timer: LaunchTimer | undefined;
  readonly #device: GPUDevice;
  readonly #pool: BufferPool;
  readonly #uniforms: UniformArena;
  readonly #scopes: ErrorScopes;
  readonly failures: FailureTracker = new FailureTracker();
  /** By a hash; two that collide take each other's place. */
  readonly #bindGroups = new Map<number, CachedBindGroup>();
  readonly #dynamicOffset = [0];
  #batch = 0;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  /** The one set in the open pass. */
  #passPipeline: Pipeline | undefined;
  #launches = 0;
  #scopesOpen = false;
  #commands: RecordedCommand[] = [];

  constructor(device: GPUDevice, pool: BufferPool, scopes: ErrorScopes) {
    this.#device = device;
    this.#pool = pool;
    this.#scopes = scopes;
    this.#uniforms = new UniformArena(device, launchesPerBatch);
  }

  /** Opens the error scopes of the batch; whatever records commands calls it first. */
  begin(): void {
    if (this.#scopesOpen) return;
    this.#scopesOpen = true;
    this.#scopes.open();
  }

  /** Records one launch. `buffers` are those of the bind group, in order, and `access` has a letter (r, w) for each. */
  launch(pipeline: Pipeline, launch: KernelLaunch, buffers: readonly WebGpuBuffer[], access: string): void {
    const isolated = pipeline.isNew;
    // Should it turn out not to compile, then it takes nobody else's results with it.
    if (isolated) void this.submit();
    this.begin();
    this.#commands.push({ arrays: buffers, access, pipeline });
    if (pipeline.failure === undefined) this.#encode(pipeline, launch, buffers);
    this.statistics.launches++;
    pipeline.isNew = false;
    if (++this.#launches >= launchesPerBatch || isolated) void this.submit();
  }

  /** Copies bytes within the device, in order with the launches; multiples of 4. */
  copy(source: WebGpuBuffer, sourceOffset: number, target: WebGpuBuffer, targetOffset: number, byteLength: number): void {
    this.begin();
    this.#commands.push({ arrays: [source, target], access: "rw" });
    source.pooled.lastUse = this.#batch;
    target.pooled.lastUse = this.#batch;
    this.#openEncoder().copyBufferToBuffer(source.pooled.resource, sourceOffset, target.pooled.resource, targetOffset, byteLength);
  }

  /** Copies bytes (multiples of 4) out to a staging buffer; `output` is marked when they do not exist. */
  copyOut(source: WebGpuBuffer, sourceOffset: number, staging: GPUBuffer, byteLength: number, output: BatchOutput): void {
    this.begin();
    this.#commands.push({ arrays: [source, output], access: "rw" });
    source.pooled.lastUse = this.#batch;
    this.#openEncoder().copyBufferToBuffer(source.pooled.resource, sourceOffset, staging, 0, byteLength);
  }

  /** Sends bytes (multiples of 4) from the host. */
  write(buffer: WebGpuBuffer, byteOffset: number, bytes: Uint8Array<ArrayBuffer>): void {
    // A queue write runs before commands that are recorded but not submitted.
    if (buffer.pooled.lastUse === this.#batch) void this.submit();
    this.begin();
    this.#commands.push({ arrays: [buffer], access: byteOffset === 0 && bytes.byteLength >= buffer.byteLength ? "W" : "P" });
    this.#device.queue.writeBuffer(buffer.pooled.resource, byteOffset, bytes);
    // Commands are what bounds a batch otherwise.
    if (this.#commands.length >= maximumCommands) void this.submit();
  }

  /** Bind groups in the cache now. */
  get bindGroupsKept(): number {
    return this.#bindGroups.size;
  }

  /** Number of the batch being recorded, to tell later whether it was submitted. */
  get batch(): number {
    return this.#batch;
  }

  /** Submits what is recorded. Resolves when the GPU's verdict on it, and on all before, is known. */
  submit(): Promise<void> {
    const verdicts = this.#scopes.takeVerdicts();
    if (!this.#scopesOpen && verdicts.length === 0) return this.failures.settled();
    this.#endPass();
    if (this.#encoder !== undefined) {
      const start = this.timer === undefined ? 0 : performance.now();
      this.timer?.resolve(this.#encoder);
      this.#uniforms.send(this.#device.queue);
      this.#device.queue.submit([this.#encoder.finish()]);
      this.statistics.submissions++;
      this.#encoder = undefined;
      this.timer?.submitted(start);
    }
    const error = this.#scopesOpen ? this.#scopes.close() : noError;
    this.#scopesOpen = false;
    const settled = this.failures.track({ commands: this.#commands, verdicts, error });
    this.#commands = [];
    this.#launches = 0;
    this.#batch++;
    this.#pool.releaseSurplus();
    return settled;
  }

  /** Resolves when the GPU's verdict on everything submitted is known. */
  settled(): Promise<void> {
    return this.failures.settled();
  }

  /** Submits, and resolves when the GPU has done everything. */
  async drain(): Promise<void> {
    const settled = this.submit();
    // After the loss of the device some implementations reject; the loss itself is reported elsewhere.
    await this.#device.queue.onSubmittedWorkDone().catch(() => undefined);
    await settled;
  }

  #encode(pipeline: Pipeline, launch: KernelLaunch, buffers: readonly WebGpuBuffer[]): void {
    this.#dynamicOffset[0] = this.#uniforms.add(launch);
    const timestamps = this.timer?.next(pipeline, launch);
    if (timestamps !== undefined) this.#endPass();
    for (const { pooled } of buffers) pooled.lastUse = this.#batch;
    const pass = this.#openPass(timestamps);
    if (this.#passPipeline !== pipeline) {
      this.#passPipeline = pipeline;
      pass.setPipeline(pipeline.resource);
    }
    pass.setBindGroup(0, this.#bindGroup(pipeline, buffers), this.#dynamicOffset);
    const { workgroups } = launch;
    pass.dispatchWorkgroups(workgroups[0], workgroups[1] ?? 1, workgroups[2] ?? 1);
    if (timestamps !== undefined) this.#endPass();
  }

  #openEncoder(): GPUCommandEncoder {
    this.#endPass();
    return (this.#encoder ??= this.#device.createCommandEncoder());
  }

  #openPass(timestampWrites: GPUComputePassTimestampWrites | undefined): GPUComputePassEncoder {
    this.#encoder ??= this.#device.createCommandEncoder();
    return (this.#pass ??= this.#encoder.beginComputePass(timestampWrites === undefined ? undefined : { timestampWrites }));
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#passPipeline = undefined;
  }

  #bindGroup({ layoutId, bindGroupLayout }: Pipeline, buffers: readonly WebGpuBuffer[]): GPUBindGroup {
    let hash = layoutId;
    for (const { pooled } of buffers) hash = Math.imul(hash ^ pooled.id, 0x9e3779b1) ^ (hash >>> 15);
    const cached = this.#bindGroups.get(hash);
    if (cached !== undefined && cached.layoutId === layoutId && sameBuffers(cached.buffers, buffers)) return cached.resource;
    const entries: GPUBindGroupEntry[] = [{ binding: 0, resource: { buffer: this.#uniforms.buffer, size: uniformBlockSize } }];
    for (const [i, { pooled }] of buffers.entries()) entries.push({ binding: i + 1, resource: { buffer: pooled.resource } });
    const resource = this.#device.createBindGroup({ layout: bindGroupLayout, entries });
    // The oldest goes: buffers given back to the driver would stay reachable otherwise.
    if (this.#bindGroups.size >= bindGroupCacheSize) this.#bindGroups.delete(this.#bindGroups.keys().next().value!);
    this.#bindGroups.set(hash, { layoutId, buffers: buffers.map(({ pooled }) => pooled), resource });
    this.statistics.bindGroups++;
    return resource;
  }
}

const noError: Promise<undefined> = Promise.resolve(undefined);

function sameBuffers(pooled: readonly PooledBuffer[], buffers: readonly WebGpuBuffer[]): boolean {
  if (pooled.length !== buffers.length) return false;
  for (let i = 0; i < buffers.length; i++) if (pooled[i] !== buffers[i]!.pooled) return false;
  return true;
}
