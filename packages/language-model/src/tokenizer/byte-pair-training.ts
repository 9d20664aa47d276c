import { z } from "zod";
import { TokenizerError } from "../errors.ts";
import { BYTE_CHARACTERS } from "./byte-alphabet.ts";
import { createBytePairTokenizer, WORD_PATTERNS, type BytePairVocabulary } from "./byte-pair-tokenizer.ts";
import { learnMerges } from "./learn-merges.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A tokenizer with the Hugging Face `tokenizer.json` that it can be saved as and that other libraries read. */
export interface TrainedTokenizer extends Tokenizer {
  /** The content of `tokenizer.json`. */
  toJSON(): BytePairTokenizerJson;
}

/** The part of the Hugging Face format that a byte-level byte-pair tokenizer uses. */
export interface BytePairTokenizerJson {
  readonly version: "1.0";
  readonly truncation: null;
  readonly padding: null;
  readonly added_tokens: readonly {
    readonly id: number;
    readonly content: string;
    readonly single_word: boolean;
    readonly lstrip: boolean;
    readonly rstrip: boolean;
    readonly normalized: boolean;
    readonly special: boolean;
  }[];
  readonly normalizer: null;
  readonly pre_tokenizer: ByteLevelJson;
  readonly post_processor: null;
  readonly decoder: ByteLevelJson;
  readonly model: {
    readonly type: "BPE";
    readonly dropout: null;
    readonly unk_token: null;
    readonly continuing_subword_prefix: null;
    readonly end_of_word_suffix: null;
    readonly fuse_unk: boolean;
    readonly byte_fallback: boolean;
    readonly ignore_merges: boolean;
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (readonly [string, string])[];
  };
}

interface ByteLevelJson {
  readonly type: "ByteLevel";
  readonly add_prefix_space: boolean;
  readonly trim_offsets: boolean;
  readonly use_regex: boolean;
}

/** Options of `trainBytePairEncoding`. */
export interface BytePairTrainingOptions {
  /** Tokens in all: the end token, 256 bytes, and a merge for each of the rest. */
  readonly vocabularySize: number;
  /** Pairs that occur fewer times are not merged; the vocabulary then stays smaller. Default: 2. */
  readonly minimumFrequency?: number;
}

const END_OF_TEXT = "<|endoftext|>";
const LARGEST_VOCABULARY = 1 << 20;

function makeTokenizer(vocabulary: BytePairVocabulary): TrainedTokenizer {
  return { ...createBytePairTokenizer(vocabulary), toJSON: () => toTokenizerJson(vocabulary) };
}

/**
 * Learns a byte-level byte-pair encoding (Sennrich et al. 2016, with GPT-2's cutting into words) from a text: the most frequent
 * pair is merged, again and again; of equally frequent pairs the one with the smaller ids. Token 0 is `<|endoftext|>`, which both
 * begins and ends texts and is not added by itself.
 * @throws TokenizerError if the vocabulary has no room for the bytes
 */
export function trainBytePairEncoding(text: string, options: BytePairTrainingOptions): TrainedTokenizer {
  const { vocabularySize, minimumFrequency = 2 } = options;
  const first = 1 + BYTE_CHARACTERS.length;
  if (!Number.isInteger(vocabularySize) || vocabularySize < first || vocabularySize > LARGEST_VOCABULARY) {
    throw new TokenizerError(`vocabularySize ${vocabularySize} is not an integer from ${first} to ${LARGEST_VOCABULARY}`);
  }
  // Bytes in the order of their characters, as Hugging Face's trainer numbers them.
  const alphabet = BYTE_CHARACTERS.toSorted();
  const tokens = [END_OF_TEXT, ...alphabet];
  const idByByte = BYTE_CHARACTERS.map((character) => 1 + alphabet.indexOf(character));
  const counts = new Map<string, number>();
  for (const [word] of text.matchAll(WORD_PATTERNS["gpt-2"])) counts.set(word, (counts.get(word) ?? 0) + 1);
  const utf8 = new TextEncoder();
  const words = [...counts].map(([word, count]) => ({ symbols: Array.from(utf8.encode(word), (byte) => idByByte[byte] as number), count }));
  const merges: [string, string][] = [];
  const idByToken = new Map(tokens.map((token, id) => [token, id]));
  learnMerges(words, minimumFrequency, (left, right) => {
    if (tokens.length >= vocabularySize) return undefined;
    const pair: [string, string] = [tokens[left] as string, tokens[right] as string];
    const merged = pair[0] + pair[1];
    merges.push(pair);
    // Two pairs can make the same token ("a"+"bc", "ab"+"c"): it keeps its first id.
    const known = idByToken.get(merged);
    if (known !== undefined) return known;
    idByToken.set(merged, tokens.length);
    return tokens.push(merged) - 1;
  });
  return makeTokenizer(vocabularyOf(tokens, merges));
}

function vocabularyOf(tokens: readonly string[], merges: readonly (readonly [string, string])[]): BytePairVocabulary {
  return {
    tokens,
    merges,
    specialTokenIds: new Set([0]),
    wordPattern: WORD_PATTERNS["gpt-2"],
    bosTokenId: 0,
    addBos: false,
    eosTokenIds: [0],
  };
}

function toTokenizerJson({ tokens, merges }: BytePairVocabulary): BytePairTokenizerJson {
  const byteLevel: ByteLevelJson = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [{ id: 0, content: END_OF_TEXT, ...special }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

const savedSchema = z.object({
  added_tokens: z.tuple([z.object({ id: z.literal(0), content: z.literal(END_OF_TEXT), special: z.literal(true) })]),
  normalizer: z.null(),
  post_processor: z.null(),
  pre_tokenizer: z.object({ type: z.literal("ByteLevel"), add_prefix_space: z.literal(false), use_regex: z.literal(true) }),
  model: z.object({
    type: z.literal("BPE"),
    vocab: z.record(z.string(), z.int().min(0).max(LARGEST_VOCABULARY)),
    merges: z.array(z.tuple([z.string(), z.string()])).max(LARGEST_VOCABULARY),
  }),
});

/**
 * Makes a trained tokenizer again from its saved JSON. For the `tokenizer.json` of other models use `createHuggingFaceTokenizer`.
 * @throws TokenizerError if the JSON is not of a tokenizer that `trainBytePairEncoding` made
 */
export function loadTrainedTokenizer(json: unknown): TrainedTokenizer {
  const result = savedSchema.safeParse(json);
  if (!result.success) {
    const issues = result.error.issues.slice(0, 4).map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    throw new TokenizerError(`not a tokenizer made by trainBytePairEncoding: ${issues.join("; ")}`);
  }
  const { vocab, merges } = result.data.model;
  const entries = Object.entries(vocab);
  const tokens: (string | undefined)[] = Array<string | undefined>(entries.length).fill(undefined);
  for (const [token, id] of entries) {
    if (id >= tokens.length || tokens[id] !== undefined) throw new TokenizerError(`token ids are not 0 to ${tokens.length - 1}, each once`);
    tokens[id] = token;
  }
  if (tokens[0] !== END_OF_TEXT) throw new TokenizerError(`token 0 is not ${END_OF_TEXT}`);
  return makeTokenizer(vocabularyOf(tokens as string[], merges));
}
