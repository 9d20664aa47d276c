import type { RandomAccessReader } from "@frugal/tensor-core";
import { WeightFormatError } from "../../errors.ts";

const FIRST_WINDOW_BYTES = 1 << 16;
const LARGEST_WINDOW_BYTES = 1 << 22;

/**
 * Walks the header of a GGUF file in windows that grow with what has proved to be there, so that a small or hostile file is never
 * the cause of a large read. Numbers are little-endian.
 */
export class GgufCursor {
  readonly #reader: RandomAccessReader;
  readonly #limit: number;
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));
  /** File offset of the window's first byte. */
  #start = 0;
  /** Position inside the window. */
  #at = 0;
  #window: number = FIRST_WINDOW_BYTES;
  readonly #utf8: TextDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** @param maximumHeaderBytes where the header must have ended */
  constructor(reader: RandomAccessReader, maximumHeaderBytes: number) {
    this.#reader = reader;
    this.#limit = Math.min(reader.byteLength, maximumHeaderBytes);
  }

  /** File offset of the next byte. */
  get offset(): number {
    return this.#start + this.#at;
  }

  /** Bytes between here and the end of what may be header. */
  get remaining(): number {
    return this.#limit - this.offset;
  }

  /** An error at the current offset. */
  error(detail: string): WeightFormatError {
    return new WeightFormatError(this.#reader.description, `GGUF header at byte ${this.offset}: ${detail}`);
  }

  /** Whether the next `length` bytes are in the window, so that they can be read without awaiting. */
  has(length: number): boolean {
    return this.#at + length <= this.#bytes.length;
  }

  /** Makes the next `length` bytes available. */
  async need(length: number): Promise<void> {
    if (this.has(length)) return;
    if (length > this.remaining) throw this.error(`${length} more bytes are needed, ${this.remaining} are left`);
    const start = this.offset;
    const wanted = Math.min(Math.max(length, this.#window), this.remaining);
    this.#bytes = await this.#reader.read(start, wanted);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    this.#start = start;
    this.#at = 0;
    this.#window = Math.min(2 * this.#window, LARGEST_WINDOW_BYTES);
  }

  #advance(length: number): number {
    const at = this.#at;
    this.#at += length;
    return at;
  }

  /** The readers below take bytes that `need` made available. */
  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }
  int8(): number {
    return this.#view.getInt8(this.#advance(1));
  }
  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }
  int16(): number {
    return this.#view.getInt16(this.#advance(2), true);
  }
  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }
  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }
  float32(): number {
    return this.#view.getFloat32(this.#advance(4), true);
  }
  float64(): number {
    return this.#view.getFloat64(this.#advance(8), true);
  }
  uint64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }
  int64(): bigint {
    return this.#view.getBigInt64(this.#advance(8), true);
  }

  /** A count or offset: a uint64 that must be at most `maximum`. */
  count(what: string, maximum: number): number {
    const value = this.uint64();
    if (value > BigInt(maximum)) throw this.error(`${what} is ${value}, at most ${maximum} is allowed`);
    return Number(value);
  }

  /** UTF-8 text of `length` available bytes. */
  text(length: number): string {
    if (length === 0) return "";
    const at = this.#advance(length);
    try {
      return this.#utf8.decode(this.#bytes.subarray(at, at + length));
    } catch (cause) {
      throw new WeightFormatError(this.#reader.description, `GGUF header at byte ${this.#start + at}: text is not UTF-8`, { cause });
    }
  }

  /** A string that is in the window as a whole, without awaiting; otherwise undefined, and nothing is taken. */
  stringAtHand(what: string, maximum: number): string | undefined {
    if (!this.has(8)) return undefined;
    const at = this.#at;
    const length = this.count(`the length of ${what}`, Math.min(maximum, this.remaining));
    if (this.has(length)) return this.text(length);
    this.#at = at;
    return undefined;
  }

  /** A string: uint64 length, then bytes. */
  async string(what: string, maximum: number): Promise<string> {
    await this.need(8);
    const length = this.count(`the length of ${what}`, Math.min(maximum, this.remaining));
    await this.need(length);
    return this.text(length);
  }
}
