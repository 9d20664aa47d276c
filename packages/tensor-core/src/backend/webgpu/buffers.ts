import type { DeviceBuffer, MemoryUsage } from "../backend.ts";
import { OutOfMemoryError } from "../../errors.ts";
import { bufferUsage } from "./gpu-constants.ts";

/** A `GPUBuffer` with an identity, for the keys of bind groups. */
export interface PooledBuffer {
  readonly resource: GPUBuffer;
  readonly id: number;
  readonly capacity: number;
  /** Number of the last batch with a recorded command on it. */
  lastUse: number;
}

/** One allocation. Handles are never reused, buffers are: an error marks the handle. */
export class WebGpuBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly pooled: PooledBuffer;
  /** Number of the last batch that reads it, and that writes it. */
  lastRead = -1;
  lastWrite = -1;
  /** Why the contents do not exist, once that is known. */
  failure: Error | undefined;

  constructor(byteLength: number, pooled: PooledBuffer) {
    this.byteLength = byteLength;
    this.pooled = pooled;
  }
}

const smallestCapacity = 256;

/** Four classes a doubling (at most 25 % wasted), eight from 1 MiB. */
export function capacityFor(byteLength: number): number {
  if (byteLength <= smallestCapacity) return smallestCapacity;
  const steps = byteLength >= 2 ** 20 ? 8 : 4;
  const step = 2 ** (31 - Math.clz32((byteLength - 1) >>> 8) + 8) / steps;
  const rounded = Math.ceil(byteLength / step) * step;
  return Math.ceil(rounded / 16) * 16;
}

/** What the pool needs to know of the device. */
export interface BufferSource {
  createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer;
  readonly limits: { readonly maxBufferSize: number; readonly maxStorageBufferBindingSize: number };
}

/**
 * Device memory by size class. Commands of one queue run in order, so a freed buffer may be handed out again at once; only memory given
 * back to the driver has to wait until the commands that use it are submitted.
 */
export class BufferPool {
  readonly #source: BufferSource;
  readonly #maximumIdleBytes: number;
  readonly #idle = new Map<number, PooledBuffer[]>();
  readonly #surplus: GPUBuffer[] = [];
  #nextId = 0;
  #idleBytes = 0;
  #allocatedBytes = 0;
  #allocations = 0;
  #reservedBytes = 0;
  #peakBytes = 0;

  constructor(source: BufferSource, maximumIdleBytes: number) {
    this.#source = source;
    this.#maximumIdleBytes = maximumIdleBytes;
  }

  /** Whether an allocation of this size would ask the driver for a buffer. */
  needsNew(byteLength: number): boolean {
    return (this.#idle.get(capacityFor(byteLength))?.length ?? 0) === 0;
  }

  /** @throws OutOfMemoryError for more than the adapter binds at once */
  allocate(byteLength: number): WebGpuBuffer {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#source.limits;
    const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (byteLength > limit) {
      throw new OutOfMemoryError(
        `${byteLength} bytes are more than one buffer of this WebGPU adapter holds (${limit}); split the tensor, or use another adapter or device "cpu"`,
      );
    }
    const capacity = Math.min(capacityFor(byteLength), Math.floor(limit / 16) * 16 || limit);
    const pooled = this.#idle.get(capacity)?.pop();
    if (pooled !== undefined) this.#idleBytes -= capacity;
    const buffer = new WebGpuBuffer(byteLength, pooled ?? this.#create(capacity));
    this.#allocatedBytes += byteLength;
    this.#allocations++;
    this.#peakBytes = Math.max(this.#peakBytes, this.#allocatedBytes);
    return buffer;
  }

  free(buffer: WebGpuBuffer): void {
    this.retire(buffer);
    this.recycle(buffer);
  }

  /** The first half of `free`: the allocation no longer counts, but commands not yet recorded use its memory. */
  retire(buffer: WebGpuBuffer): void {
    this.#allocatedBytes -= buffer.byteLength;
    this.#allocations--;
  }

  /** The second half of `free`: the memory may be handed out again. */
  recycle(buffer: WebGpuBuffer): void {
    const { pooled } = buffer;
    // A failed buffer may be one that the driver never gave.
    if (buffer.failure !== undefined || this.#idleBytes + pooled.capacity > this.#maximumIdleBytes) {
      this.#reservedBytes -= pooled.capacity;
      this.#surplus.push(pooled.resource);
      return;
    }
    this.#idleBytes += pooled.capacity;
    const list = this.#idle.get(pooled.capacity);
    if (list === undefined) this.#idle.set(pooled.capacity, [pooled]);
    else list.push(pooled);
  }

  /** Gives back to the driver what is over the limit; call it when no unsubmitted command uses a freed buffer. */
  releaseSurplus(): void {
    for (const resource of this.#surplus) resource.destroy();
    this.#surplus.length = 0;
  }

  /** Gives all idle memory back to the driver; the same condition. */
  trim(): void {
    for (const list of this.#idle.values()) for (const { resource } of list) this.#surplus.push(resource);
    this.#idle.clear();
    this.#reservedBytes -= this.#idleBytes;
    this.#idleBytes = 0;
    this.releaseSurplus();
  }

  usage(): MemoryUsage {
    return {
      allocatedBytes: this.#allocatedBytes,
      allocations: this.#allocations,
      reservedBytes: this.#reservedBytes,
      peakBytes: this.#peakBytes,
    };
  }

  #create(capacity: number): PooledBuffer {
    const usage = bufferUsage.storage | bufferUsage.copySource | bufferUsage.copyDestination;
    const resource = this.#source.createBuffer({ size: capacity, usage });
    this.#reservedBytes += capacity;
    return { resource, id: this.#nextId++, capacity, lastUse: -1 };
  }
}
