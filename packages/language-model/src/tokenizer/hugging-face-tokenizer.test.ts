import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MissingResourceError, TokenizerError } from "../errors.ts";
import { createHuggingFaceTokenizer, openHuggingFaceTokenizer } from "./hugging-face-tokenizer.ts";

const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
const tokens = ["<unk>", "<s>", "</s>", ...bytes, "\u2581", "a", "b", "ab", "\u2581ab"];

/** A tokenizer.json as Llama 2 has it: metaspace, byte fallback, a begin token by template. */
const llamaLike = {
  version: "1.0",
  added_tokens: [0, 1, 2].map((id) => ({ id, content: tokens[id], ...special })),
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "\u2581" },
      { type: "Replace", pattern: { String: " " }, content: "\u2581" },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "\u2581" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: "<unk>",
    fuse_unk: true,
    byte_fallback: true,
    vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    merges: ["a b", "\u2581 ab"],
  },
};
const config = { bos_token: "<s>", eos_token: "</s>" };

describe("createHuggingFaceTokenizer on a Llama-like file", () => {
  const tokenizer = createHuggingFaceTokenizer(llamaLike, config);
  const [ab, spaceAb] = [262, 263];

  it("encodes with the template's begin token unless told otherwise", () => {
    expect(tokenizer).toMatchObject({ vocabularySize: 264, bosTokenId: 1, eosTokenIds: [2] });
    expect(tokenizer.encode("ab ab")).toEqual([1, spaceAb, spaceAb]);
    expect(tokenizer.encode("ab", { bos: false })).toEqual([spaceAb]);
    expect(tokenizer.encode("ab", { bos: true, eos: true })).toEqual([1, spaceAb, 2]);
    expect(tokenizer.encode("é", { bos: false })).toEqual([259, 3 + 0xc3, 3 + 0xa9]);
    expect(createHuggingFaceTokenizer(llamaLike, config, [2, 0]).eosTokenIds).toEqual([2, 0]);
  });

  it("streams whole characters, with the leading space only in a continuation", () => {
    const ids = tokenizer.encode("ab é🦙 ab");
    const stream = tokenizer.streamDecoder();
    const parts = ids.map((id) => stream.push(id));
    expect(parts.join("") + stream.end()).toBe("ab é🦙 ab");
    expect(parts.join("")).not.toContain("\uFFFD");
    const continuation = tokenizer.streamDecoder({ continuation: true });
    expect([continuation.push(spaceAb), continuation.push(ab), continuation.push(3 + 0xc3), continuation.end()]).toEqual([
      " ab",
      "ab",
      "",
      "\uFFFD",
    ]);
    expect(continuation.push(spaceAb)).toBe(" ab");
    expect(tokenizer.decode([])).toBe("");
    expect(() => tokenizer.decode([264])).toThrow(TokenizerError);
    expect(() => stream.push(-1)).toThrow(TokenizerError);
  });

  it("opens a folder, and says what is missing or broken", async () => {
    const folder = await mkdtemp(join(tmpdir(), "frugal-tokenizer-"));
    await expect(openHuggingFaceTokenizer(folder)).rejects.toBeInstanceOf(MissingResourceError);
    await writeFile(join(folder, "tokenizer.json"), "{");
    await expect(openHuggingFaceTokenizer(folder)).rejects.toThrow("not JSON");
    await writeFile(join(folder, "tokenizer.json"), JSON.stringify(llamaLike));
    expect((await openHuggingFaceTokenizer(folder)).bosTokenId).toBeUndefined();
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));
    expect((await openHuggingFaceTokenizer(folder)).encode("ab")).toEqual([1, spaceAb]);
    await rm(folder, { recursive: true });
  });
});
