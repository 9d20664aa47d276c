import { float16BitsToFloat32 } from "@frugal/tensor-core";
import { nodeModule } from "@frugal/tensor-core/node";
import { z } from "zod";
import { startsWithRow } from "../codecs/begin-row.ts";
import { EvaluationDataError } from "../errors.ts";

/** Activations of one prompt, one row a token. */
export interface ActivationPrompt {
  /** Where the prompt is from, for the reader. */
  readonly dataset: string;
  readonly tokens: readonly number[];
  /** [tokens, hiddenSize], the begin row included. */
  readonly rows: Float32Array;
}

/** What a folder of captured activations holds for one place in one model. */
export interface ActivationSet {
  /** Name of the folder. */
  readonly name: string;
  /** The block whose output was captured, counted from 1: the input of the block that a split of this number sends to. */
  readonly block: number;
  readonly hiddenSize: number;
  /** [rows, hiddenSize] to calibrate on; begin rows are not among them. */
  readonly calibration: Float32Array;
  /** [hiddenSize]: the first row of the prompts, where it is the same in all of them. */
  readonly beginRow?: Float32Array;
  /** To measure on. */
  readonly prompts: readonly ActivationPrompt[];
}

const DTYPE = "float16 little-endian";

/** Sizes that a folder may announce; larger ones are refused before anything is read. */
const LIMITS = {
  hiddenSize: 65_536, rows: 4_194_304, prompts: 65_536, tokens: 131_072, fileBytes: 4 * 2 ** 30, indexBytes: 64 * 2 ** 20,
} as const;

const indexSchema = z.object({
  dtype: z.literal(DTYPE),
  hidden: z.int().min(1).max(LIMITS.hiddenSize),
  cal_rows: z.int().min(1).max(LIMITS.rows),
  test_rows: z.int().min(1).max(LIMITS.rows).optional(),
  layers: z.array(z.int().min(0).max(100_000)).max(1000).optional(),
  prompts: z
    .array(
      z.object({
        dataset: z.string().max(200).default(""),
        row: z.int().min(0).max(LIMITS.rows),
        tokens: z.array(z.int().min(0).max(2 ** 31 - 1)).min(1).max(LIMITS.tokens),
      }),
    )
    .min(1)
    .max(LIMITS.prompts),
});

type Index = z.infer<typeof indexSchema>;

async function readIndex(path: string): Promise<Index> {
  const { readFile, stat } = nodeModule("node:fs/promises");
  const { size } = await stat(path).catch((cause: unknown) => {
    const layout = "a folder of activations holds index.json, cal_l<block>.f16 and test_l<block>.f16";
    throw new EvaluationDataError(`${path} is not there; ${layout}`, { cause });
  });
  if (size > LIMITS.indexBytes) throw new EvaluationDataError(`${path}: ${size} bytes are more than the ${LIMITS.indexBytes} of an index`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new EvaluationDataError(`${path} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const index = indexSchema.safeParse(parsed);
  if (!index.success) throw new EvaluationDataError(`${path}: ${z.prettifyError(index.error).replaceAll("\n", " ")}`);
  return index.data;
}

/** Rows of float16, after the file's size is held against what the index announces. */
async function readRows(path: string, rows: number, hiddenSize: number): Promise<Float32Array> {
  const { readFile, stat } = nodeModule("node:fs/promises");
  const expected = 2 * rows * hiddenSize;
  if (expected > LIMITS.fileBytes) {
    throw new EvaluationDataError(`${path}: ${rows} rows of ${hiddenSize} are more than ${LIMITS.fileBytes} bytes`);
  }
  const { size } = await stat(path);
  if (size !== expected) {
    throw new EvaluationDataError(`${path} has ${size} bytes; ${rows} rows of ${hiddenSize} float16 by index.json are ${expected}`);
  }
  const bytes = await readFile(path);
  const bits = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(rows * hiddenSize);
  for (let i = 0; i < values.length; i++) values[i] = float16BitsToFloat32(bits.getUint16(2 * i, true));
  const broken = values.findIndex((value) => !Number.isFinite(value));
  if (broken >= 0) {
    throw new EvaluationDataError(`${path}: row ${Math.floor(broken / hiddenSize)}, feature ${broken % hiddenSize} is ${values[broken]}`);
  }
  return values;
}

/** Blocks that a folder has calibration and test rows of, ascending. */
async function blocksOf(folder: string): Promise<number[]> {
  const { readdir } = nodeModule("node:fs/promises");
  const names = new Set(await readdir(folder));
  const blocks = [...names].flatMap((name) => /^test_l(\d{1,6})\.f16$/.exec(name)?.[1] ?? []).map(Number);
  return blocks.filter((block) => names.has(`cal_l${block}.f16`)).sort((a, b) => a - b);
}

/** The row that all prompts begin with. */
function beginRowOf(prompts: readonly ActivationPrompt[], hiddenSize: number): Float32Array | undefined {
  const [first] = prompts;
  const row = first!.rows.subarray(0, hiddenSize);
  const isSame = ({ tokens, rows }: ActivationPrompt): boolean => tokens[0] === first!.tokens[0] && startsWithRow(rows, row);
  return prompts.every(isSame) ? row : undefined;
}

/**
 * Reads captured activations in the layout of `index.json` (`dtype`, `hidden`, `cal_rows`, `test_rows`,
 * `prompts: [{ dataset, row, tokens }]`) beside `cal_l<block>.f16` and `test_l<block>.f16`: row-major little-endian float16, a prompt's
 * rows from `row` on, one a token.
 * @param options `block` of several; default: the first that has both files
 * @throws EvaluationDataError for anything that does not fit together, before large allocations
 */
export async function readActivationsFolder(path: string, options: { readonly block?: number } = {}): Promise<ActivationSet> {
  const { basename, join, resolve } = nodeModule("node:path");
  const index = await readIndex(join(path, "index.json"));
  const blocks = await blocksOf(path);
  const block = options.block ?? blocks[0];
  if (block === undefined || !blocks.includes(block)) {
    const which = block === undefined ? "no block" : `not of block ${block}`;
    throw new EvaluationDataError(`${path} has cal_l<block>.f16 and test_l<block>.f16 of ${which}; found both for [${blocks.join(", ")}]`);
  }
  const { hidden: hiddenSize } = index;
  const ends = index.prompts.map(({ row, tokens }) => row + tokens.length);
  const testRows = index.test_rows ?? Math.max(...ends);
  const outside = ends.findIndex((end) => end > testRows);
  if (outside >= 0) {
    const end = `ends at row ${ends[outside]}, but there are ${testRows} test rows`;
    throw new EvaluationDataError(`${path}/index.json: prompt ${outside} ${end}`);
  }
  const calibration = await readRows(join(path, `cal_l${block}.f16`), index.cal_rows, hiddenSize);
  const test = await readRows(join(path, `test_l${block}.f16`), testRows, hiddenSize);
  const prompts = index.prompts.map(({ dataset, row, tokens }) => ({
    dataset, tokens, rows: test.subarray(row * hiddenSize, (row + tokens.length) * hiddenSize),
  }));
  const beginRow = beginRowOf(prompts, hiddenSize);
  return { name: basename(resolve(path)), block, hiddenSize, calibration, prompts, ...(beginRow === undefined ? {} : { beginRow }) };
}
