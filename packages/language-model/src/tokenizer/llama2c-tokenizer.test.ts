import { readFileSync } from "node:fs";
import { readerFromBytes } from "@frugal/tensor-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TokenizerError } from "../errors.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import { openLlama2cTokenizer, openLlama2cTokenizerFile } from "./llama2c-tokenizer.ts";

/** A vocabulary of specials, the 256 bytes and some pieces with scores, as a file. */
function tokenizerFile(pieces: readonly (readonly [string, number])[], rawBytes = false): Uint8Array {
  const entries: [Uint8Array, number][] = ["<unk>", "\n<s>\n", "\n</s>\n"].map((text) => [new TextEncoder().encode(text), 0]);
  for (let byte = 0; byte < 256; byte++) {
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
    entries.push([rawBytes ? Uint8Array.of(byte) : new TextEncoder().encode(name), 0]);
  }
  for (const [text, score] of pieces) entries.push([new TextEncoder().encode(text), score]);
  const bytes: number[] = [27, 0, 0, 0];
  for (const [text, score] of entries) {
    const head = new DataView(new ArrayBuffer(8));
    head.setFloat32(0, score, true);
    head.setInt32(4, text.length, true);
    bytes.push(...new Uint8Array(head.buffer), ...text);
  }
  return Uint8Array.from(bytes);
}

const small = tokenizerFile([
  ["a", -10],
  ["b", -11],
  [" ", -12],
  ["ab", -2],
  ["ba", -1],
  [" a", -3],
  [".", -13],
]);

describe("llama2.c tokenizer", () => {
  it("merges the best-scored pair first, the leftmost of equals", async () => {
    const tokenizer = await openLlama2cTokenizer(readerFromBytes(small));
    const [a, b, space, ab, ba, spaceA] = [259, 260, 261, 262, 263, 264];
    expect(tokenizer.encode("ab")).toEqual([1, space, ab]);
    expect(tokenizer.encode("aba", { bos: false })).toEqual([spaceA, ba]);
    expect(tokenizer.encode("aab", { bos: false, eos: true })).toEqual([spaceA, ab, 2]);
    expect(tokenizer.encode("bab", { bos: false })).toEqual([space, ba, b]);
    expect(tokenizer.encode("a", { bos: false })).toEqual([spaceA]);
    expect(a).toBe(259);
  });

  it("falls back to bytes, and never takes the text '.' for the byte token of older files", async () => {
    for (const file of [
      small,
      tokenizerFile(
        [
          ["a", -10],
          ["b", -11],
          [" ", -12],
          ["ab", -2],
          ["ba", -1],
          [" a", -3],
          [".", -13],
        ],
        true,
      ),
    ]) {
      const tokenizer = await openLlama2cTokenizer(readerFromBytes(file));
      expect(tokenizer.encode(".é\n", { bos: false })).toEqual([261, 265, 3 + 0xc3, 3 + 0xa9, 3 + 10]);
    }
  });

  it("gives back any well-formed text, whole or streamed", async () => {
    const tokenizer = await openLlama2cTokenizer(readerFromBytes(small));
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: fc.constantFrom("a", "b", " ", ".", "\uFEFF", "🦙") })),
        (text) => {
          const ids = tokenizer.encode(text);
          expect(tokenizer.decode(ids)).toBe(text);
          const stream = tokenizer.streamDecoder();
          const parts = ids.map((id) => stream.push(id));
          expect(parts.join("") + stream.end()).toBe(text);
          for (const part of parts) expect(part).not.toContain("\uFFFD");
        },
      ),
    );
  });

  it("keeps the leading space of a continuation and marks an unfinished character", async () => {
    const tokenizer = await openLlama2cTokenizer(readerFromBytes(small));
    const stream = tokenizer.streamDecoder({ continuation: true });
    expect(stream.push(264)).toBe(" a");
    expect(stream.push(3 + 0xc3)).toBe("");
    expect(stream.end()).toBe("\uFFFD");
    expect(() => tokenizer.decode([266])).toThrow(TokenizerError);
    expect(() => tokenizer.decode([-1])).toThrow(TokenizerError);
  });

  it.each([
    ["whose pieces keep to words", ["a", "b", " ", "ab", "ba", " a", "."], [-10, -11, -12, -2, -1, -3, -13]],
    ["with pieces across words", ["a", "b", " ", "ab", "b ", "b a", "."], [-10, -11, -12, -2, -1, -3, -13]],
  ])("agrees with the quadratic textbook loop on a vocabulary %s", async (_, pieces, scores) => {
    const file = tokenizerFile(pieces.map((piece, index) => [piece, scores[index] as number]));
    const tokenizer = await openLlama2cTokenizer(readerFromBytes(file));
    const textbook = (text: string): number[] => {
      const symbols = [...` ${text}`];
      for (;;) {
        let best = -Infinity;
        let at = -1;
        for (let index = 0; index + 1 < symbols.length; index++) {
          const id = pieces.indexOf(`${symbols[index]}${symbols[index + 1]}`);
          if (id >= 0 && (scores[id] as number) > best) [best, at] = [scores[id] as number, index];
        }
        if (at < 0) return symbols.map((symbol) => 259 + pieces.indexOf(symbol));
        symbols.splice(at, 2, `${symbols[at]}${symbols[at + 1]}`);
      }
    };
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("a", "b", " ", "."), minLength: 1, maxLength: 60 }), (text) => {
        expect(tokenizer.encode(text, { bos: false })).toEqual(textbook(text));
      }),
    );
  });

  it("refuses truncated, damaged and random files with TokenizerError", async () => {
    const open = async (bytes: Uint8Array): Promise<void> => {
      try {
        await openLlama2cTokenizer(readerFromBytes(bytes));
      } catch (error) {
        expect(error).toBeInstanceOf(TokenizerError);
      }
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), open));
    await fc.assert(fc.asyncProperty(fc.nat(small.length - 1), (length) => open(small.slice(0, length))));
    await fc.assert(
      fc.asyncProperty(fc.nat(small.length - 1), fc.nat(255), (at, value) => {
        const damaged = small.slice();
        damaged[at] = value;
        return open(damaged);
      }),
    );
    await expect(openLlama2cTokenizer(readerFromBytes(small.slice(0, -1)))).rejects.toThrow("ends inside token");
    await expect(openLlama2cTokenizer(readerFromBytes(new Uint8Array(64)))).rejects.toThrow("not a llama2.c tokenizer");
  });

  it("encodes a megabyte of one letter without quadratic time", async () => {
    const tokenizer = await openLlama2cTokenizer(
      readerFromBytes(
        tokenizerFile([
          ["a", -5],
          [" ", -6],
          ["aa", -4],
          ["aaaa", -3],
        ]),
      ),
    );
    const start = performance.now();
    const ids = tokenizer.encode("a".repeat(1 << 18), { bos: false });
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(ids.length).toBe((1 << 16) + 1);
  });
});

const tokenizerPath = sharedData("stories15M", "tokenizer.bin");
describe.skipIf(tokenizerPath === undefined)("the Llama 32k vocabulary", () => {
  it("gives the golden ids with punctuation", async () => {
    const tokenizer = await openLlama2cTokenizerFile(tokenizerPath as string);
    expect(tokenizer.vocabularySize).toBe(32000);
    const text = "Once upon a time, there was a little girl";
    expect(tokenizer.encode(text)).toEqual([1, 9038, 2501, 263, 931, 29892, 727, 471, 263, 2217, 7826]);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
  });

  it("refuses every truncation of the real file", async () => {
    const file = new Uint8Array(readFileSync(tokenizerPath as string));
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), async (length) => {
        const outcome = await openLlama2cTokenizer(readerFromBytes(file.subarray(0, length))).then(
          (tokenizer) => tokenizer.vocabularySize,
          (error: unknown) => error,
        );
        // A cut between two tokens is a smaller vocabulary: the format has no count.
        if (typeof outcome === "number") expect(outcome).toBeLessThan(32000);
        else expect(outcome).toBeInstanceOf(TokenizerError);
      }),
      { numRuns: 30 },
    );
  });
});

const smallPath = sharedData("stories260K", "tok512.bin");
describe.skipIf(smallPath === undefined)("the stories260K vocabulary", () => {
  it("gives the golden ids", async () => {
    const tokenizer = await openLlama2cTokenizerFile(smallPath as string);
    expect(tokenizer.vocabularySize).toBe(512);
    expect(tokenizer.encode("Once upon a time")).toEqual([1, 403, 407, 261, 378]);
  });
});
