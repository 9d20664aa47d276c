import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { loadMobyDick } from "../datasets/text-source.ts";
import { TokenizerError } from "../errors.ts";
import { BYTE_CHARACTERS, bytesOfSpelling } from "./byte-alphabet.ts";
import { createBytePairTokenizer, WORD_PATTERNS } from "./byte-pair-tokenizer.ts";
import { loadTrainedTokenizer, trainBytePairEncoding, type TrainedTokenizer } from "./byte-pair-training.ts";
import { createByteTokenizer } from "./byte-tokenizer.ts";
import { createGgufTokenizer } from "./gguf-tokenizer.ts";
import { createHuggingFaceTokenizer } from "./hugging-face-tokenizer.ts";
import type { Tokenizer } from "./tokenizer.ts";

const ODD_TEXT = "It's 12,345 o'clock — naïve café 你好 🦙👩‍👩‍👧!\r\n\t  two  spaces\n\n\u0000 end  ";

function streamed(tokenizer: Tokenizer, ids: readonly number[], continuation = false): string {
  const decoder = tokenizer.streamDecoder({ continuation });
  return ids.map((id) => decoder.push(id)).join("") + decoder.end();
}

describe("byte tokenizer", () => {
  it("is UTF-8 with a begin and an end token", () => {
    const tokenizer = createByteTokenizer();
    expect(tokenizer.encode("é!", { bos: true, eos: true })).toEqual([256, 0xc3, 0xa9, 0x21, 257]);
    expect(tokenizer.decode([256, 0xc3, 0xa9, 0x21, 257])).toBe("é!");
    expect(tokenizer.encode("a</s>", { parseSpecial: true })).toEqual([97, 257]);
    expect(tokenizer.encode("</s>")).toHaveLength(4);
    expect(() => tokenizer.decode([258])).toThrow(TokenizerError);
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => streamed(tokenizer, tokenizer.encode(text)) === text));
  });
});

describe("byte alphabet", () => {
  it("spells 256 bytes by distinct characters, ASCII as itself and space as U+0120", () => {
    expect(new Set(BYTE_CHARACTERS).size).toBe(256);
    expect(BYTE_CHARACTERS[0x41]).toBe("A");
    expect(BYTE_CHARACTERS[0x20]).toBe("\u0120");
    expect(BYTE_CHARACTERS[0xad]).toBe("\u0143");
    expect(bytesOfSpelling("\u0120a")).toEqual(Uint8Array.of(0x20, 0x61));
    expect(bytesOfSpelling("你")).toBeUndefined();
  });
});

describe("trainBytePairEncoding", () => {
  it("merges the most frequent pair first, worked out by hand", () => {
    // Words: "ab" twice, " ab" once, " abb" twice. Pairs: ab 5, " a" 3, bb 2.
    const tokenizer = trainBytePairEncoding("ab\nab ab abb abb", { vocabularySize: 257 + 3, minimumFrequency: 1 });
    // Once "ab" is merged, the newline pairs with nothing across words; " ab" occurs 3 times, " abb" 2 times.
    expect(tokenizer.toJSON().model.merges).toEqual([
      ["a", "b"],
      ["\u0120", "ab"],
      ["\u0120ab", "b"],
    ]);
    expect(tokenizer.encode(" abb ab")).toEqual([259, 258]);
    expect(tokenizer.vocabularySize).toBe(260);
  });

  it("stops where nothing is frequent enough, and refuses a vocabulary without room for bytes", () => {
    expect(trainBytePairEncoding("abc", { vocabularySize: 1000 }).vocabularySize).toBe(257);
    expect(trainBytePairEncoding("", { vocabularySize: 1000 }).vocabularySize).toBe(257);
    for (const vocabularySize of [256, 300.5, NaN, 1e9]) {
      expect(() => trainBytePairEncoding("abc", { vocabularySize })).toThrow(TokenizerError);
    }
  });

  it("agrees with counting all pairs anew for every merge", () => {
    const textbook = (text: string, merges: number): string[] => {
      const words = [...text.matchAll(WORD_PATTERNS["gpt-2"])].map(([word]) =>
        [...word].map((letter) => (letter === " " ? "\u0120" : letter)),
      );
      const alphabet = BYTE_CHARACTERS.toSorted();
      const order = new Map(alphabet.map((character, index) => [character, index]));
      const done: string[] = [];
      while (done.length < merges) {
        const counts = new Map<string, number>();
        for (const word of words) {
          for (let at = 0; at + 1 < word.length; at++) {
            const pair = `${word[at]} ${word[at + 1]}`;
            counts.set(pair, (counts.get(pair) ?? 0) + 1);
          }
        }
        const rank = (pair: string): number[] => pair.split(" ").map((token) => order.get(token) as number);
        const best = [...counts].toSorted(
          ([a, x], [b, y]) => y - x || (rank(a)[0] as number) - (rank(b)[0] as number) || (rank(a)[1] as number) - (rank(b)[1] as number),
        )[0];
        if (best === undefined || best[1] < 2) break;
        const [left, right] = best[0].split(" ") as [string, string];
        done.push(best[0]);
        if (!order.has(left + right)) order.set(left + right, order.size);
        for (const word of words) {
          for (let at = 0; at + 1 < word.length; at++) if (word[at] === left && word[at + 1] === right) word.splice(at, 2, left + right);
        }
      }
      return done;
    };
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "b", "c", " "), maxLength: 120 }), (text) => {
        const trained = trainBytePairEncoding(text, { vocabularySize: 257 + 12 });
        expect(trained.toJSON().model.merges.map((pair) => pair.join(" "))).toEqual(textbook(text, 12));
      }),
    );
  });

  describe("on Moby-Dick", () => {
    let text: string;
    let trained: TrainedTokenizer;
    let seconds: number;
    beforeAll(async () => {
      text = await loadMobyDick();
      const start = performance.now();
      trained = trainBytePairEncoding(text, { vocabularySize: 257 + 4096 });
      seconds = (performance.now() - start) / 1000;
    });

    it("learns 4096 merges within seconds and compresses the text", () => {
      expect(trained.vocabularySize).toBe(4353);
      expect(seconds).toBeLessThan(20);
      const ids = trained.encode(text);
      expect(text.length / ids.length).toBeGreaterThan(3.5);
      expect(trained.decode(ids)).toBe(text);
    });

    it("gives back any text, whole or streamed, and never half a character", () => {
      fc.assert(
        fc.property(fc.oneof(fc.string({ unit: "grapheme" }), fc.constant(ODD_TEXT)), (sample) => {
          const ids = trained.encode(sample);
          expect(trained.decode(ids)).toBe(sample);
          expect(streamed(trained, ids)).toBe(sample);
        }),
      );
      expect(trained.encode("a<|endoftext|>", { parseSpecial: true }).at(-1)).toBe(0);
      expect(trained.encode("a", { bos: true, eos: true })).toMatchObject({ 0: 0, 2: 0 });
    });

    it("is saved and loaded, and @huggingface/tokenizers reads it to the same ids", () => {
      const json: unknown = JSON.parse(JSON.stringify(trained.toJSON()));
      const sample = text.slice(300_000, 320_000) + ODD_TEXT;
      const ids = trained.encode(sample);
      expect(loadTrainedTokenizer(json).encode(sample)).toEqual(ids);
      expect(new HuggingFaceTokenizer(json as object, {}).encode(sample).ids).toEqual(ids);
      const adapted = createHuggingFaceTokenizer(json, { bos_token: "<|endoftext|>", eos_token: { content: "<|endoftext|>" } });
      expect(adapted).toMatchObject({ vocabularySize: 4353, bosTokenId: 0, eosTokenIds: [0] });
      expect(adapted.encode(sample)).toEqual(ids);
      expect(adapted.decode(ids)).toBe(sample);
      expect(streamed(adapted, ids)).toBe(sample);
      expect(streamed(adapted, ids, true)).toBe(sample);
    });

    it("is the tokenizer of a GGUF file with the same vocabulary", () => {
      const { model } = trained.toJSON();
      const tokens = Object.keys(model.vocab).toSorted((a, b) => (model.vocab[a] as number) - (model.vocab[b] as number));
      const metadata = new Map<string, string | number | readonly (string | number)[]>([
        ["tokenizer.ggml.model", "gpt2"],
        ["tokenizer.ggml.pre", "gpt-2"],
        ["tokenizer.ggml.tokens", tokens],
        ["tokenizer.ggml.token_type", tokens.map((_, id) => (id === 0 ? 3 : 1))],
        ["tokenizer.ggml.merges", model.merges.map((pair) => pair.join(" "))],
        ["tokenizer.ggml.eos_token_id", 0],
      ]);
      const fromGguf = createGgufTokenizer(metadata);
      expect(fromGguf.encode(ODD_TEXT)).toEqual(trained.encode(ODD_TEXT));
      expect(fromGguf.decode(fromGguf.encode(ODD_TEXT))).toBe(ODD_TEXT);
      expect(() => createGgufTokenizer(new Map(metadata).set("tokenizer.ggml.pre", "mystery"))).toThrow('"mystery" is not supported');
      expect(() => createGgufTokenizer(new Map(metadata).set("tokenizer.ggml.merges", ["abc"]))).toThrow("not two tokens");
      expect(() => createGgufTokenizer(new Map(metadata).set("tokenizer.ggml.merges", ["a 你"]))).toThrow(TokenizerError);
    });
  });
});

describe("word patterns", () => {
  const words = (name: keyof typeof WORD_PATTERNS, text: string): string[] => [...text.matchAll(WORD_PATTERNS[name])].map(([word]) => word);

  it("cut as the models' own do", () => {
    expect(words("gpt-2", "I'll  go, 1234 'TIS")).toEqual(["I", "'ll", " ", " go", ",", " 1234", " '", "TIS"]);
    expect(words("llama-bpe", "I'LL  go, 1234\n\n x")).toEqual(["I", "'LL", " ", " go", ",", " ", "123", "4", "\n\n", " x"]);
    expect(words("qwen2", "a 12\n(b)")).toEqual(["a", " ", "1", "2", "\n", "(b", ")"]);
  });

  it("match everything", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        for (const name of ["gpt-2", "llama-bpe", "qwen2"] as const) expect(words(name, text).join("")).toBe(text);
      }),
    );
  });
});

describe("broken tokenizer files", () => {
  it("are refused with TokenizerError", () => {
    const good = trainBytePairEncoding("abab abab", { vocabularySize: 260 }).toJSON();
    const broken: unknown[] = [
      null,
      5,
      "x",
      [],
      {},
      { ...good, model: {} },
      { ...good, added_tokens: [] },
      { ...good, normalizer: { type: "NFC" } },
      { ...good, model: { ...good.model, vocab: { a: 0 } } },
      { ...good, model: { ...good.model, vocab: { ...good.model.vocab, ab: 3 } } },
      { ...good, model: { ...good.model, merges: [["a", "zzz"]] } },
      { ...good, model: { ...good.model, merges: "ab" } },
    ];
    for (const json of broken) expect(() => loadTrainedTokenizer(json), JSON.stringify(json)?.slice(0, 60)).toThrow(TokenizerError);
    for (const json of [null, {}, { model: { vocab: 5 } }, { model: { type: "Mystery", vocab: {} } }]) {
      expect(() => createHuggingFaceTokenizer(json), JSON.stringify(json)).toThrow(TokenizerError);
    }
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        expect(() => loadTrainedTokenizer(json)).toThrow(TokenizerError);
        expect(() => createHuggingFaceTokenizer(json)).toThrow(TokenizerError);
      }),
    );
    const twice = ["<s>", "<s>", ...BYTE_CHARACTERS];
    const vocabulary = {
      merges: [],
      specialTokenIds: new Set<number>(),
      wordPattern: WORD_PATTERNS["gpt-2"],
      addBos: false,
      eosTokenIds: [],
    };
    expect(() => createBytePairTokenizer({ ...vocabulary, tokens: twice })).toThrow("occurs twice");
    expect(() => createBytePairTokenizer({ ...vocabulary, tokens: ["a"] })).toThrow("not in the vocabulary");
  });
});
