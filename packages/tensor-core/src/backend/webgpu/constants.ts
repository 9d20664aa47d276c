import { WebGpuBuffer } from "./buffers.ts";
import type { CommandQueue } from "./command-queue.ts";
import { bufferUsage } from "./gpu-constants.ts";

/** Bytes and number of tables kept; the least recently used go first. One table larger than the limit stays alone until the next comes. */
const maximumBytes = 64 * 2 ** 20;
const maximumTables = 256;

/**
 * Read-only tables that kernels compute on the host once and use again (twiddles of Fourier transforms): outside the pool, so that they are
 * no tensors to `memory()`. They end with the device.
 */
export class ConstantTables {
  readonly #device: GPUDevice;
  readonly #queue: CommandQueue;
  readonly #tables = new Map<string, WebGpuBuffer>();
  #retired: { readonly buffer: WebGpuBuffer; readonly batch: number }[] = [];
  #bytes = 0;
  #nextId = -1;

  constructor(device: GPUDevice, queue: CommandQueue) {
    this.#device = device;
    this.#queue = queue;
  }

  /** Bytes and number of the tables kept now. */
  get usage(): { readonly bytes: number; readonly tables: number } {
    return { bytes: this.#bytes, tables: this.#tables.size };
  }

  /** The table of this key; `make` computes it when it is not there. Get it right before the launch that binds it. */
  get(key: string, make: () => Float32Array): WebGpuBuffer {
    let buffer = this.#tables.get(key);
    if (buffer !== undefined) {
      this.#tables.delete(key);
      if (buffer.failure !== undefined) {
        this.#retire(buffer);
        buffer = undefined;
      }
    }
    buffer ??= this.#create(make());
    // Last in the map = most recently used.
    this.#tables.set(key, buffer);
    return buffer;
  }

  #create(values: Float32Array): WebGpuBuffer {
    this.#destroyRetired();
    for (const [key, old] of this.#tables) {
      if (this.#tables.size < maximumTables && this.#bytes + values.byteLength <= maximumBytes) break;
      this.#tables.delete(key);
      this.#retire(old);
    }
    const capacity = Math.max(16, values.byteLength);
    this.#queue.begin();
    const resource = this.#device.createBuffer({ size: capacity, usage: bufferUsage.storage | bufferUsage.copyDestination });
    // The pool counts its buffers from 0 up: negative numbers are free.
    const buffer = new WebGpuBuffer(values.byteLength, { resource, id: this.#nextId--, capacity, lastUse: -1 });
    this.#queue.write(buffer, 0, new Uint8Array(values.slice().buffer));
    this.#bytes += values.byteLength;
    return buffer;
  }

  #retire(buffer: WebGpuBuffer): void {
    this.#bytes -= buffer.byteLength;
    this.#retired.push({ buffer, batch: this.#queue.batch });
  }

  /** Commands that use a retired table may be recorded and not submitted yet, or be about to be recorded. */
  #destroyRetired(): void {
    this.#retired = this.#retired.filter(({ buffer, batch }) => {
      if (this.#queue.batch <= Math.max(batch, buffer.pooled.lastUse) + 1) return true;
      buffer.pooled.resource.destroy();
      return false;
    });
  }
}
