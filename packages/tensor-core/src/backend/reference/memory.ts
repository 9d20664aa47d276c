import { DeviceError, DisposedError, OutOfMemoryError } from "../../errors.ts";
import type { DeviceBuffer, MemoryUsage } from "../backend.ts";

/** Reference memory: every buffer is an ArrayBuffer of its own, so an overrun of one tensor cannot reach another. */
export class ReferenceBuffer implements DeviceBuffer {
  readonly byteLength: number;
  #bytes: ArrayBuffer | undefined;

  /** @throws OutOfMemoryError when the engine cannot give that much. */
  constructor(byteLength: number) {
    if (!Number.isInteger(byteLength) || byteLength < 0) {
      throw new OutOfMemoryError(`cannot allocate ${byteLength} bytes; ask for a non-negative whole number`);
    }
    this.byteLength = byteLength;
    try {
      this.#bytes = new ArrayBuffer(byteLength);
    } catch (cause) {
      throw new OutOfMemoryError(`reference: cannot allocate ${byteLength} bytes`, { cause });
    }
  }

  /** The live memory. @throws DisposedError after `release`. */
  get bytes(): ArrayBuffer {
    if (this.#bytes === undefined) throw new DisposedError(`reference: a buffer of ${this.byteLength} bytes is used after it was freed`);
    return this.#bytes;
  }

  /** Drops the memory. @throws DisposedError the second time. */
  release(): void {
    if (this.#bytes === undefined) throw new DisposedError(`reference: a buffer of ${this.byteLength} bytes is freed twice`);
    this.#bytes = undefined;
  }

  /** A window on the live memory. @throws RangeError when it reaches past the end. */
  window(byteOffset: number, byteLength: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.bytes, byteOffset, byteLength);
  }
}

/**
 * float64 storage behind views that say float32. Tests differentiate kernels numerically through it, where float32 rounding would hide
 * errors; nothing else makes one.
 */
export class ExactBuffer implements DeviceBuffer {
  readonly values: Float64Array;
  /** The size that the float32 view believes in. */
  readonly byteLength: number;

  constructor(values: Float64Array) {
    this.values = values;
    this.byteLength = values.length * 4;
  }
}

/** Allocation and host access of the reference device, with its accounts. */
export class ReferenceMemory {
  #allocatedBytes = 0;
  #allocations = 0;
  #peakBytes = 0;

  allocate(byteLength: number): ReferenceBuffer {
    const buffer = new ReferenceBuffer(byteLength);
    this.#allocations += 1;
    this.#allocatedBytes += byteLength;
    this.#peakBytes = Math.max(this.#peakBytes, this.#allocatedBytes);
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    referenceBuffer(buffer).release();
    this.#allocations -= 1;
    this.#allocatedBytes -= buffer.byteLength;
  }

  write(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    referenceBuffer(buffer).window(byteOffset, bytes.byteLength).set(bytes);
  }

  readSync(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array {
    return referenceBuffer(buffer).window(byteOffset, byteLength).slice();
  }

  hostView(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array {
    return referenceBuffer(buffer).window(byteOffset, byteLength);
  }

  /** `reservedBytes` equals `allocatedBytes`: nothing is pooled here. */
  usage(): MemoryUsage {
    return {
      allocatedBytes: this.#allocatedBytes,
      allocations: this.#allocations,
      reservedBytes: this.#allocatedBytes,
      peakBytes: this.#peakBytes,
    };
  }
}

function referenceBuffer(buffer: DeviceBuffer): ReferenceBuffer {
  if (buffer instanceof ReferenceBuffer) return buffer;
  throw new DeviceError("reference: the buffer belongs to another device; move the tensor first");
}
