/**
 * The safetensors format: uint64 header length, a JSON header of names, dtypes, shapes and offsets, then the tensors' bytes without
 * gaps. Reading believes nothing before it is checked against the file's size; writing replaces the file in one step.
 */
import { nodeModule } from "./node-module.ts";
import { TensorError } from "../errors.ts";
import type { RandomAccessReader } from "./random-access.ts";

/** Element types by their safetensors names. */
export type SafetensorsDtype =
  "F64" | "F32" | "F16" | "BF16" | "F8_E4M3" | "F8_E5M2" | "I64" | "I32" | "I16" | "I8" | "U64" | "U32" | "U16" | "U8" | "BOOL";

const ELEMENT_BYTES: Readonly<Record<SafetensorsDtype, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** One tensor of a file. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  /** Row-major, outermost axis first. */
  readonly shape: readonly number[];
  /** File offset of the first byte. */
  readonly offset: number;
  readonly byteLength: number;
}

/** What the header of a file says. */
export interface SafetensorsHeader {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  /** The free-form strings under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** A file opened for reading tensor by tensor. */
export interface SafetensorsFile extends SafetensorsHeader {
  /**
   * The bytes of one tensor, little-endian; read-only, possibly a view of memory.
   * @throws SafetensorsError if there is no such tensor
   */
  read(name: string): Promise<Uint8Array>;
  /** Closes the reader. */
  close(): Promise<void>;
}

/** A file that is not safetensors, or tensors that cannot be written as such. */
export class SafetensorsError extends TensorError {
  override name = "SafetensorsError";

  constructor(source: string, detail: string, options?: ErrorOptions) {
    super(`${source}: ${detail}`);
    if (options !== undefined && "cause" in options) this.cause = options.cause;
  }
}

/** The format's own bound on the header. */
const LARGEST_HEADER_BYTES = 100_000_000;
const LARGEST_RANK = 32;
const METADATA = "__metadata__";

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value is a count that arithmetic keeps exact. */
function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function byteLengthOf(dtype: SafetensorsDtype, shape: readonly number[]): number {
  // Zeros first, so that an empty shape with huge axes stays zero.
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, ELEMENT_BYTES[dtype]);
}

function parseEntry(name: string, value: unknown, dataOffset: number, dataBytes: number, source: string): SafetensorsEntry {
  const fail = (detail: string): never => {
    throw new SafetensorsError(source, `tensor ${JSON.stringify(name).slice(0, 120)}: ${detail}`);
  };
  if (!isRecord(value)) return fail("its entry is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(ELEMENT_BYTES, dtype))
    return fail(`dtype ${JSON.stringify(dtype)?.slice(0, 40)} is not known`);
  if (!Array.isArray(shape) || shape.length > LARGEST_RANK || !shape.every(isCount)) return fail("its shape is not a list of sizes");
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) return fail("its data_offsets are not two offsets");
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) return fail(`data_offsets ${begin} to ${end} are not inside the ${dataBytes} bytes of data`);
  const byteLength = byteLengthOf(dtype as SafetensorsDtype, shape as number[]);
  if (byteLength !== end - begin)
    return fail(`${dtype} [${(shape as number[]).join(", ")}] takes ${byteLength} bytes, its data_offsets hold ${end - begin}`);
  return { name, dtype: dtype as SafetensorsDtype, shape: shape as number[], offset: dataOffset + begin, byteLength };
}

/**
 * Parses and checks a header: known dtypes, sizes that agree, offsets that cover the data exactly once.
 * @param json the header's bytes, without the length in front
 * @param fileByteLength size of the whole file
 * @throws SafetensorsError on anything else
 */
export function parseSafetensorsHeader(json: Uint8Array, fileByteLength: number, source = "safetensors"): SafetensorsHeader {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (cause) {
    throw new SafetensorsError(source, "the header is not JSON", { cause });
  }
  if (!isRecord(header)) throw new SafetensorsError(source, "the header is not an object");
  const dataOffset = 8 + json.byteLength;
  const dataBytes = fileByteLength - dataOffset;
  const metadata = new Map<string, string>();
  const list: SafetensorsEntry[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name !== METADATA) {
      list.push(parseEntry(name, value, dataOffset, dataBytes, source));
      continue;
    }
    if (!isRecord(value)) throw new SafetensorsError(source, `${METADATA} is not an object`);
    for (const [key, text] of Object.entries(value)) {
      if (typeof text !== "string") throw new SafetensorsError(source, `${METADATA} holds something that is not text`);
      metadata.set(key, text);
    }
  }
  list.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = dataOffset;
  for (const entry of list) {
    if (entry.offset !== end) {
      const what = entry.offset < end ? "overlaps the tensor before it" : "leaves a gap before it";
      throw new SafetensorsError(source, `tensor ${JSON.stringify(entry.name).slice(0, 120)} ${what}`);
    }
    end += entry.byteLength;
  }
  if (end !== fileByteLength) throw new SafetensorsError(source, `the tensors end at byte ${end}, the file at ${fileByteLength}`);
  return { entries: new Map(list.map((entry) => [entry.name, entry])), metadata };
}

/**
 * Opens a safetensors file: reads and checks its header, and tensors one at a time when asked. The reader is closed with the file.
 * @throws SafetensorsError if the file is cut short or breaks the format; nothing large is read before
 */
export async function openSafetensors(reader: RandomAccessReader): Promise<SafetensorsFile> {
  const source = reader.description;
  if (reader.byteLength < 8) throw new SafetensorsError(source, `${reader.byteLength} bytes are too few for safetensors`);
  const head = await reader.read(0, 8);
  const length = new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true);
  const largest = Math.min(LARGEST_HEADER_BYTES, reader.byteLength - 8);
  if (length > BigInt(largest))
    throw new SafetensorsError(source, `a header of ${length} bytes does not fit, at most ${largest} are possible`);
  const header = parseSafetensorsHeader(await reader.read(8, Number(length)), reader.byteLength, source);
  return {
    ...header,
    async read(name) {
      const entry = header.entries.get(name);
      if (entry === undefined) throw new SafetensorsError(source, `there is no tensor ${name}`);
      return await reader.read(entry.offset, entry.byteLength);
    },
    async close() {
      await reader.close();
    },
  };
}

/** A tensor to write. */
export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Exactly its bytes, little-endian; or how to get them when they are written, so that not all are held at once. */
  readonly bytes: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
}

interface Layout {
  /** Length, header and padding. */
  readonly head: Uint8Array;
  readonly order: readonly { readonly tensor: SafetensorsTensor; readonly byteLength: number }[];
  readonly byteLength: number;
}

function layOut(tensors: Iterable<SafetensorsTensor>, metadata: Readonly<Record<string, string>>, source: string): Layout {
  const list = [...tensors].map((tensor) => ({ tensor, byteLength: byteLengthOf(tensor.dtype, tensor.shape) }));
  // Wide elements first keeps every tensor aligned to its element.
  list.sort((a, b) => ELEMENT_BYTES[b.tensor.dtype] - ELEMENT_BYTES[a.tensor.dtype]);
  const header: [string, unknown][] = Object.keys(metadata).length > 0 ? [[METADATA, metadata]] : [];
  const names = new Set<string>([METADATA]);
  let offset = 0;
  for (const { tensor, byteLength } of list) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) throw new SafetensorsError(source, `two tensors are called ${JSON.stringify(name)}`);
    if (!shape.every(isCount) || shape.length > LARGEST_RANK || !isCount(byteLength)) {
      throw new SafetensorsError(source, `tensor ${name} has no valid shape: [${shape.join(", ")}]`);
    }
    names.add(name);
    header.push([name, { dtype, shape, data_offsets: [offset, (offset += byteLength)] }]);
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > LARGEST_HEADER_BYTES)
    throw new SafetensorsError(source, `the header would have ${padded} bytes, at most ${LARGEST_HEADER_BYTES} are allowed`);
  const head = new Uint8Array(8 + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  return { head, order: list, byteLength: head.length + offset };
}

async function bytesOf(tensor: SafetensorsTensor, byteLength: number, source: string): Promise<Uint8Array> {
  const bytes = typeof tensor.bytes === "function" ? await tensor.bytes() : tensor.bytes;
  if (bytes.byteLength !== byteLength) {
    throw new SafetensorsError(source, `tensor ${tensor.name} takes ${byteLength} bytes, ${bytes.byteLength} were given`);
  }
  return bytes;
}

/**
 * Writes tensors into one safetensors file in memory.
 * @throws SafetensorsError if names repeat, or bytes do not fit dtype and shape
 */
export async function serializeSafetensors(
  tensors: Iterable<SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<Uint8Array> {
  const source = "safetensors";
  const { head, order, byteLength } = layOut(tensors, metadata, source);
  const file = new Uint8Array(byteLength);
  file.set(head);
  let at = head.length;
  for (const { tensor, byteLength: length } of order) {
    file.set(await bytesOf(tensor, length, source), at);
    at += length;
  }
  return file;
}

/**
 * Writes a safetensors file tensor by tensor (Node). The file at `path` is replaced in one step once everything is on disk: a crash
 * or an error leaves what was there.
 * @throws SafetensorsError if names repeat, or bytes do not fit dtype and shape
 */
export async function writeSafetensorsFile(
  path: string,
  tensors: Iterable<SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { open, rename, rm } = nodeModule("node:fs/promises");
  const { dirname } = nodeModule("node:path");
  const { head, order } = layOut(tensors, metadata, path);
  const temporary = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.tmp`;
  try {
    const handle = await open(temporary, "wx");
    try {
      const writeAll = async (bytes: Uint8Array): Promise<void> => {
        for (let done = 0; done < bytes.length;) done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten;
      };
      await writeAll(head);
      for (const { tensor, byteLength } of order) await writeAll(await bytesOf(tensor, byteLength, path));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  // The new name is durable once the folder is; Windows cannot open folders and does this by itself.
  if (process.platform !== "win32") {
    const folder = await open(dirname(path), "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }
}
