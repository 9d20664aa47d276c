import { crc32 } from "node:zlib";
import { FrameError } from "../errors.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { describeFrame, headerBytes, parseHeader } from "./frame.ts";
import type { FrameHeader } from "./frame.ts";

/** A frame that arrived whole; its payload came from the reader's pool. */
export type FrameListener = (header: FrameHeader, payload: Uint8Array<ArrayBuffer>) => void;

const DEFAULT_STAGING_BYTES = 64 * 1024;

/**
 * Cuts a stream of bytes into frames. Whoever reads the stream asks where the next bytes should go and says how many came, so that large
 * payloads are received straight into their buffers; headers and small frames go through a staging buffer, many in one read. Memory for a
 * payload is taken only after its header was found whole and its length within the limit.
 */
export class FrameReader {
  /** Largest payload accepted. It may be changed between frames. */
  maximumPayloadBytes: number;
  readonly #pool: BufferPool;
  readonly #listener: FrameListener;
  readonly #staging: Uint8Array<ArrayBuffer>;
  #staged = 0;
  #header: FrameHeader | undefined;
  #payload: Uint8Array<ArrayBuffer> | undefined;
  #received = 0;
  #checksum = 0;
  #disposed = false;

  /** @param stagingBytes at least a header's; memory that is taken before anything has come */
  constructor(pool: BufferPool, maximumPayloadBytes: number, listener: FrameListener, stagingBytes: number = DEFAULT_STAGING_BYTES) {
    this.#staging = new Uint8Array(stagingBytes);
    this.#pool = pool;
    this.maximumPayloadBytes = maximumPayloadBytes;
    this.#listener = listener;
  }

  /** Whether part of a frame has come: a stream that ends now was cut. */
  get midFrame(): boolean {
    return this.#staged > 0 || this.#payload !== undefined;
  }

  /** Where the next bytes of the stream go: never empty. Ask again after every `advance`. */
  nextBuffer(): Uint8Array<ArrayBuffer> {
    if (this.#payload !== undefined) return this.#payload.subarray(this.#received);
    return this.#staging.subarray(this.#staged);
  }

  /**
   * Takes in the bytes that were written to the beginning of `nextBuffer()`, and tells the listener of every frame that is whole now.
   * @throws FrameError naming what is wrong; the stream cannot be read on after it
   */
  advance(bytes: number): void {
    if (this.#payload !== undefined) {
      const part = this.#payload.subarray(this.#received, this.#received + bytes);
      this.#checksum = crc32(part, this.#checksum);
      this.#received += bytes;
      this.#finishPayload();
      return;
    }
    this.#staged += bytes;
    let offset = 0;
    while (this.#staged - offset >= headerBytes) {
      this.#begin(parseHeader(this.#staging.subarray(offset, offset + headerBytes), this.maximumPayloadBytes));
      offset += headerBytes;
      const payload = this.#payload!;
      const part = this.#staging.subarray(offset, Math.min(this.#staged, offset + payload.byteLength));
      payload.set(part);
      this.#checksum = crc32(part, 0);
      this.#received = part.byteLength;
      offset += part.byteLength;
      this.#finishPayload();
      if (this.#disposed) return;
    }
    this.#staging.copyWithin(0, offset, this.#staged);
    this.#staged -= offset;
  }

  /** Takes in bytes that lie elsewhere, by copying them. @throws FrameError */
  push(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.byteLength && !this.#disposed) {
      const target = this.nextBuffer();
      const part = chunk.subarray(offset, offset + target.byteLength);
      target.set(part);
      this.advance(part.byteLength);
      offset += part.byteLength;
    }
  }

  /** Gives back the memory of a frame that will not be finished; nothing is read after it. The listener may call it. */
  dispose(): void {
    this.#disposed = true;
    if (this.#payload !== undefined) this.#pool.give(this.#payload.buffer);
    this.#payload = undefined;
    this.#staged = 0;
  }

  #begin(header: FrameHeader): void {
    this.#header = header;
    this.#payload = this.#pool.take(header.payloadBytes);
    this.#received = 0;
  }

  #finishPayload(): void {
    const header = this.#header!;
    const payload = this.#payload!;
    if (this.#received < payload.byteLength) return;
    this.#payload = undefined;
    if (this.#checksum !== header.checksum) {
      this.#pool.give(payload.buffer);
      throw new FrameError(`checksum mismatch in ${describeFrame(header)}`);
    }
    this.#listener(header, payload);
  }
}
