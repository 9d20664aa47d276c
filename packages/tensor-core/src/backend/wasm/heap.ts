import { OutOfMemoryError } from "../../errors.ts";
import type { DeviceBuffer, MemoryUsage } from "../backend.ts";

const pageSize = 65536;
const initialPages = 256;
const alignment = 64;
/** Blocks up to this size come from size classes; larger ones from a best-fit list that merges neighbours. */
const smallLimit = 1 << 20;
/** Size classes are carved from slabs of this size. */
const slabSize = 1 << 20;
/** The first page is left to the thread pool's control block (and to null pointers). */
export const reservedBytes: number = pageSize;

/** A block of the heap. */
export interface HeapBuffer extends DeviceBuffer {
  /** Byte address. */
  readonly pointer: number;
  /** Bytes actually set aside. */
  readonly capacity: number;
  /** Made by `allocateInternal`: not in `usage()`. */
  readonly uncounted: boolean;
}

/** Index of the smallest class that holds `byteLength`: multiples of 64 up to 1 KiB, then four classes an octave. */
function sizeClass(byteLength: number): number {
  // Nothing takes a block too: it has to come back to the class that it was taken from.
  if (byteLength <= 1024) return Math.max(1, (byteLength + 63) >> 6);
  const octave = 31 - Math.clz32(byteLength - 1);
  const quarter = (byteLength - 1) >> (octave - 2);
  return 16 + (octave - 10) * 4 + (quarter - 3);
}

function classCapacity(index: number): number {
  if (index <= 16) return index << 6;
  const step = index - 17;
  return (5 + (step & 3)) << (8 + (step >> 2));
}

function createMemory(maximumPages: number): WebAssembly.Memory {
  let failure: unknown;
  // Browsers may keep shared memory to pages that are cross-origin isolated; others get along with one thread.
  for (const shared of [true, false]) {
    // Only address space is reserved up to the maximum, but some runtimes refuse a large reservation: ask for less then.
    for (let maximum = maximumPages; maximum >= Math.min(maximumPages, 4096); maximum /= 2) {
      try {
        return new WebAssembly.Memory({ initial: initialPages, maximum, shared });
      } catch (error) {
        failure = error;
      }
    }
  }
  throw new OutOfMemoryError(`cannot reserve WebAssembly memory: ${String(failure)}`);
}

/**
 * One shared WebAssembly memory with a pooling allocator. Fresh typed arrays cost page faults (a fresh 4 MB array makes an add eight times
 * slower), so
 * freed blocks are kept and reused.
 */
export class Heap {
  readonly memory: WebAssembly.Memory;
  /** Whether threads can work on it. */
  readonly shared: boolean;
  /** Typed windows on the whole memory; replaced when it grows, so never keep them across an allocation. */
  float32!: Float32Array;
  int32!: Int32Array;
  uint8!: Uint8Array;

  readonly #freeSmall: number[][] = Array.from({ length: sizeClass(smallLimit) + 1 }, () => []);
  /** Free large blocks by address; neighbours are always merged. */
  readonly #freeLarge: { pointer: number; size: number }[] = [];
  #top = reservedBytes;
  #slab = 0;
  #slabEnd = 0;
  #allocatedBytes = 0;
  #allocations = 0;
  #peakBytes = 0;

  /** `maximumPages` of 64 KiB, a power of two from 256: 4 GiB unless told. */
  constructor(maximumPages: number = 65536) {
    this.memory = createMemory(maximumPages);
    this.shared = Object.prototype.toString.call(this.memory.buffer) === "[object SharedArrayBuffer]";
    this.#refreshViews();
  }

  /** @throws OutOfMemoryError when the memory cannot grow. */
  allocate(byteLength: number): HeapBuffer {
    const buffer = this.#take(byteLength, false);
    this.#allocations++;
    this.#allocatedBytes += byteLength;
    if (this.#allocatedBytes > this.#peakBytes) this.#peakBytes = this.#allocatedBytes;
    return buffer;
  }

  /**
   * As `allocate`, for the backend's own tables and scratch: `usage()` leaves them out, so that it speaks of tensors alone. @throws
   * OutOfMemoryError
   */
  allocateInternal(byteLength: number): HeapBuffer {
    return this.#take(byteLength, true);
  }

  #take(byteLength: number, uncounted: boolean): HeapBuffer {
    let pointer: number;
    let capacity: number;
    if (byteLength <= smallLimit) {
      const index = sizeClass(byteLength);
      capacity = classCapacity(index);
      pointer = this.#freeSmall[index]!.pop() ?? this.#carve(capacity);
    } else {
      capacity = Math.ceil(byteLength / pageSize) * pageSize;
      pointer = this.#allocateLarge(capacity);
    }
    return { pointer, byteLength, capacity, uncounted };
  }

  free(buffer: HeapBuffer): void {
    if (!buffer.uncounted) {
      this.#allocations--;
      this.#allocatedBytes -= buffer.byteLength;
    }
    if (buffer.capacity <= smallLimit) this.#freeSmall[sizeClass(buffer.capacity)]!.push(buffer.pointer);
    else this.#freeLargeBlock(buffer.pointer, buffer.capacity);
  }

  usage(): MemoryUsage {
    return {
      allocatedBytes: this.#allocatedBytes,
      allocations: this.#allocations,
      reservedBytes: this.memory.buffer.byteLength,
      peakBytes: this.#peakBytes,
    };
  }

  #carve(capacity: number): number {
    if (capacity > slabSize / 8) return this.#allocateLarge(Math.ceil(capacity / alignment) * alignment);
    if (this.#slab + capacity > this.#slabEnd) {
      this.#slab = this.#allocateLarge(slabSize);
      this.#slabEnd = this.#slab + slabSize;
    }
    const pointer = this.#slab;
    this.#slab += capacity;
    return pointer;
  }

  #allocateLarge(size: number): number {
    const free = this.#freeLarge;
    let best = -1;
    for (let i = 0; i < free.length; i++) {
      const candidate = free[i]!.size;
      if (candidate >= size && (best < 0 || candidate < free[best]!.size)) {
        best = i;
        if (candidate === size) break;
      }
    }
    if (best >= 0) {
      const block = free[best]!;
      const pointer = block.pointer;
      if (block.size === size) free.splice(best, 1);
      else {
        block.pointer += size;
        block.size -= size;
      }
      return pointer;
    }
    // A free block at the very end shortens what the memory has to grow by.
    const last = free.at(-1);
    let pointer = this.#top;
    if (last && last.pointer + last.size === this.#top) {
      pointer = last.pointer;
      this.#growTo(pointer + size);
      free.pop();
    } else {
      this.#growTo(pointer + size);
    }
    this.#top = pointer + size;
    return pointer;
  }

  #freeLargeBlock(pointer: number, size: number): void {
    const free = this.#freeLarge;
    let low = 0;
    let high = free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (free[middle]!.pointer < pointer) low = middle + 1;
      else high = middle;
    }
    const before = free[low - 1];
    const after = free[low];
    const joinsBefore = before !== undefined && before.pointer + before.size === pointer;
    const joinsAfter = after !== undefined && pointer + size === after.pointer;
    if (joinsBefore && joinsAfter) {
      before.size += size + after.size;
      free.splice(low, 1);
    } else if (joinsBefore) {
      before.size += size;
    } else if (joinsAfter) {
      after.pointer = pointer;
      after.size += size;
    } else {
      free.splice(low, 0, { pointer, size });
    }
  }

  #growTo(byteLength: number): void {
    const current = this.memory.buffer.byteLength;
    if (byteLength <= current) return;
    const needed = Math.ceil((byteLength - current) / pageSize);
    const generous = Math.max(needed, Math.ceil(current / pageSize / 4));
    for (const pages of generous > needed ? [generous, needed] : [needed]) {
      try {
        this.memory.grow(pages);
        this.#refreshViews();
        return;
      } catch {
        // Try the exact amount, then give up below.
      }
    }
    throw new OutOfMemoryError(
      `the CPU heap cannot grow from ${(current / 2 ** 20).toFixed(0)} MiB by ${((needed * pageSize) / 2 ** 20).toFixed(0)} MiB ` +
        `(${(this.#allocatedBytes / 2 ** 20).toFixed(0)} MiB in ${this.#allocations} tensors are in use); free tensors with tidy() or scope(), or use smaller weights`,
    );
  }

  #refreshViews(): void {
    this.float32 = new Float32Array(this.memory.buffer);
    this.int32 = new Int32Array(this.memory.buffer);
    this.uint8 = new Uint8Array(this.memory.buffer);
  }
}
