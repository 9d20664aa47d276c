import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import llamaTokenizer from "llama-tokenizer-js";
import { describe, expect, it } from "vitest";
import { TokenizerError } from "../errors.ts";
import { loadMobyDick } from "../datasets/text-source.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import type { GgufValue } from "../weights/gguf/gguf-header.ts";
import { createGgufTokenizer } from "./gguf-tokenizer.ts";
import { openLlama2cTokenizerFile } from "./llama2c-tokenizer.ts";
import { loadLlamaTokenizer } from "./llama-vocabulary.ts";

const tokenizer = await loadLlamaTokenizer();

/** Real text of many kinds: the novel, the sources of this folder, other scripts, emoji and odd white space. */
async function realTexts(): Promise<string[]> {
  const novel = await loadMobyDick();
  return [
    novel.slice(0, 40_000),
    novel.slice(600_000, 620_000),
    readFileSync(join(import.meta.dirname, "byte-pair-tokenizer.ts"), "utf8"),
    "Ünïcödé — «привет», 你好世界, こんにちは, مرحبا, 🦙🦙 👩‍👩‍👧",
    "e\u0301 \u00a0 \t tab\r\nline   three spaces  ",
    "0 1 23 456 7,890.12 <s> </s> <0x41> [INST] {}\\ 'tis it's",
  ];
}

describe("loadLlamaTokenizer", () => {
  it("gives the golden ids", () => {
    const ids = tokenizer.encode("Once upon a time, there was a little girl");
    expect(ids).toEqual([1, 9038, 2501, 263, 931, 29892, 727, 471, 263, 2217, 7826]);
    expect(tokenizer.vocabularySize).toBe(32000);
  });

  it("agrees with llama-tokenizer-js itself on real text, and gives the text back", async () => {
    for (const text of await realTexts()) {
      const ids = tokenizer.encode(text);
      expect(ids).toEqual(llamaTokenizer.encode(text));
      expect(tokenizer.decode(ids)).toBe(text);
    }
  });

  it("reads special names only when asked to", () => {
    expect(tokenizer.encode("a</s>b", { bos: false, parseSpecial: true })).toEqual([263, 2, 289]);
    expect(tokenizer.encode("a</s>b", { bos: false })).not.toContain(2);
    expect(tokenizer.decode([1, 263, 2, 289])).toBe("a b");
  });

  it("encodes any string without loss", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 80 }), (text) => {
        // The metaspace is the one character that this vocabulary cannot tell from a space.
        expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.replaceAll("\u2581", " "));
      }),
    );
  });
});

describe("createGgufTokenizer with SentencePiece metadata", () => {
  const tokens = llamaTokenizer.vocabById;
  const metadata = (changes: Record<string, GgufValue | undefined> = {}): Map<string, GgufValue> => {
    const values: Record<string, GgufValue | undefined> = {
      "tokenizer.ggml.model": "llama",
      "tokenizer.ggml.tokens": tokens,
      "tokenizer.ggml.scores": tokens.map((token, id) => (token.replaceAll("\u2581", "") === "" ? -1e9 : -id)),
      "tokenizer.ggml.token_type": tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1)),
      "tokenizer.ggml.bos_token_id": 1,
      "tokenizer.ggml.eos_token_id": 2,
      "tokenizer.ggml.unknown_token_id": 0,
      ...changes,
    };
    return new Map(Object.entries(values).filter((entry): entry is [string, GgufValue] => entry[1] !== undefined));
  };

  it("agrees with the Llama vocabulary on real text", async () => {
    const fromGguf = createGgufTokenizer(metadata());
    expect(fromGguf).toMatchObject({ bosTokenId: 1, eosTokenIds: [2], vocabularySize: 32000 });
    for (const text of await realTexts()) expect(fromGguf.encode(text)).toEqual(tokenizer.encode(text));
  });

  it("follows add_bos_token and add_space_prefix", () => {
    const plain = createGgufTokenizer(metadata({ "tokenizer.ggml.add_bos_token": false, "tokenizer.ggml.add_space_prefix": false }));
    expect(plain.encode("upon")).toEqual([786, 265]);
    expect(plain.encode("upon", { bos: true })).toEqual([1, 786, 265]);
    expect(plain.decode(plain.encode(" upon"))).toBe(" upon");
  });

  it("refuses broken metadata", () => {
    const broken: [Record<string, GgufValue | undefined>, string][] = [
      [{ "tokenizer.ggml.model": "bert" }, '"bert" is not supported'],
      [{ "tokenizer.ggml.model": undefined }, "not supported"],
      [{ "tokenizer.ggml.tokens": undefined }, "tokens is missing"],
      [{ "tokenizer.ggml.tokens": [1, 2] }, "not text"],
      [{ "tokenizer.ggml.scores": [1, 2] }, "2 scores"],
      [{ "tokenizer.ggml.scores": tokens.map(() => NaN) }, "finite"],
      [{ "tokenizer.ggml.token_type": [1] }, "1 token types"],
      [{ "tokenizer.ggml.token_type": tokens.map(() => 6) }, "byte token 0"],
      [{ "tokenizer.ggml.bos_token_id": 32000 }, "bos_token_id 32000"],
      [{ "tokenizer.ggml.add_bos_token": 1 }, "not a boolean"],
    ];
    for (const [changes, message] of broken) {
      expect(() => createGgufTokenizer(metadata(changes)), message).toThrow(TokenizerError);
      expect(() => createGgufTokenizer(metadata(changes))).toThrow(message);
    }
  });
});

const path = sharedData("stories15M", "tokenizer.bin");
it.skipIf(path === undefined)("llama2.c's tokenizer.bin agrees on real text", async () => {
  const llama2c = await openLlama2cTokenizerFile(path as string);
  for (const text of await realTexts()) expect(llama2c.encode(text)).toEqual(tokenizer.encode(text));
});
