import {
  openSafetensors, readerFromBytes, serializeSafetensors, type SafetensorsFile, type SafetensorsTensor,
} from "@frugal/tensor-core";
import { nodeModule } from "@frugal/tensor-core/node";
import { z } from "zod";
import { CodecTableError } from "../errors.ts";
import { CODEC_TABLE_VERSION, type CodecTable } from "./codec-table.ts";
import { hashCodecTable, TABLE_TENSORS, tableDescription, tableTensors, type TableTensor, type UnhashedCodecTable } from "./hash-table.ts";

/** A table as the two files that it is kept in: `name.json` and `name.safetensors`. */
export interface CodecTableFiles {
  readonly json: string;
  readonly safetensors: Uint8Array;
}

const FORMAT = "fourier-compress codec table";
const LONGEST_JSON_BYTES = 1 << 20;
const LARGEST_HIDDEN_SIZE = 1 << 15;
/** Two matrices of the largest hidden size that has been seen, 8192, and room for the rest. */
const LARGEST_TENSOR_BYTES = 2 ** 30;

const finite = z.number().finite();
const description = z.strictObject({
  format: z.literal(FORMAT),
  version: z.literal(CODEC_TABLE_VERSION),
  model: z.string().min(1).max(256),
  block: z.number().int().nonnegative(),
  hiddenSize: z.number().int().positive().max(LARGEST_HIDDEN_SIZE),
  rows: z.number().int().positive(),
  spikeNorm: finite.positive(),
  fourierTokenShare: finite.positive().max(1),
  rates: z.record(
    z.string().max(64),
    z.array(z.strictObject({ step: finite.positive(), bytesPerToken: finite.positive(), relativeError: finite.nonnegative() })).max(256),
  ),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
});

/** The two files of a table. */
export async function serializeCodecTable(table: CodecTable): Promise<CodecTableFiles> {
  const tensors = tableTensors(table).map(
    ({ name, shape, values }): SafetensorsTensor => ({
      name, shape, dtype: "F32", bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    }),
  );
  return {
    json: `${JSON.stringify({ format: FORMAT, ...tableDescription(table), hash: table.hash }, null, 2)}\n`,
    safetensors: await serializeSafetensors(tensors, { hash: table.hash }),
  };
}

/**
 * The table that two files hold, for pages that fetch them.
 * @throws CodecTableError for anything but a table of this version whose tensors are finite and have its hash
 */
export async function parseCodecTable({ json, safetensors }: CodecTableFiles): Promise<CodecTable> {
  const described = parseDescription(json);
  if (safetensors.byteLength > LARGEST_TENSOR_BYTES) {
    throw new CodecTableError(`${safetensors.byteLength} bytes of tensors are no codec table`);
  }
  let file: SafetensorsFile;
  try {
    file = await openSafetensors(readerFromBytes(safetensors));
  } catch (cause) {
    throw new CodecTableError("the tensors of the codec table are not a safetensors file", { cause });
  }
  const tensors: Partial<Record<TableTensor, Float32Array>> = {};
  const known: ReadonlySet<string> = new Set(TABLE_TENSORS.map(({ name }) => name));
  for (const name of file.entries.keys()) {
    if (!known.has(name)) throw new CodecTableError(`a codec table has no tensor ${JSON.stringify(name)}`);
  }
  for (const { name, isMatrix, isRequired } of TABLE_TENSORS) {
    const entry = file.entries.get(name);
    if (entry === undefined) {
      if (isRequired) throw new CodecTableError(`the codec table lacks the tensor ${name}`);
      continue;
    }
    const { hiddenSize } = described;
    const shape = isMatrix ? [hiddenSize, hiddenSize] : [hiddenSize];
    if (entry.dtype !== "F32" || entry.shape.join() !== shape.join()) {
      throw new CodecTableError(`${name} is ${entry.dtype} [${entry.shape.join(", ")}], the codec table needs F32 [${shape.join(", ")}]`);
    }
    const values = new Float32Array(new Uint8Array(await file.read(name)).buffer);
    const broken = values.findIndex((value) => !Number.isFinite(value));
    if (broken >= 0) throw new CodecTableError(`${name} holds ${values[broken]} at ${broken}`);
    tensors[name] = values;
  }
  const { format: _format, version: _version, hash, ...rest } = described;
  const table = { ...rest, ...tensors } as UnhashedCodecTable;
  const actual = await hashCodecTable(table);
  if (actual !== hash) throw new CodecTableError(`the codec table hashes to ${actual}, its description says ${hash}; calibrate again`);
  return { ...table, hash };
}

function parseDescription(json: string): z.infer<typeof description> {
  if (json.length > LONGEST_JSON_BYTES) throw new CodecTableError(`${json.length} characters are no codec table`);
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new CodecTableError("the codec table's description is not JSON", { cause });
  }
  const parsed = description.safeParse(value);
  if (!parsed.success) throw new CodecTableError(`the codec table's description: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** `name` of a path to either file, or to none. */
function stem(path: string): string {
  return path.replace(/\.(json|safetensors)$/, "");
}

/** Reads a table (Node) by the path of either of its files, or that path without ending. @throws CodecTableError */
export async function readCodecTable(path: string): Promise<CodecTable> {
  const { readFile, stat } = nodeModule("node:fs/promises");
  const [jsonPath, tensorPath] = [`${stem(path)}.json`, `${stem(path)}.safetensors`];
  const read = async (file: string, most: number): Promise<Uint8Array> => {
    try {
      const { size } = await stat(file);
      if (size > most) throw new CodecTableError(`${file} has ${size} bytes, a codec table has at most ${most}`);
      return await readFile(file);
    } catch (cause) {
      if (cause instanceof CodecTableError) throw cause;
      throw new CodecTableError(`${file} cannot be read; \`fourier-compress calibrate\` makes codec tables`, { cause });
    }
  };
  const json = new TextDecoder().decode(await read(jsonPath, LONGEST_JSON_BYTES));
  return await parseCodecTable({ json, safetensors: await read(tensorPath, LARGEST_TENSOR_BYTES) });
}

/** Writes both files of a table (Node), the description last, so that a table that can be read is whole. */
export async function writeCodecTable(path: string, table: CodecTable): Promise<readonly [json: string, safetensors: string]> {
  const { mkdir, rename, writeFile } = nodeModule("node:fs/promises");
  const { dirname } = nodeModule("node:path");
  const files = await serializeCodecTable(table);
  const replace = async (file: string, content: string | Uint8Array): Promise<string> => {
    await writeFile(`${file}.${process.pid}.tmp`, content);
    await rename(`${file}.${process.pid}.tmp`, file);
    return file;
  };
  await mkdir(dirname(path), { recursive: true });
  const tensors = await replace(`${stem(path)}.safetensors`, files.safetensors);
  return [await replace(`${stem(path)}.json`, files.json), tensors];
}
