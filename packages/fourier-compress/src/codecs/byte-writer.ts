/** Collects the bytes of a message. Little-endian. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(256);
  #view: DataView = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  uint8(value: number): void {
    const start = this.#grow(1);
    this.#view.setUint8(start, value);
  }

  uint16(value: number): void {
    const start = this.#grow(2);
    this.#view.setUint16(start, value, true);
  }

  uint32(value: number): void {
    const start = this.#grow(4);
    this.#view.setUint32(start, value, true);
  }

  float32(value: number): void {
    const start = this.#grow(4);
    this.#view.setFloat32(start, value, true);
  }

  /** Unsigned LEB128. */
  varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.uint8((rest % 0x80) | 0x80);
    this.uint8(rest);
  }

  /** The bytes of a typed array as they lie in memory. */
  append(values: ArrayBufferView): void {
    const start = this.#grow(values.byteLength);
    this.#bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), start);
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #grow(count: number): number {
    const start = this.#length;
    const needed = start + count;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, start));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = needed;
    return start;
  }
}
