import { CodecMessageError } from "../errors.ts";

/** Reads a message from its start, and throws CodecMessageError where it ends too early. Little-endian. */
export class ByteReader {
  readonly #codec: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;

  /** @param codec name for errors */
  constructor(codec: string, bytes: Uint8Array) {
    this.#codec = codec;
    // Not a Buffer, whose slices are views.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** @throws CodecMessageError that names the codec */
  fail(detail: string): never {
    throw new CodecMessageError(this.#codec, detail);
  }

  /** A view of the next bytes, not a copy. */
  bytes(count: number): Uint8Array {
    const start = this.#advance(count);
    return this.#bytes.subarray(start, start + count);
  }

  uint8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  uint16(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  uint32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  float32(): number {
    return this.#view.getFloat32(this.#advance(4), true);
  }

  /** Unsigned LEB128 of at most 32 bits. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.uint8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value > 0xffff_ffff ? this.fail("a number exceeds 32 bits") : value;
    }
    return this.fail("a number exceeds 32 bits");
  }

  /** Little-endian float32 values, copied. */
  float32Array(count: number): Float32Array {
    this.#check(4 * count);
    return new Float32Array(this.bytes(4 * count).slice().buffer);
  }

  /** Little-endian 16-bit words, copied. */
  uint16Array(count: number): Uint16Array {
    this.#check(2 * count);
    return new Uint16Array(this.bytes(2 * count).slice().buffer);
  }

  #check(count: number): void {
    if (!(count <= this.remaining)) this.fail(`${count} bytes were announced, ${this.remaining} are left`);
  }

  #advance(count: number): number {
    this.#check(count);
    const start = this.#offset;
    this.#offset += count;
    return start;
  }
}
