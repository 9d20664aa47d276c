import { TokenizerError } from "../errors.ts";
import { BYTE_CHARACTERS, bytesOfSpelling } from "./byte-alphabet.ts";
import { byteStreamDecoder, decodeAll, type ByteVocabulary } from "./byte-stream.ts";
import { mergeSymbols, type MergeLookup } from "./merge-queue.ts";
import { splitAtSpecialTokens } from "./special-tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A byte-level byte-pair vocabulary (GPT-2, Llama 3, Qwen2). */
export interface BytePairVocabulary {
  /** Spelling of each token in the byte alphabet; of special tokens, their names. */
  readonly tokens: readonly string[];
  /** Pairs of spellings, the first merged first. */
  readonly merges: readonly (readonly [string, string])[];
  /** Tokens without text, such as begin and end. */
  readonly specialTokenIds: ReadonlySet<number>;
  /** Added tokens that stand for their own text; like special ones they are read by name under `parseSpecial`. */
  readonly addedTokenIds?: ReadonlySet<number>;
  /** Cuts text into words that merges do not cross; a global regular expression that matches everything piece by piece. */
  readonly wordPattern: RegExp;
  readonly bosTokenId?: number;
  /** Whether `encode` puts the begin token first by default. */
  readonly addBos: boolean;
  readonly eosTokenIds: readonly number[];
}

const CONTRACTIONS = "'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])";

/** Word patterns by their names in GGUF (`tokenizer.ggml.pre`). */
export const WORD_PATTERNS: Readonly<Record<"gpt-2" | "llama-bpe" | "qwen2", RegExp>> = {
  "gpt-2": /'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu,
  "llama-bpe": new RegExp(
    `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
    "gu",
  ),
  qwen2: new RegExp(
    `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
    "gu",
  ),
};

/** Pairs of ids are keys of one number each. */
const PAIR_BASE = 2 ** 26;

/** Words are encoded once and remembered, up to this many. */
const CACHED_WORDS = 1 << 16;
const LONGEST_CACHED_WORD = 64;

/**
 * Makes the tokenizer of a byte-level byte-pair vocabulary.
 * @throws TokenizerError if a byte has no token, a merge does not name tokens, or a token occurs twice
 */
export function createBytePairTokenizer(vocabulary: BytePairVocabulary): Tokenizer {
  const { tokens, specialTokenIds, bosTokenId, eosTokenIds } = vocabulary;
  const idByToken = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (idByToken.has(token)) throw new TokenizerError(`token ${JSON.stringify(token)} occurs twice, as ${idByToken.get(token)} and ${id}`);
    idByToken.set(token, id);
  });
  const idOf = (token: string): number => {
    const id = idByToken.get(token);
    if (id === undefined) throw new TokenizerError(`token ${JSON.stringify(token)} is not in the vocabulary`);
    return id;
  };
  const byteIds = BYTE_CHARACTERS.map(idOf);
  const merges = new Map<number, { readonly priority: number; readonly mergedId: number }>();
  vocabulary.merges.forEach(([left, right], priority) => {
    const key = idOf(left) * PAIR_BASE + idOf(right);
    if (!merges.has(key)) merges.set(key, { priority, mergedId: idOf(left + right) });
  });
  const tokenBytes = tokens.map((token, id) => {
    if (specialTokenIds.has(id)) return undefined;
    const bytes = vocabulary.addedTokenIds?.has(id) ? undefined : bytesOfSpelling(token);
    return bytes ?? new TextEncoder().encode(token);
  });
  const named = [...specialTokenIds, ...(vocabulary.addedTokenIds ?? [])];
  const specialNames = new Map(named.map((id) => [tokens[id] ?? "", id]));
  const bytes: ByteVocabulary = { vocabularySize: tokens.length, tokenBytes: (id) => tokenBytes[id] };
  const lookup: MergeLookup = (left, right) => merges.get(left * PAIR_BASE + right);
  const utf8 = new TextEncoder();
  const cache = new Map<string, readonly number[]>();

  const encodeWord = (word: string): readonly number[] => {
    const known = cache.get(word);
    if (known !== undefined) return known;
    const ids = mergeSymbols(
      Array.from(utf8.encode(word), (byte) => byteIds[byte] as number),
      lookup,
    );
    if (word.length <= LONGEST_CACHED_WORD && cache.size < CACHED_WORDS) cache.set(word, ids);
    return ids;
  };

  return {
    vocabularySize: tokens.length,
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    eosTokenIds,
    encode(text, options = {}) {
      const ids: number[] = [];
      if (bosTokenId !== undefined && (options.bos ?? vocabulary.addBos)) ids.push(bosTokenId);
      for (const part of options.parseSpecial === true ? splitAtSpecialTokens(text, specialNames) : [text]) {
        if (typeof part === "number") {
          ids.push(part);
          continue;
        }
        for (const [word] of part.matchAll(vocabulary.wordPattern)) for (const id of encodeWord(word)) ids.push(id);
      }
      const eos = eosTokenIds[0];
      if (eos !== undefined && options.eos === true) ids.push(eos);
      return ids;
    },
    decode: (ids) => decodeAll(byteStreamDecoder(bytes, false), ids),
    streamDecoder: () => byteStreamDecoder(bytes, false),
  };
}
