/** Writes small GGUF files for tests; deliberately separate from the reader's own tables. */

export type Metadata = readonly (readonly [
  key: string,
  type: "u32" | "f32" | "string" | "strings" | "f32s" | "i32s" | "bool",
  value: unknown,
])[];

export interface TensorToWrite {
  readonly name: string;
  /** Row-major, outermost first. */
  readonly shape: readonly number[];
  /** ggml type number. */
  readonly type: number;
  readonly bytes: Uint8Array;
}

const ARRAY_TYPES = { strings: 8, f32s: 6, i32s: 5 } as const;

export class ByteWriter {
  readonly #parts: Uint8Array[] = [];
  length = 0;

  bytes(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    this.length += bytes.length;
    return this;
  }
  u32(value: number): this {
    return this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }
  u64(value: number | bigint): this {
    return this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }
  f32(value: number): this {
    return this.bytes(new Uint8Array(Float32Array.of(value).buffer));
  }
  string(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.u64(bytes.length).bytes(bytes);
  }
  pad(alignment: number): this {
    return this.bytes(new Uint8Array((alignment - (this.length % alignment)) % alignment));
  }
  finish(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }
}

function writeValue(writer: ByteWriter, type: Metadata[number][1], value: unknown): void {
  if (type === "u32") writer.u32(4).u32(value as number);
  else if (type === "f32") writer.u32(6).f32(value as number);
  else if (type === "bool") writer.u32(7).bytes(Uint8Array.of(value ? 1 : 0));
  else if (type === "string") writer.u32(8).string(value as string);
  else {
    const values = value as readonly unknown[];
    writer.u32(9).u32(ARRAY_TYPES[type]).u64(values.length);
    for (const entry of values) {
      if (type === "strings") writer.string(entry as string);
      else if (type === "f32s") writer.f32(entry as number);
      else writer.bytes(new Uint8Array(Int32Array.of(entry as number).buffer));
    }
  }
}

export function writeGguf(metadata: Metadata, tensors: readonly TensorToWrite[], version = 3, alignment = 32): Uint8Array {
  const writer = new ByteWriter().bytes(new TextEncoder().encode("GGUF")).u32(version).u64(tensors.length).u64(metadata.length);
  for (const [key, type, value] of metadata) {
    writer.string(key);
    writeValue(writer, type, value);
  }
  let offset = 0;
  for (const { name, shape, type, bytes } of tensors) {
    writer.string(name).u32(shape.length);
    for (const size of shape.toReversed()) writer.u64(size);
    writer.u32(type).u64(offset);
    offset += Math.ceil(bytes.length / alignment) * alignment;
  }
  writer.pad(alignment);
  for (const { bytes } of tensors) writer.bytes(bytes).pad(alignment);
  return writer.finish();
}
