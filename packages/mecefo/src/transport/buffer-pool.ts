const SMALLEST_CLASS = 4096;

/**
 * Bytes that a buffer for `bytes` is allocated with: four size classes an octave, from 4 KiB, so that no more than a fifth is wasted and a
 * buffer fits the next message of about the same length.
 */
export function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST_CLASS) return SMALLEST_CLASS;
  const quarter = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / quarter) * quarter;
}

/**
 * Buffers for payloads, used again: a fresh one is zeroed by the engine page by page, which costs about as much as receiving into it. Every
 * buffer is an ArrayBuffer of its own, so that it can be transferred to another thread (then it is gone here, until it is given back).
 */
export class BufferPool {
  readonly #free = new Map<number, ArrayBuffer[]>();
  readonly #maximumFreeBytes: number;
  #freeBytes = 0;

  /** @param maximumFreeBytes kept at most for reuse; what is given back beyond that is left to the garbage collector */
  constructor(maximumFreeBytes: number = 256 * 1024 * 1024) {
    this.#maximumFreeBytes = maximumFreeBytes;
  }

  /** Bytes that wait for reuse. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A buffer of this many bytes, at the beginning of an ArrayBuffer that may be longer. Its content is arbitrary. */
  take(bytes: number): Uint8Array<ArrayBuffer> {
    const size = sizeClass(bytes);
    const buffer = this.#free.get(size)?.pop();
    if (buffer === undefined) return new Uint8Array(new ArrayBuffer(size), 0, bytes);
    this.#freeBytes -= size;
    return new Uint8Array(buffer, 0, bytes);
  }

  /** Gives memory back that came from this pool, or from one in another thread. Nobody else may use it any more. */
  give(buffer: ArrayBuffer): void {
    const size = buffer.byteLength;
    if (size === 0 || size !== sizeClass(size) || this.#freeBytes + size > this.#maximumFreeBytes) return;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
    this.#freeBytes += size;
  }
}
