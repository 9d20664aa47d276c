import { existsSync } from "node:fs";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { z } from "zod";
import { EvaluationDataError } from "../errors.ts";
import type { MultipleChoiceRow } from "../evaluation/multiple-choice.ts";
import type { PerplexityRow } from "../evaluation/perplexity-comparison.ts";
import type { ReconstructionRow } from "../evaluation/reconstruction-comparison.ts";

/** Version of the file's format. */
const VERSION = 1;
const LARGEST_FILE_BYTES = 64 * 2 ** 20;

const text = z.string().max(10_000);
/** Infinity, an error of values that overflowed, is null in JSON. */
const number = z.number().or(z.null().transform(() => Infinity));
const mode = z.union([
  z.object({ kind: z.literal("ratio"), ratio: z.number(), of: z.enum(["bytes", "elements"]).exactOptional() }),
  z.object({ kind: z.literal("relativeError"), relativeError: z.number() }),
  z.object({ kind: z.literal("bytesPerToken"), bytes: z.number() }),
  z.object({ kind: z.literal("step"), step: z.number() }),
]);
const measured = z.object({
  elementRatio: number, byteRatioFloat16: number, byteRatioFloat32: number, relativeError: number, messages: z.number(), tokens: z.number(),
  bytes: z.number(), encodeMilliseconds: z.number(), decodeMilliseconds: z.number(),
});
const head = {
  codec: text, label: text, ratio: z.number().exactOptional(), mode: mode.exactOptional(),
  tokenShare: z.number().exactOptional(), unavailable: text.exactOptional(),
};
const coded = { ...head, traffic: measured.exactOptional(), leakage: z.number().exactOptional() };
const accuracy = z.object({ share: z.number(), standardError: z.number() });

const fileSchema = z.object({
  version: z.literal(VERSION),
  settings: text,
  reconstruction: z.array(z.object({ ...head, result: measured.exactOptional(), withBeginRows: measured.exactOptional() })).max(10_000),
  perplexity: z
    .array(
      z.object({
        // Plans measure several splits.
        splitBlock: z.number().exactOptional(),
        ...coded, perplexity: number.exactOptional(), perplexityRise: number.exactOptional(), agreement: z.number().exactOptional(),
      }),
    )
    .max(10_000),
  multipleChoice: z.record(
    z.string().max(1000),
    z
      .array(
        z.object({
          ...coded,
          score: z.object({ questions: z.number(), accuracy, normalizedAccuracy: accuracy, answerPerplexity: number }).exactOptional(),
          agreement: z.number().exactOptional(),
        }),
      )
      .max(10_000),
  ),
});

/** Rows of an evaluation, kept in a file as they come, so that it can go on where it ended. */
export class EvaluationFile {
  readonly #path: string | undefined;
  readonly #settings: string;
  readonly reconstruction: ReconstructionRow[] = [];
  readonly perplexity: PerplexityRow[] = [];
  readonly multipleChoice: Map<string, MultipleChoiceRow[]> = new Map();

  private constructor(path: string | undefined, settings: string) {
    this.#path = path;
    this.#settings = settings;
  }

  /**
   * Reads what is in the file; begins anew where there is none, or no path.
   * @param settings all that rows depend on, besides codec and ratio
   * @throws EvaluationDataError for files of other settings, or that are something else
   */
  static async open(path: string | undefined, settings: object): Promise<EvaluationFile> {
    const file = new EvaluationFile(path, JSON.stringify(settings));
    if (path === undefined || !existsSync(path)) return file;
    const { size } = await stat(path);
    if (size > LARGEST_FILE_BYTES) throw new EvaluationDataError(`${path}: ${size} bytes are more than an evaluation has`);
    let parsed: unknown;
    try {
      parsed = JSON.parse(await readFile(path, "utf8"));
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      throw new EvaluationDataError(`${path} is not an evaluation to resume: ${cause.message}`, { cause });
    }
    const read = fileSchema.safeParse(parsed);
    if (!read.success) {
      const problem = z.prettifyError(read.error).replaceAll("\n", " ").slice(0, 500);
      throw new EvaluationDataError(`${path} is not an evaluation to resume: ${problem}`);
    }
    if (read.data.settings !== file.#settings) {
      throw new EvaluationDataError(
        `${path} is of an evaluation of ${read.data.settings}, this one is of ${file.#settings}; give another file`,
      );
    }
    file.reconstruction.push(...read.data.reconstruction);
    file.perplexity.push(...read.data.perplexity);
    for (const [name, rows] of Object.entries(read.data.multipleChoice)) file.multipleChoice.set(name, rows);
    return file;
  }

  /** Rows of a set of questions; the array is the file's own. */
  questions(name: string): MultipleChoiceRow[] {
    const rows = this.multipleChoice.get(name) ?? [];
    this.multipleChoice.set(name, rows);
    return rows;
  }

  /** Puts all rows into the file, whole or not at all. */
  async save(): Promise<void> {
    if (this.#path === undefined) return;
    const content = {
      version: VERSION, settings: this.#settings, reconstruction: this.reconstruction, perplexity: this.perplexity,
      multipleChoice: Object.fromEntries(this.multipleChoice),
    };
    const temporary = `${this.#path}.${process.pid}.tmp`;
    await writeFile(temporary, `${JSON.stringify(content, null, 1)}\n`);
    await rename(temporary, this.#path);
  }
}
