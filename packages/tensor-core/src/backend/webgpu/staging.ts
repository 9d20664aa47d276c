import { capacityFor } from "./buffers.ts";
import { bufferUsage, mapModeRead } from "./gpu-constants.ts";

/** Staging buffers kept for the next reads. */
const maximumIdleBytes = 2 ** 26;
const maximumIdleBuffers = 256;

/** Buffers that the host can map, through which everything read passes. */
export class StagingPool {
  readonly #device: GPUDevice;
  readonly #limit: number;
  readonly #idle: GPUBuffer[] = [];
  #idleBytes = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#limit = Math.floor(device.limits.maxBufferSize / 4) * 4;
  }

  /** What is kept for the next reads. */
  get idle(): { readonly bytes: number; readonly buffers: number } {
    return { bytes: this.#idleBytes, buffers: this.#idle.length };
  }

  /** Whether a read of this size would ask the driver for a buffer. */
  needsNew(byteLength: number): boolean {
    const capacity = this.#capacityOf(byteLength);
    return !this.#idle.some(({ size }) => size === capacity);
  }

  /** A buffer of at least `byteLength` bytes. */
  take(byteLength: number): GPUBuffer {
    const capacity = this.#capacityOf(byteLength);
    const at = this.#idle.findLastIndex(({ size }) => size === capacity);
    if (at < 0) return this.#device.createBuffer({ size: capacity, usage: bufferUsage.mapRead | bufferUsage.copyDestination });
    const [buffer] = this.#idle.splice(at, 1);
    this.#idleBytes -= capacity;
    return buffer!;
  }

  async map(buffer: GPUBuffer, byteLength: number): Promise<void> {
    // That a refused buffer cannot be mapped is an error of the device besides; the rejection is enough.
    this.#device.pushErrorScope("validation");
    const mapped = buffer.mapAsync(mapModeRead, 0, byteLength);
    this.#device.popErrorScope().catch(() => undefined);
    await mapped;
  }

  /** The bytes of a mapped buffer, which goes back to the pool. */
  copyAndReturn(buffer: GPUBuffer, mappedLength: number, byteOffset: number, byteLength: number): Uint8Array {
    const bytes = new Uint8Array(buffer.getMappedRange(0, mappedLength), byteOffset, byteLength).slice();
    buffer.unmap();
    if (this.#idleBytes + buffer.size > maximumIdleBytes || this.#idle.length >= maximumIdleBuffers) buffer.destroy();
    else {
      this.#idle.push(buffer);
      this.#idleBytes += buffer.size;
    }
    return bytes;
  }

  /** Gives up a buffer whose reading failed. */
  discard(buffer: GPUBuffer): void {
    buffer.destroy();
  }

  destroy(): void {
    for (const buffer of this.#idle) buffer.destroy();
    this.#idle.length = 0;
    this.#idleBytes = 0;
  }

  #capacityOf(byteLength: number): number {
    return Math.min(capacityFor(byteLength), this.#limit);
  }
}
