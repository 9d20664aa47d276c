import { TokenizerError } from "../errors.ts";
import type { GgufValue } from "../weights/gguf/gguf-header.ts";
import { createBytePairTokenizer, WORD_PATTERNS } from "./byte-pair-tokenizer.ts";
import { createScoredPairTokenizer, METASPACE } from "./scored-pair-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

type Metadata = ReadonlyMap<string, GgufValue>;

/** Values of `tokenizer.ggml.token_type`. */
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

/** GGUF names of word patterns, by the pattern they stand for. */
const PATTERN_NAMES: Readonly<Record<string, keyof typeof WORD_PATTERNS>> = {
  default: "gpt-2",
  "gpt-2": "gpt-2",
  "llama-bpe": "llama-bpe",
  llama3: "llama-bpe",
  "llama-v3": "llama-bpe",
  smaug: "llama-bpe",
  qwen2: "qwen2",
};

function array<T>(metadata: Metadata, key: string, isItem: (value: GgufValue) => value is T & GgufValue, what: string): readonly T[] {
  const value = metadata.get(key);
  if (!Array.isArray(value)) throw new TokenizerError(`GGUF: ${key} is missing or not an array`);
  for (const item of value as readonly GgufValue[]) {
    if (!isItem(item)) throw new TokenizerError(`GGUF: ${key} holds something that is not ${what}`);
  }
  return value as readonly T[];
}

const isString = (value: GgufValue): value is string => typeof value === "string";
const isNumber = (value: GgufValue): value is number => typeof value === "number" && Number.isFinite(value);

function tokenId(metadata: Metadata, key: string, vocabularySize: number): number | undefined {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value >= vocabularySize) {
    throw new TokenizerError(`GGUF: ${key} ${String(value)} is not in the vocabulary of ${vocabularySize}`);
  }
  return value;
}

function flag(metadata: Metadata, key: string, otherwise: boolean): boolean {
  const value = metadata.get(`tokenizer.ggml.${key}`);
  if (value !== undefined && typeof value !== "boolean") throw new TokenizerError(`GGUF: ${key} is not a boolean`);
  return value ?? otherwise;
}

interface Common {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}

function idsOfType({ types }: Common, ...wanted: readonly number[]): Set<number> {
  return new Set(types.flatMap((type, id) => (wanted.includes(type) ? [id] : [])));
}

function scoredPairs(metadata: Metadata, common: Common): Tokenizer {
  const { tokens, types, bosTokenId, eosTokenIds } = common;
  const scores = array(metadata, "tokenizer.ggml.scores", isNumber, "a finite number");
  if (scores.length !== tokens.length) throw new TokenizerError(`GGUF: ${scores.length} scores for ${tokens.length} tokens`);
  const byteTokenIds = new Int32Array(256).fill(-1);
  const pieces = tokens.map((token, id) => {
    const type = types[id] as number;
    if (type === BYTE) {
      const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
      if (match === null) throw new TokenizerError(`GGUF: byte token ${id} is called ${JSON.stringify(token)}`);
      byteTokenIds[Number.parseInt(match[1] as string, 16)] = id;
      return "";
    }
    return type === CONTROL || type === UNKNOWN ? "" : token.replaceAll(METASPACE, " ");
  });
  const named = idsOfType(common, CONTROL, USER_DEFINED);
  const unknownTokenId = tokenId(metadata, "unknown_token_id", tokens.length);
  const tokenizer = createScoredPairTokenizer({
    pieces,
    scores: Float32Array.from(scores),
    byteTokenIds,
    specialTokenIds: idsOfType(common, CONTROL, UNKNOWN),
    specialTokenNames: new Map([...named].map((id) => [tokens[id] as string, id])),
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    eosTokenIds,
    ...(unknownTokenId === undefined ? {} : { unknownTokenId }),
    addSpacePrefix: flag(metadata, "add_space_prefix", true),
    metaspaceIsSpace: true,
  });
  if (flag(metadata, "add_bos_token", true)) return tokenizer;
  return { ...tokenizer, encode: (text, options = {}) => tokenizer.encode(text, { ...options, bos: options.bos ?? false }) };
}

function bytePairs(metadata: Metadata, common: Common): Tokenizer {
  const { tokens, bosTokenId, eosTokenIds } = common;
  const pre = metadata.get("tokenizer.ggml.pre") ?? "default";
  const pattern = typeof pre === "string" && Object.hasOwn(PATTERN_NAMES, pre) ? PATTERN_NAMES[pre] : undefined;
  if (pattern === undefined)
    throw new TokenizerError(`GGUF: word pattern ${JSON.stringify(pre)} is not supported; known are gpt-2, llama-bpe, qwen2`);
  const merges = array(metadata, "tokenizer.ggml.merges", isString, "text").map((merge): [string, string] => {
    // Spellings hold no spaces: the byte alphabet writes a space as U+0120.
    const parts = merge.split(" ");
    if (parts.length !== 2) throw new TokenizerError(`GGUF: merge ${JSON.stringify(merge)} is not two tokens`);
    return parts as [string, string];
  });
  return createBytePairTokenizer({
    tokens,
    merges,
    specialTokenIds: idsOfType(common, CONTROL),
    addedTokenIds: idsOfType(common, USER_DEFINED),
    wordPattern: WORD_PATTERNS[pattern],
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    addBos: flag(metadata, "add_bos_token", pattern === "llama-bpe"),
    eosTokenIds,
  });
}

/**
 * Makes the tokenizer that a GGUF file carries in its metadata: SentencePiece pairs (`llama`) or byte-level pairs (`gpt2`: Llama 3,
 * Qwen2, GPT-2).
 * @throws TokenizerError if it carries none, one of another kind, or a broken one
 */
export function createGgufTokenizer(metadata: Metadata): Tokenizer {
  const model = metadata.get("tokenizer.ggml.model");
  if (model !== "llama" && model !== "gpt2") {
    throw new TokenizerError(
      `GGUF: tokenizer model ${JSON.stringify(model)?.slice(0, 80)} is not supported; supported are "llama" and "gpt2"`,
    );
  }
  const tokens = array(metadata, "tokenizer.ggml.tokens", isString, "text");
  const types = metadata.has("tokenizer.ggml.token_type")
    ? array(metadata, "tokenizer.ggml.token_type", isNumber, "a number")
    : tokens.map(() => 1);
  if (types.length !== tokens.length) throw new TokenizerError(`GGUF: ${types.length} token types for ${tokens.length} tokens`);
  const ends = ["eos_token_id", "eot_token_id"].map((key) => tokenId(metadata, key, tokens.length)).filter((id) => id !== undefined);
  const common: Common = { tokens, types, bosTokenId: tokenId(metadata, "bos_token_id", tokens.length), eosTokenIds: [...new Set(ends)] };
  return model === "llama" ? scoredPairs(metadata, common) : bytePairs(metadata, common);
}
