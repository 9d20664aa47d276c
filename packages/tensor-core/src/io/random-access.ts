/**
 * Range reads over a file, a Blob or bytes in memory, behind one small interface, so that readers of weight files never hold a
 * whole file and run unchanged in browsers.
 */

import { nodeModule } from "./node-module.ts";
import { TensorError } from "../errors.ts";

/** A read-only byte source of known length with range reads. */
export interface RandomAccessReader {
  /** Total number of bytes. */
  readonly byteLength: number;
  /** What is being read (a path, a package, "memory"), for error messages. */
  readonly description: string;
  /**
   * Reads exactly `length` bytes from `offset`. The result must not be written to: a reader of memory returns a view.
   * @throws RandomAccessError if the range is not inside the source, or the source got shorter while open.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Releases the file handle, if any. Reading afterwards throws. */
  close(): Promise<void>;
}

/** A range outside the source, a source that changed while open, or a file that cannot be opened. */
export class RandomAccessError extends TensorError {
  override name = "RandomAccessError";
  /** What was being read. */
  readonly source: string;

  constructor(source: string, detail: string, options?: ErrorOptions) {
    super(`${source}: ${detail}`, options);
    this.source = source;
  }
}

function checkRange(source: string, byteLength: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0 || offset + length > byteLength) {
    throw new RandomAccessError(source, `cannot read ${length} bytes at offset ${offset}: the source has ${byteLength} bytes`);
  }
}

/** Reads bytes in memory without copying them: each result is a view of `bytes`. */
export function readerFromBytes(bytes: Uint8Array, description = "memory"): RandomAccessReader {
  return {
    byteLength: bytes.byteLength,
    description,
    async read(offset, length) {
      checkRange(description, bytes.byteLength, offset, length);
      return bytes.subarray(offset, offset + length);
    },
    async close() {},
  };
}

/** Reads a Blob or a File chosen in a browser, one slice per read. */
export function readerFromBlob(blob: Blob, description = "blob"): RandomAccessReader {
  return {
    byteLength: blob.size,
    description,
    async read(offset, length) {
      checkRange(description, blob.size, offset, length);
      return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
    },
    async close() {},
  };
}

/** A window `[offset, offset + byteLength)` of another reader, as a reader. Closing it closes the other one. */
export function readerFromRange(
  reader: RandomAccessReader,
  offset: number,
  byteLength: number,
  description: string = reader.description,
): RandomAccessReader {
  checkRange(description, reader.byteLength, offset, byteLength);
  return {
    byteLength,
    description,
    async read(start, length) {
      checkRange(description, byteLength, start, length);
      return await reader.read(offset + start, length);
    },
    async close() {
      await reader.close();
    },
  };
}

/** One positioned read is kept under this, since Node refuses lengths of 2 GiB and more. */
const LARGEST_SINGLE_READ = 1 << 30;

/**
 * Opens a file for range reads (Node only; nothing is imported before the first call).
 * @throws RandomAccessError if the file does not exist or is not a plain file.
 */
export async function readerFromFile(path: string): Promise<RandomAccessReader> {
  const { open } = nodeModule("node:fs/promises");
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    throw new RandomAccessError(path, `cannot be opened: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  let byteLength: number;
  try {
    const status = await handle.stat();
    if (!status.isFile()) throw new RandomAccessError(path, "is not a plain file");
    byteLength = status.size;
  } catch (error) {
    await handle.close();
    throw error;
  }
  let closed = false;
  return {
    byteLength,
    description: path,
    async read(offset, length) {
      if (closed) throw new RandomAccessError(path, "has been closed");
      checkRange(path, byteLength, offset, length);
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const wanted = Math.min(length - done, LARGEST_SINGLE_READ);
        const { bytesRead } = await handle.read(bytes, done, wanted, offset + done);
        if (bytesRead === 0) throw new RandomAccessError(path, `ends at ${offset + done}, it had ${byteLength} bytes when opened`);
        done += bytesRead;
      }
      return bytes;
    },
    async close() {
      if (closed) return;
      closed = true;
      await handle.close();
    },
  };
}
