import { FRAME_HEADER_BYTES, payloadLength } from "../wire/frame.ts";

/**
 * Cuts a stream of bytes into frames by the lengths in their headers. Memory grows with the bytes that have come (at most twice as many),
 * not with those that a header announces, and not with the number of pieces they came in.
 */
export class FrameCutter {
  readonly #limits: { readonly payloadBytes: number };
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(FRAME_HEADER_BYTES);
  #held = 0;
  /** Bytes of the frame that the buffer begins with; of a header alone until that is there. */
  #due: number = FRAME_HEADER_BYTES;
  #hasHeader = false;

  constructor(limits: { readonly payloadBytes: number }) {
    this.#limits = limits;
  }

  /** Bytes of the frame that is not complete yet. */
  get heldBytes(): number {
    return this.#held;
  }

  /**
   * Hands over the frames that are complete with this chunk, as copies.
   * @throws FrameError for what begins like no frame, or is too long for one; the frames before it were handed over
   */
  push(chunk: Uint8Array, onFrame: (frame: Uint8Array) => void): void {
    let offset = 0;
    while (offset < chunk.length) {
      const count = Math.min(this.#due - this.#held, chunk.length - offset);
      this.#append(chunk.subarray(offset, offset + count));
      offset += count;
      if (!this.#hasHeader && this.#held === FRAME_HEADER_BYTES) {
        this.#due = FRAME_HEADER_BYTES + payloadLength(this.#buffer, this.#limits);
        this.#hasHeader = true;
      }
      if (this.#hasHeader && this.#held === this.#due) onFrame(this.#take());
    }
  }

  #append(part: Uint8Array): void {
    const needed = this.#held + part.length;
    if (needed > this.#buffer.length) {
      const grown = new Uint8Array(Math.min(this.#due, Math.max(needed, 2 * this.#buffer.length)));
      grown.set(this.#buffer.subarray(0, this.#held));
      this.#buffer = grown;
    }
    this.#buffer.set(part, this.#held);
    this.#held = needed;
  }

  #take(): Uint8Array {
    const frame = this.#buffer.length === this.#held ? this.#buffer : this.#buffer.slice(0, this.#held);
    this.#buffer = new Uint8Array(FRAME_HEADER_BYTES);
    this.#held = 0;
    this.#due = FRAME_HEADER_BYTES;
    this.#hasHeader = false;
    return frame;
  }
}
