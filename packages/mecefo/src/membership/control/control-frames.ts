import { FrameError } from "../../errors.ts";

/** Most bytes of a control message. */
export const largestControlFrame: number = 1 << 20;
/** Most bytes of a message before its sender has proved that it knows the token. */
export const largestUnprovenFrame = 4096;

const HEADER_BYTES = 4;

/** A control message as it goes over a connection: its length in 4 bytes, big-endian, then JSON. @throws FrameError when it is too long */
export function encodeControlFrame(message: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(message));
  if (text.length > largestControlFrame) {
    throw new FrameError(`a control message of ${text.length} bytes; at most ${largestControlFrame} can be sent`);
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + text.length);
  frame.writeUInt32BE(text.length);
  frame.set(text, HEADER_BYTES);
  return frame;
}

/** Puts control messages together from what a connection brings, in pieces of any size. */
export class ControlFrameReader {
  /** Most bytes of the next message. */
  limit: number = largestUnprovenFrame;
  #pieces: Buffer[] = [];
  #buffered = 0;

  /**
   * Whole messages, as parsed JSON. @throws FrameError for a length over the limit, before anything is kept for it, and for what is not
   * JSON
   */
  *push(piece: Buffer): Generator<unknown, void> {
    this.#pieces.push(piece);
    this.#buffered += piece.length;
    while (this.#buffered >= HEADER_BYTES) {
      const length = this.#peekLength();
      if (length === 0 || length > this.limit) throw new FrameError(`a control message of ${length} bytes; expected 1 to ${this.limit}`);
      if (this.#buffered < HEADER_BYTES + length) return;
      const all = this.#joined();
      const text = all.subarray(HEADER_BYTES, HEADER_BYTES + length);
      const rest = all.subarray(HEADER_BYTES + length);
      this.#pieces = rest.length === 0 ? [] : [rest];
      this.#buffered = rest.length;
      yield parse(text);
    }
  }

  #peekLength(): number {
    const first = this.#pieces[0];
    return first !== undefined && first.length >= HEADER_BYTES ? first.readUInt32BE() : this.#joined().readUInt32BE();
  }

  #joined(): Buffer {
    const only = this.#pieces[0];
    const all = this.#pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.#pieces);
    this.#pieces = [all];
    return all;
  }
}

function parse(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString("utf8")) as unknown;
  } catch (error) {
    throw new FrameError("a control message that is not JSON", { cause: error });
  }
}
