import { OutOfMemoryError } from "../../errors.ts";
import type { BufferPool, WebGpuBuffer } from "./buffers.ts";
import { GpuCommandError } from "./errors.ts";
import { FailureTracker, type BatchOutput } from "./failures.ts";
import type { Pipeline } from "./pipelines.ts";
import type { KernelLaunch } from "./program.ts";
import { UniformArena, uniformBlockSize } from "./uniforms.ts";

/** Gives each launch a compute pass with timestamps of its own. */
export interface LaunchTimer {
  /** Timestamps of the next launch; undefined to leave it untimed. */
  next(label: string, workgroups: readonly [number, number, number]): GPUComputePassTimestampWrites | undefined;
  /** Records the copy of the batch's timestamps into the encoder. */
  resolve(encoder: GPUCommandEncoder): void;
  /** The batch was submitted. */
  submitted(): void;
}

/** Launches recorded before a batch is submitted unasked, so that the GPU starts while the CPU goes on recording. */
export const launchesPerBatch = 64;

/** Bind groups kept for launches with the same pipeline layout and buffers. */
const bindGroupCacheSize = 4096;

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
  readonly #failures = new FailureTracker();
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  #batch = 0;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #launches = 0;
  #scopesOpen = false;
  #reads: WebGpuBuffer[] = [];
  #writes: BatchOutput[] = [];

  constructor(device: GPUDevice, pool: BufferPool) {
    this.#device = device;
    this.#pool = pool;
    this.#uniforms = new UniformArena(device, launchesPerBatch);
  }

  /** Opens the error scopes of the batch; whatever creates resources or commands calls it first. */
  begin(): void {
    if (this.#scopesOpen) return;
    this.#scopesOpen = true;
    this.#device.pushErrorScope("internal");
    this.#device.pushErrorScope("out-of-memory");
    this.#device.pushErrorScope("validation");
  }

  /** The batch depends on what is in the buffer. */
  noteRead(buffer: WebGpuBuffer): void {
    if (buffer.lastRead === this.#batch) return;
    buffer.lastRead = this.#batch;
    this.#reads.push(buffer);
  }

  /** The buffer's contents depend on the batch. */
  noteWrite(buffer: WebGpuBuffer): void {
    if (buffer.lastWrite === this.#batch) return;
    buffer.lastWrite = this.#batch;
    this.#writes.push(buffer);
  }

  /** Records one launch. `buffers` are those of the bind group, in order. */
  launch(pipeline: Pipeline, launch: KernelLaunch, buffers: readonly WebGpuBuffer[]): void {
    this.begin();
    const [x, y = 1, z = 1] = launch.workgroups;
    const offset = this.#uniforms.add(launch);
    const timestamps = this.timer?.next(pipeline.label, [x, y, z]);
    if (timestamps !== undefined) this.#endPass();
    for (const { pooled } of buffers) pooled.lastUse = this.#batch;
    const pass = this.#openPass(timestamps);
    pass.setPipeline(pipeline.resource);
    pass.setBindGroup(0, this.#bindGroup(pipeline, buffers), [offset]);
    pass.dispatchWorkgroups(x, y, z);
    if (timestamps !== undefined) this.#endPass();
    this.statistics.launches++;
    if (++this.#launches >= launchesPerBatch) void this.submit();
  }

  /** Copies bytes within the device, in order with the launches; multiples of 4. */
  copy(source: WebGpuBuffer, sourceOffset: number, target: WebGpuBuffer, targetOffset: number, byteLength: number): void {
    this.begin();
    this.noteRead(source);
    this.noteWrite(target);
    source.pooled.lastUse = this.#batch;
    target.pooled.lastUse = this.#batch;
    this.#openEncoder().copyBufferToBuffer(source.pooled.resource, sourceOffset, target.pooled.resource, targetOffset, byteLength);
  }

  /** Copies bytes (multiples of 4) out to a staging buffer; `output` is marked when they do not exist. */
  copyOut(source: WebGpuBuffer, sourceOffset: number, staging: GPUBuffer, byteLength: number, output: BatchOutput): void {
    this.begin();
    this.noteRead(source);
    this.#writes.push(output);
    source.pooled.lastUse = this.#batch;
    this.#openEncoder().copyBufferToBuffer(source.pooled.resource, sourceOffset, staging, 0, byteLength);
  }

  /** Sends bytes (multiples of 4) from the host. */
  write(buffer: WebGpuBuffer, byteOffset: number, bytes: Uint8Array<ArrayBuffer>): void {
    // A queue write runs before commands that are recorded but not submitted.
    if (buffer.pooled.lastUse === this.#batch) void this.submit();
    this.begin();
    this.noteWrite(buffer);
    this.#device.queue.writeBuffer(buffer.pooled.resource, byteOffset, bytes);
  }

  /** Number of the batch being recorded, to tell later whether it was submitted. */
  get batch(): number {
    return this.#batch;
  }

  /** Submits what is recorded. Resolves when the GPU's verdict on it, and on all before, is known. */
  submit(): Promise<void> {
    if (!this.#scopesOpen) return this.#failures.settled();
    this.#endPass();
    if (this.#encoder !== undefined) {
      this.timer?.resolve(this.#encoder);
      this.#uniforms.send(this.#device.queue);
      this.#device.queue.submit([this.#encoder.finish()]);
      this.statistics.submissions++;
      this.#encoder = undefined;
      this.timer?.submitted();
    }
    this.#scopesOpen = false;
    const scopes = [this.#device.popErrorScope(), this.#device.popErrorScope(), this.#device.popErrorScope()];
    const settled = this.#failures.track({ reads: this.#reads, writes: this.#writes, error: firstError(scopes) });
    this.#reads = [];
    this.#writes = [];
    this.#launches = 0;
    this.#batch++;
    this.#pool.releaseSurplus();
    return settled;
  }

  /** Resolves when the GPU's verdict on everything submitted is known. */
  settled(): Promise<void> {
    return this.#failures.settled();
  }

  /** Submits, and resolves when the GPU has done everything. */
  async drain(): Promise<void> {
    const settled = this.submit();
    await this.#device.queue.onSubmittedWorkDone();
    await settled;
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
  }

  #bindGroup(pipeline: Pipeline, buffers: readonly WebGpuBuffer[]): GPUBindGroup {
    let key = `${pipeline.layoutId}`;
    for (const buffer of buffers) key += `,${buffer.pooled.id}`;
    let group = this.#bindGroups.get(key);
    if (group !== undefined) return group;
    const entries: GPUBindGroupEntry[] = [{ binding: 0, resource: { buffer: this.#uniforms.buffer, size: uniformBlockSize } }];
    for (const [i, { pooled }] of buffers.entries()) entries.push({ binding: i + 1, resource: { buffer: pooled.resource } });
    group = this.#device.createBindGroup({ layout: pipeline.bindGroupLayout, entries });
    // The oldest goes: buffers given back to the driver would stay reachable otherwise.
    if (this.#bindGroups.size >= bindGroupCacheSize) this.#bindGroups.delete(this.#bindGroups.keys().next().value!);
    this.#bindGroups.set(key, group);
    this.statistics.bindGroups++;
    return group;
  }
}

async function firstError(scopes: readonly Promise<GPUError | null>[]): Promise<Error | undefined> {
  // The scopes are popped in reverse order of opening. After the loss of the device they reject; the loss itself is reported elsewhere.
  const [validation, memory, internal] = await Promise.all(scopes.map((scope) => scope.catch(() => null)));
  if (memory) return new OutOfMemoryError(`the GPU has no memory left: ${memory.message}; free tensors, or use smaller batches`);
  if (validation) return new GpuCommandError(`the GPU refused a command: ${validation.message}`);
  if (internal) return new GpuCommandError(`the GPU failed in a command: ${internal.message}`);
  return undefined;
}
