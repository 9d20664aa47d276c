import { createHash } from "node:crypto";
import { mkdir, open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DatasetError, splitText, type Tokenizer } from "@frugal/language-model";
import { z } from "zod";
import { readBoundedJson, replaceFile, sizeOfFile } from "../files.ts";
import { FormatError, SettingsError } from "../errors.ts";
import { makeTokenizer, openSavedTokenizer, type TokenizerChoice, type TokenizerKind } from "./data-tokenizer.ts";
import { loadText, textSourceName, type TextSource } from "./text-files.ts";

/** What `prepareData` is given. */
export interface DataOptions {
  /** Default "moby-dick". */
  readonly text?: TextSource | undefined;
  /** Default "bytes". */
  readonly tokenizer?: TokenizerChoice | undefined;
  /** Share of the text, at its end, that is held out. Default 0.1. */
  readonly validationFraction?: number | undefined;
  /** Made if it is not there; earlier data in it are replaced. */
  readonly folder: string;
}

/** Data that are ready for a job. */
export interface PreparedData {
  /** Absolute. */
  readonly folder: string;
  /** Of tokens.bin, in hexadecimal. */
  readonly sha256: string;
  readonly vocabularySize: number;
  readonly trainingTokens: number;
  readonly validationTokens: number;
}

/** Opened data. */
export interface TokenData {
  readonly tokens: Int32Array;
  readonly validation: Int32Array;
  readonly vocabularySize: number;
}

/** Tokens of one file: 2 GiB of them. */
const LARGEST_TOKEN_COUNT = 1 << 29;
const LARGEST_DATA_JSON_BYTES = 1 << 20;
const FIX = "Run prepareData again";

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);
const partSchema = z.object({ tokens: z.int().min(2).max(LARGEST_TOKEN_COUNT), sha256: sha256Schema });
const dataSchema = z.object({
  formatVersion: z.literal(1),
  source: z.string(),
  validationFraction: z.number().min(0).max(1),
  tokenizer: z.enum(["bytes", "byte-pair", "hugging-face"]),
  vocabularySize: z.int().min(1).max(1 << 24),
  training: partSchema,
  validation: partSchema,
});

/** Text is tokenised in pieces of about this many characters, so that lists of ids stay short. */
const PIECE_CHARACTERS = 1 << 20;

/** Where a piece that begins at `start` ends: before a space within words, where no byte-pair encoding of GPT-2's kind joins anything. */
function endOfPiece(text: string, start: number): number {
  const wanted = start + PIECE_CHARACTERS;
  for (let at = wanted; at < Math.min(text.length - 1, wanted + PIECE_CHARACTERS); at++) {
    if (text[at] === " " && /\S/.test(text[at - 1]!) && /\S/.test(text[at + 1]!)) return at;
  }
  // A script without spaces: anywhere but within a surrogate pair.
  const last = Math.min(text.length, wanted + PIECE_CHARACTERS);
  return last < text.length && /[\uDC00-\uDFFF]/.test(text[last]!) ? last - 1 : last;
}

/** All ids of a text. Pieces are encoded by themselves, without begin or end tokens. */
export function tokenizeText(text: string, tokenizer: Tokenizer): Int32Array<ArrayBuffer> {
  const parts: Int32Array[] = [];
  let length = 0;
  for (let start = 0; start < text.length;) {
    const end = endOfPiece(text, start);
    const ids = Int32Array.from(tokenizer.encode(text.slice(start, end), { bos: false }));
    parts.push(ids);
    length += ids.length;
    if (length > LARGEST_TOKEN_COUNT) throw new SettingsError(`text: more than ${LARGEST_TOKEN_COUNT} tokens; give less text`);
    start = end;
  }
  const tokens = new Int32Array(length);
  let at = 0;
  for (const part of parts) {
    tokens.set(part, at);
    at += part.length;
  }
  return tokens;
}

const bytesOf = (tokens: Int32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
  new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength);
const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

function split(text: string, fraction: number): { train: string; validation: string } {
  try {
    return splitText(text, fraction);
  } catch (cause) {
    if (!(cause instanceof DatasetError)) throw cause;
    throw new SettingsError(`text: ${cause.message}`, { cause });
  }
}

/**
 * Tokenises a text and writes what a job reads: tokens.bin and validation.bin (int32, little-endian), tokenizer.json and
 * tokenizer_config.json (Hugging Face), and data.json, which says what they are. Each is replaced in one step, data.json last: until then
 * the folder's old data.json does not fit the new files, and is refused.
 * @throws SettingsError naming the option, FormatError naming the file
 */
export async function prepareData(options: DataOptions): Promise<PreparedData> {
  const { text: source = "moby-dick", tokenizer: choice = "bytes", validationFraction = 0.1 } = options;
  const folder = resolve(options.folder);
  const text = await loadText(source);
  const parts = split(text, validationFraction);
  const { kind, tokenizer, json, config } = await makeTokenizer(choice, parts.train);
  const training = bytesOf(tokenizeText(parts.train, tokenizer));
  const validation = bytesOf(tokenizeText(parts.validation, tokenizer));
  for (const [name, bytes] of [["training", training], ["validation", validation]] as const) {
    if (bytes.byteLength < 8) throw new SettingsError(`text: the ${name} part has ${bytes.byteLength / 4} tokens; give more text`);
  }
  const { vocabularySize } = tokenizer;
  const part = (bytes: Uint8Array): z.infer<typeof partSchema> => ({ tokens: bytes.byteLength / 4, sha256: sha256Of(bytes) });
  const data: z.infer<typeof dataSchema> = {
    formatVersion: 1, source: textSourceName(source), validationFraction, tokenizer: kind, vocabularySize,
    training: part(training), validation: part(validation),
  };
  await mkdir(folder, { recursive: true });
  await replaceFile(join(folder, "tokens.bin"), training);
  await replaceFile(join(folder, "validation.bin"), validation);
  await replaceFile(join(folder, "tokenizer.json"), JSON.stringify(json));
  await replaceFile(join(folder, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
  await replaceFile(join(folder, "data.json"), `${JSON.stringify(data, null, 2)}\n`);
  return {
    folder, sha256: data.training.sha256, vocabularySize,
    trainingTokens: data.training.tokens, validationTokens: data.validation.tokens,
  };
}

async function readDescription(folder: string): Promise<z.infer<typeof dataSchema>> {
  const path = join(folder, "data.json");
  const parsed = dataSchema.safeParse(await readBoundedJson(path, LARGEST_DATA_JSON_BYTES, FIX));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new FormatError(path, `${issue.path.join(".") || "data"}: ${issue.message}. ${FIX}`);
}

async function readTokens(path: string, expected: z.infer<typeof partSchema>, vocabularySize: number): Promise<Int32Array> {
  const size = await sizeOfFile(path, FIX);
  if (size !== expected.tokens * 4) throw new FormatError(path, `has ${size} bytes, not those of ${expected.tokens} tokens. ${FIX}`);
  const bytes = new Uint8Array(size);
  const handle = await open(path, "r");
  try {
    for (let done = 0; done < size;) {
      const { bytesRead } = await handle.read(bytes, done, Math.min(size - done, 1 << 24), done);
      if (bytesRead === 0) throw new FormatError(path, `ends at byte ${done} of ${size}. ${FIX}`);
      done += bytesRead;
    }
  } finally {
    await handle.close();
  }
  const sha256 = sha256Of(bytes);
  if (sha256 !== expected.sha256) throw new FormatError(path, `has the sha256 ${sha256}, expected ${expected.sha256}. ${FIX}`);
  const tokens = new Int32Array(bytes.buffer);
  const strange = tokens.findIndex((id) => id < 0 || id >= vocabularySize);
  if (strange >= 0) throw new FormatError(path, `token ${strange} is ${tokens[strange]}, the vocabulary has ${vocabularySize}. ${FIX}`);
  return tokens;
}

/**
 * Opens what `prepareData` wrote, checked against data.json: sizes, hashes, ids within the vocabulary.
 * @param sha256 of tokens.bin, that of the job; absent: any
 * @throws FormatError naming the file and what to do
 */
export async function openData(folder: string, sha256?: string): Promise<TokenData> {
  const { training, validation, vocabularySize } = await readDescription(folder);
  if (sha256 !== undefined && training.sha256 !== sha256) {
    const found = `holds tokens of sha256 ${training.sha256}, the job is for ${sha256}`;
    throw new FormatError(join(folder, "data.json"), `${found}; name the job's data`);
  }
  return {
    tokens: await readTokens(join(folder, "tokens.bin"), training, vocabularySize),
    validation: await readTokens(join(folder, "validation.bin"), validation, vocabularySize),
    vocabularySize,
  };
}

/** What is in a data folder, without reading its tokens. @throws FormatError naming the file */
export async function describeData(folder: string): Promise<PreparedData> {
  const { training, validation, vocabularySize } = await readDescription(folder);
  return {
    folder: resolve(folder), sha256: training.sha256, vocabularySize,
    trainingTokens: training.tokens, validationTokens: validation.tokens,
  };
}

/** The tokenizer of a data folder. @throws FormatError naming the file */
export async function openTokenizer(folder: string): Promise<Tokenizer> {
  const { tokenizer, vocabularySize } = await readDescription(folder);
  const opened = await openSavedTokenizer(folder, tokenizer satisfies TokenizerKind);
  if (opened.vocabularySize === vocabularySize) return opened;
  throw new FormatError(join(folder, "tokenizer.json"), `has ${opened.vocabularySize} tokens, data.json says ${vocabularySize}. ${FIX}`);
}
