import { byteStreamDecoder, decodeAll, type ByteVocabulary } from "./byte-stream.ts";
import { splitAtSpecialTokens } from "./special-tokens.ts";
import type { Tokenizer } from "./tokenizer.ts";

const BOS = 256;
const EOS = 257;
const NAMES: ReadonlyMap<string, number> = new Map([
  ["<s>", BOS],
  ["</s>", EOS],
]);

/**
 * A tokenizer without training: token b is the UTF-8 byte b, 256 begins and 257 ends a text (neither is added unless asked for).
 */
export function createByteTokenizer(): Tokenizer {
  const utf8 = new TextEncoder();
  const vocabulary: ByteVocabulary = {
    vocabularySize: 258,
    tokenBytes: (id) => (id < 256 ? Uint8Array.of(id) : undefined),
  };
  return {
    vocabularySize: vocabulary.vocabularySize,
    bosTokenId: BOS,
    eosTokenIds: [EOS],
    encode(text, options = {}) {
      const ids: number[] = options.bos === true ? [BOS] : [];
      for (const part of options.parseSpecial === true ? splitAtSpecialTokens(text, NAMES) : [text]) {
        if (typeof part === "number") ids.push(part);
        else for (const byte of utf8.encode(part)) ids.push(byte);
      }
      if (options.eos === true) ids.push(EOS);
      return ids;
    },
    decode: (ids) => decodeAll(byteStreamDecoder(vocabulary, false), ids),
    streamDecoder: () => byteStreamDecoder(vocabulary, false),
  };
}
