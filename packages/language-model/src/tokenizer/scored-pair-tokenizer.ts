import { TokenizerError } from "../errors.ts";
import { byteStreamDecoder, decodeAll, type ByteVocabulary } from "./byte-stream.ts";
import { mergeSymbols, type MergeLookup } from "./merge-queue.ts";
import { splitAtSpecialTokens } from "./special-tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A SentencePiece byte-pair vocabulary with scores, as llama2.c and GGUF llama files hold it. */
export interface ScoredPairVocabulary {
  /** Text of each token with plain spaces; empty for byte and special tokens, which text never matches. */
  readonly pieces: readonly string[];
  /** The pair whose merged piece has the highest score is merged first. */
  readonly scores: Float32Array;
  /** Token that stands for byte b, at index b; -1 where the vocabulary has none. */
  readonly byteTokenIds: Int32Array;
  /** Tokens without text, such as begin and end. */
  readonly specialTokenIds: ReadonlySet<number>;
  /** Names of special tokens, for `parseSpecial`. */
  readonly specialTokenNames: ReadonlyMap<string, number>;
  readonly bosTokenId?: number;
  readonly eosTokenIds: readonly number[];
  readonly unknownTokenId?: number;
  /** Put a space before the text, so that its first word is a word like the others. */
  readonly addSpacePrefix: boolean;
  /** Read U+2581 in text as a space, as SentencePiece does; otherwise it is a character like any other. */
  readonly metaspaceIsSpace: boolean;
}

/** What SentencePiece writes for a space inside tokens. */
export const METASPACE = "\u2581";

/** Words with the spaces before them. */
const WORDS = / *[^ ]+| +/g;
const CROSSES_WORDS = /[^ ] /;

/** Words are encoded once and remembered, up to this many. */
const REMEMBERED_WORDS = 1 << 16;
const LONGEST_REMEMBERED_WORD = 64;

/** Makes the tokenizer of a scored-pair vocabulary. Encoding n characters takes O(n log n). */
export function createScoredPairTokenizer(vocabulary: ScoredPairVocabulary): Tokenizer {
  const { pieces, scores, byteTokenIds, specialTokenIds, bosTokenId, eosTokenIds, unknownTokenId } = vocabulary;
  const idByPiece = new Map<string, number>();
  pieces.forEach((piece, id) => {
    // The first of equal pieces wins, as it does in SentencePiece.
    if (piece !== "" && !idByPiece.has(piece)) idByPiece.set(piece, id);
  });
  const utf8 = new TextEncoder();
  const tokenBytes: (Uint8Array | undefined)[] = pieces.map((piece, id) => (specialTokenIds.has(id) ? undefined : utf8.encode(piece)));
  byteTokenIds.forEach((id, byte) => {
    if (id >= 0) tokenBytes[id] = Uint8Array.of(byte);
  });
  const bytes: ByteVocabulary = { vocabularySize: pieces.length, tokenBytes: (id) => tokenBytes[id] };

  const lookup: MergeLookup = (leftId, rightId) => {
    const left = pieces[leftId] as string;
    const right = pieces[rightId] as string;
    const mergedId = left === "" || right === "" ? undefined : idByPiece.get(left + right);
    return mergedId === undefined ? undefined : { priority: -(scores[mergedId] as number), mergedId };
  };

  const appendCharacter = (symbols: number[], character: string): void => {
    const id = idByPiece.get(character);
    if (id !== undefined) {
      symbols.push(id);
      return;
    }
    const fallback = Array.from(utf8.encode(character), (byte) => byteTokenIds[byte] as number);
    if (fallback.every((token) => token >= 0)) symbols.push(...fallback);
    else if (unknownTokenId !== undefined) symbols.push(unknownTokenId);
    else throw new TokenizerError(`the vocabulary has no token for ${JSON.stringify(character)}, no byte tokens and no unknown token`);
  };

  const encodeWord = (word: string): readonly number[] => {
    const symbols: number[] = [];
    for (const character of word) appendCharacter(symbols, character);
    return mergeSymbols(symbols, lookup);
  };
  // Where no piece reaches from one word into the next, merges never meet across words, and each word can be encoded by itself.
  const wordsAreApart = !pieces.some((piece) => CROSSES_WORDS.test(piece));
  const knownWords = new Map<string, readonly number[]>();

  const appendText = (ids: number[], text: string): void => {
    if (text === "") return;
    const prefixed = vocabulary.addSpacePrefix ? ` ${text}` : text;
    const spaced = vocabulary.metaspaceIsSpace ? prefixed.replaceAll(METASPACE, " ") : prefixed;
    for (const [word] of wordsAreApart ? spaced.matchAll(WORDS) : [[spaced] as const]) {
      let encoded = knownWords.get(word);
      if (encoded === undefined) {
        encoded = encodeWord(word);
        if (word.length <= LONGEST_REMEMBERED_WORD && knownWords.size < REMEMBERED_WORDS) knownWords.set(word, encoded);
      }
      for (const id of encoded) ids.push(id);
    }
  };

  return {
    vocabularySize: pieces.length,
    ...(bosTokenId === undefined ? {} : { bosTokenId }),
    eosTokenIds,
    encode(text, options = {}) {
      const ids: number[] = [];
      if (bosTokenId !== undefined && (options.bos ?? true)) ids.push(bosTokenId);
      const parts = options.parseSpecial === true ? splitAtSpecialTokens(text, vocabulary.specialTokenNames) : [text];
      for (const part of parts) {
        if (typeof part === "number") ids.push(part);
        else appendText(ids, part);
      }
      const eos = eosTokenIds[0];
      if (eos !== undefined && options.eos === true) ids.push(eos);
      return ids;
    },
    decode(ids) {
      return decodeAll(byteStreamDecoder(bytes, vocabulary.addSpacePrefix), ids);
    },
    streamDecoder(options = {}) {
      return byteStreamDecoder(bytes, vocabulary.addSpacePrefix && options.continuation !== true);
    },
  };
}
