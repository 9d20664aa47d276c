import { TokenizerError } from "../errors.ts";
import type { StreamDecoder } from "./tokenizer.ts";

/** Vocabulary seen as bytes, which is all that streaming needs. */
export interface ByteVocabulary {
  readonly vocabularySize: number;
  /** Bytes of a token; undefined for special tokens, which have no text. */
  tokenBytes(id: number): Uint8Array | undefined;
}

const SPACE = 0x20;

/**
 * Decodes ids through their bytes, emitting only whole UTF-8 characters.
 * @param stripLeadingSpace remove one space from the start of the text, the inverse of tokenizers that put one there
 */
export function byteStreamDecoder(vocabulary: ByteVocabulary, stripLeadingSpace: boolean): StreamDecoder {
  const newDecoder = (): TextDecoder => new TextDecoder("utf-8", { ignoreBOM: true });
  let decoder = newDecoder();
  let strip = stripLeadingSpace;
  return {
    push(id) {
      checkTokenId(id, vocabulary.vocabularySize);
      let bytes = vocabulary.tokenBytes(id);
      if (bytes === undefined) return "";
      if (strip && bytes.length > 0) {
        strip = false;
        if (bytes[0] === SPACE) bytes = bytes.subarray(1);
      }
      return decoder.decode(bytes, { stream: true });
    },
    end() {
      const rest = decoder.decode();
      decoder = newDecoder();
      strip = stripLeadingSpace;
      return rest;
    },
  };
}

/** Decodes all ids at once through a stream decoder. */
export function decodeAll(decoder: StreamDecoder, ids: Iterable<number>): string {
  let text = "";
  for (const id of ids) text += decoder.push(id);
  return text + decoder.end();
}

/** @throws TokenizerError unless `id` is an integer in the vocabulary. */
export function checkTokenId(id: number, vocabularySize: number): void {
  if (!Number.isInteger(id) || id < 0 || id >= vocabularySize) {
    throw new TokenizerError(`token id ${id} is not in the vocabulary of ${vocabularySize}`);
  }
}
