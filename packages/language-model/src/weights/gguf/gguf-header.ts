import type { RandomAccessReader } from "@frugal/tensor-core";
import { WeightFormatError } from "../../errors.ts";
import { GgufCursor } from "./gguf-cursor.ts";

/** A metadata value. Integers of 64 bits that a number cannot hold stay bigint. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

/** One row of the tensor table, as stored. */
export interface GgufTensor {
  readonly name: string;
  /** Innermost axis first, as GGUF stores them. */
  readonly dimensions: readonly number[];
  /** Number of the ggml type. */
  readonly type: number;
  /** Relative to the start of the data. */
  readonly offset: number;
}

/** Everything before a GGUF file's data. */
export interface GgufHeader {
  readonly version: 2 | 3;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly GgufTensor[];
  readonly alignment: number;
  /** File offset of the first data byte. */
  readonly dataOffset: number;
}

/** Bounds on a header; each is far above any real file and small against memory. */
export const GGUF_LIMITS: {
  readonly headerBytes: number;
  readonly tensors: number;
  readonly metadataEntries: number;
  readonly keyBytes: number;
  readonly stringBytes: number;
  readonly arrayElements: number;
  readonly alignment: number;
} = {
  headerBytes: 1 << 28,
  tensors: 1 << 16,
  metadataEntries: 1 << 16,
  keyBytes: (1 << 16) - 1,
  stringBytes: 1 << 24,
  arrayElements: 1 << 22,
  alignment: 1 << 16,
};

/** "GGUF" read as a little-endian number. */
const MAGIC = 0x46554747;
const MAXIMUM_DIMENSIONS = 4;
const MAXIMUM_ARRAY_DEPTH = 4;
const STRING = 8;
const ARRAY = 9;

/** Bytes of each scalar value type, by its number; strings and arrays by the least they can have. */
const VALUE_BYTES: readonly number[] = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8];

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Reads a scalar whose bytes are available. */
function readScalar(cursor: GgufCursor, type: number): GgufValue {
  switch (type) {
    case 0:
      return cursor.uint8();
    case 1:
      return cursor.int8();
    case 2:
      return cursor.uint16();
    case 3:
      return cursor.int16();
    case 4:
      return cursor.uint32();
    case 5:
      return cursor.int32();
    case 6:
      return cursor.float32();
    case 7: {
      const value = cursor.uint8();
      if (value > 1) throw cursor.error(`a boolean is ${value}`);
      return value === 1;
    }
    case 10:
      return narrow(cursor.uint64());
    case 11:
      return narrow(cursor.int64());
    case 12:
      return cursor.float64();
    default:
      throw cursor.error(`value type ${type} is not known`);
  }
}

async function readArray(cursor: GgufCursor, depth: number): Promise<GgufValue[]> {
  if (depth > MAXIMUM_ARRAY_DEPTH) throw cursor.error(`arrays are nested more than ${MAXIMUM_ARRAY_DEPTH} deep`);
  await cursor.need(12);
  const type = cursor.uint32();
  const bytes = VALUE_BYTES[type];
  if (bytes === undefined) throw cursor.error(`value type ${type} is not known`);
  const length = cursor.count("an array's length", Math.min(GGUF_LIMITS.arrayElements, Math.floor(cursor.remaining / bytes)));
  const values: GgufValue[] = [];
  for (let index = 0; index < length; index++) {
    if (type === STRING) {
      // Vocabularies are hundreds of thousands of short strings: awaiting each would be most of the time of opening a file.
      const text = cursor.stringAtHand("a string", GGUF_LIMITS.stringBytes);
      values.push(text ?? (await cursor.string("a string", GGUF_LIMITS.stringBytes)));
    } else if (type === ARRAY) values.push(await readArray(cursor, depth + 1));
    else {
      if (!cursor.has(bytes)) await cursor.need(bytes);
      values.push(readScalar(cursor, type));
    }
  }
  return values;
}

async function readValue(cursor: GgufCursor): Promise<GgufValue> {
  await cursor.need(4);
  const type = cursor.uint32();
  if (type === STRING) return await cursor.string("a string", GGUF_LIMITS.stringBytes);
  if (type === ARRAY) return await readArray(cursor, 1);
  const bytes = VALUE_BYTES[type];
  if (bytes === undefined) throw cursor.error(`value type ${type} is not known`);
  await cursor.need(bytes);
  return readScalar(cursor, type);
}

async function readTensor(cursor: GgufCursor, fileBytes: number): Promise<GgufTensor> {
  const name = await cursor.string("a tensor's name", GGUF_LIMITS.keyBytes);
  await cursor.need(4);
  const rank = cursor.uint32();
  if (rank < 1 || rank > MAXIMUM_DIMENSIONS)
    throw cursor.error(`tensor ${name} has ${rank} dimensions, 1 to ${MAXIMUM_DIMENSIONS} are allowed`);
  await cursor.need(8 * rank + 12);
  const dimensions: number[] = [];
  let elements = 1;
  for (let axis = 0; axis < rank; axis++) {
    const size = cursor.count(`dimension ${axis} of ${name}`, Number.MAX_SAFE_INTEGER);
    if (size < 1) throw cursor.error(`dimension ${axis} of ${name} is 0`);
    dimensions.push(size);
    elements *= size;
    if (!Number.isSafeInteger(elements)) throw cursor.error(`tensor ${name} has more elements than can be counted`);
  }
  const type = cursor.uint32();
  const offset = cursor.count(`the offset of ${name}`, fileBytes);
  return { name, dimensions, type, offset };
}

/**
 * Reads the header of a GGUF file, version 2 or 3, little-endian: metadata and tensor table, with every count, length and offset
 * bounded by the file's size before it is believed.
 * @throws WeightFormatError if the file is not GGUF, is cut short, or breaks the format
 */
export async function readGgufHeader(reader: RandomAccessReader): Promise<GgufHeader> {
  const cursor = new GgufCursor(reader, GGUF_LIMITS.headerBytes);
  await cursor.need(8);
  const magic = cursor.uint32();
  if (magic !== MAGIC) throw new WeightFormatError(reader.description, "not a GGUF file: it does not start with GGUF");
  const version = cursor.uint32();
  if (version !== 2 && version !== 3) {
    const bigEndian = version === 0x02000000 || version === 0x03000000;
    const what = bigEndian ? "a big-endian GGUF file" : `GGUF version ${version}`;
    throw new WeightFormatError(reader.description, `${what} is not read; versions 2 and 3, little-endian, are`);
  }
  await cursor.need(16);
  // A tensor takes at least 32 bytes of the table and a metadata entry at least 13.
  const tensorCount = cursor.count("the number of tensors", Math.min(GGUF_LIMITS.tensors, Math.floor(cursor.remaining / 32)));
  const entryCount = cursor.count(
    "the number of metadata entries",
    Math.min(GGUF_LIMITS.metadataEntries, Math.floor(cursor.remaining / 13)),
  );
  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < entryCount; index++) {
    const key = await cursor.string("a metadata key", GGUF_LIMITS.keyBytes);
    if (metadata.has(key)) throw cursor.error(`metadata key ${key} occurs twice`);
    metadata.set(key, await readValue(cursor));
  }
  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || alignment < 8 || alignment > GGUF_LIMITS.alignment || (alignment & (alignment - 1)) !== 0) {
    throw cursor.error(`general.alignment ${String(alignment)} is not a power of two from 8 to ${GGUF_LIMITS.alignment}`);
  }
  const tensors: GgufTensor[] = [];
  const names = new Set<string>();
  for (let index = 0; index < tensorCount; index++) {
    const tensor = await readTensor(cursor, reader.byteLength);
    if (names.has(tensor.name)) throw cursor.error(`tensor ${tensor.name} occurs twice`);
    if (tensor.offset % alignment !== 0)
      throw cursor.error(`the offset of ${tensor.name}, ${tensor.offset}, is not a multiple of ${alignment}`);
    names.add(tensor.name);
    tensors.push(tensor);
  }
  const dataOffset = Math.ceil(cursor.offset / alignment) * alignment;
  return { version, metadata, tensors, alignment, dataOffset };
}
