import type { DeviceBuffer, MemoryUsage } from "../backend.ts";
import { OutOfMemoryError } from "../../errors.ts";
import type { ErrorScopes } from "./error-scopes.ts";
import { bufferUsage } from "./gpu-constants.ts";

/** A `GPUBuffer` with an identity, for the keys of bind groups. */
export interface PooledBuffer {
  readonly resource: GPUBuffer;
  readonly id: number;
  readonly capacity: number;
  /** Number of the last batch with a recorded command on it. */
  lastUse: number;
  /** Set when the driver turns out not to have given it. */
  failure?: Error | undefined;
}

/** One allocation. Handles are never reused, buffers are: an error marks the handle. */
export class WebGpuBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly pooled: PooledBuffer;
  #failure: Error | undefined;

  constructor(byteLength: number, pooled: PooledBuffer) {
    this.byteLength = byteLength;
    this.pooled = pooled;
  }

  /** Why the contents do not exist, once that is known. */
  get failure(): Error | undefined {
    return this.pooled.failure ?? this.#failure;
  }

  set failure(failure: Error | undefined) {
    this.#failure = failure;
  }
}

const smallestCapacity = 256;

/** Four classes a doubling (at most 25 % wasted), eight from 1 MiB. */
export function capacityFor(byteLength: number): number {
  if (byteLength <= smallestCapacity) return smallestCapacity;
  const steps = byteLength >= 2 ** 20 ? 8 : 4;
  const step = 2 ** (31 - Math.clz32(Math.floor((byteLength - 1) / 256)) + 8) / steps;
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
  readonly #scopes: ErrorScopes;
  readonly #limit: number;
  readonly #leastIdleBytes: number;
  readonly #refused: (error: Error) => void;
  readonly #idle = new Map<number, PooledBuffer[]>();
  readonly #surplus: GPUBuffer[] = [];
  #nextId = 0;
  #idleBytes = 0;
  #allocatedBytes = 0;
  #allocations = 0;
  #reservedBytes = 0;
  #peakBytes = 0;

  /** `refused` is told, later, of each buffer that the driver did not give. */
  constructor(source: BufferSource, scopes: ErrorScopes, leastIdleBytes: number, refused: (error: Error) => void) {
    this.#source = source;
    this.#limit = Math.floor(Math.min(source.limits.maxBufferSize, source.limits.maxStorageBufferBindingSize) / 4) * 4;
    this.#scopes = scopes;
    this.#leastIdleBytes = leastIdleBytes;
    this.#refused = refused;
  }

  /** Whether an allocation of this size would ask the driver for a buffer. */
  needsNew(byteLength: number): boolean {
    return (this.#idle.get(this.#capacityOf(byteLength))?.length ?? 0) === 0;
  }

  /** @throws OutOfMemoryError for more than the adapter binds at once */
  allocate(byteLength: number): WebGpuBuffer {
    if (byteLength > this.#limit) {
      throw new OutOfMemoryError(
        `${byteLength} bytes are more than one buffer of this WebGPU adapter holds (${this.#limit}); ` +
          'split the tensor, or use another adapter or device "cpu"',
      );
    }
    const capacity = this.#capacityOf(byteLength);
    const buffer = new WebGpuBuffer(byteLength, this.#takeIdle(capacity) ?? this.#create(capacity));
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
    if (pooled.failure !== undefined || this.#idleBytes + pooled.capacity > Math.max(this.#leastIdleBytes, this.#peakBytes)) {
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

  #capacityOf(byteLength: number): number {
    return Math.min(capacityFor(byteLength), this.#limit);
  }

  #takeIdle(capacity: number): PooledBuffer | undefined {
    const list = this.#idle.get(capacity);
    while (list !== undefined) {
      const pooled = list.pop();
      if (pooled === undefined) break;
      this.#idleBytes -= capacity;
      if (pooled.failure === undefined) return pooled;
      // Freed before the driver's refusal was known.
      this.#reservedBytes -= capacity;
      this.#surplus.push(pooled.resource);
    }
    return undefined;
  }

  #create(capacity: number): PooledBuffer {
    const usage = bufferUsage.storage | bufferUsage.copySource | bufferUsage.copyDestination;
    const resource = this.#scopes.watch(
      () => this.#source.createBuffer({ size: capacity, usage }),
      (error) => {
        pooled.failure = error;
        this.#refused(error);
      },
    );
    const pooled: PooledBuffer = { resource, id: this.#nextId++, capacity, lastUse: -1, failure: undefined };
    this.#reservedBytes += capacity;
    return pooled;
  }
}
