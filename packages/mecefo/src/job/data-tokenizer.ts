import { stat } from "node:fs/promises";
import { join } from "node:path";
import {
  createByteTokenizer, createHuggingFaceTokenizer, LanguageModelError, loadTrainedTokenizer, trainBytePairEncoding, type Tokenizer,
} from "@frugal/language-model";
import { readBoundedJson } from "../files.ts";
import { FormatError, SettingsError } from "../errors.ts";

/** How text becomes tokens: its bytes, a vocabulary learnt from it, or a Hugging Face `tokenizer.json` (or the folder of one). */
export type TokenizerChoice = "bytes" | { readonly bytePair: number } | (string & {});

/** How a folder's tokenizer is opened. */
export type TokenizerKind = "bytes" | "byte-pair" | "hugging-face";

/** A tokenizer with what is written beside the tokens. */
export interface DataTokenizer {
  readonly kind: TokenizerKind;
  readonly tokenizer: Tokenizer;
  /** Content of `tokenizer.json`, in Hugging Face's form. */
  readonly json: unknown;
  /** Content of `tokenizer_config.json`. */
  readonly config: unknown;
}

/** The largest published ones have some 30 MB. */
const LARGEST_TOKENIZER_BYTES = 1 << 27;

/** GPT-2's characters for bytes: printable ones stand for themselves, the others follow from U+0100 on. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
}

/** The byte tokenizer as `tokenizer.json`: a byte-level byte-pair encoding without merges. Exported models carry it. */
function byteTokenizerJson(): unknown {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const vocabulary = [...byteCharacters(), "<s>", "</s>"];
  return {
    version: "1.0", truncation: null, padding: null,
    added_tokens: [{ id: 256, content: "<s>", ...special }, { id: 257, content: "</s>", ...special }],
    normalizer: null, pre_tokenizer: byteLevel, post_processor: null, decoder: byteLevel,
    model: {
      type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false,
      byte_fallback: false, ignore_merges: false, vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])), merges: [],
    },
  };
}

const configOf = (bos: string, eos: string): unknown => ({ bos_token: bos, eos_token: eos, tokenizer_class: "PreTrainedTokenizerFast" });

function described<Result>(source: string, make: () => Result): Result {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof LanguageModelError)) throw cause;
    throw new FormatError(source, cause.message, { cause });
  }
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

async function readTokenizer(path: string): Promise<DataTokenizer> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  const file = isFolder ? join(path, "tokenizer.json") : path;
  const fix = 'Give "bytes", { bytePair: size }, or the path of a Hugging Face tokenizer.json';
  const json = await readBoundedJson(file, LARGEST_TOKENIZER_BYTES, fix);
  const configPath = join(file, "..", "tokenizer_config.json");
  const config = (await isFile(configPath)) ? await readBoundedJson(configPath, LARGEST_TOKENIZER_BYTES, fix) : {};
  return { kind: "hugging-face", tokenizer: described(file, () => createHuggingFaceTokenizer(json, config)), json, config };
}

/**
 * The tokenizer for a text.
 * @param trainingText what a vocabulary is learnt from
 * @throws SettingsError for a vocabulary that cannot be learnt, FormatError naming a tokenizer's file that cannot be read
 */
export async function makeTokenizer(choice: TokenizerChoice, trainingText: string): Promise<DataTokenizer> {
  if (choice === "bytes") {
    return { kind: "bytes", tokenizer: createByteTokenizer(), json: byteTokenizerJson(), config: configOf("<s>", "</s>") };
  }
  if (typeof choice === "string") return await readTokenizer(choice);
  try {
    const tokenizer = trainBytePairEncoding(trainingText, { vocabularySize: choice.bytePair });
    return { kind: "byte-pair", tokenizer, json: tokenizer.toJSON(), config: configOf("<|endoftext|>", "<|endoftext|>") };
  } catch (cause) {
    if (!(cause instanceof LanguageModelError)) throw cause;
    throw new SettingsError(`tokenizer: ${cause.message}`, { cause });
  }
}

/** Opens the tokenizer that `prepareData` wrote. @throws FormatError naming the file */
export async function openSavedTokenizer(folder: string, kind: TokenizerKind): Promise<Tokenizer> {
  if (kind === "bytes") return createByteTokenizer();
  const path = join(folder, "tokenizer.json");
  if (kind === "hugging-face") return (await readTokenizer(path)).tokenizer;
  const json = await readBoundedJson(path, LARGEST_TOKENIZER_BYTES, "Run prepareData again");
  return described(path, () => loadTrainedTokenizer(json));
}
