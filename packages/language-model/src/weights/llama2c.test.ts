import { readerFromBytes, type RandomAccessReader } from "@frugal/tensor-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LanguageModelError, WeightFormatError } from "../errors.ts";
import { openLlama2c, openLlama2cFile } from "./llama2c.ts";
import { sharedData } from "./shared-data.testing.ts";

const header = (fields: readonly number[]): Uint8Array => new Uint8Array(Int32Array.from(fields).buffer);

/** A file whose float at each position holds its own index, so that placements can be read off. */
function numberedFile(fields: readonly number[]): Uint8Array {
  const [dim, hidden, layers, heads, kvHeads, vocabulary, length] = fields as [number, number, number, number, number, number, number];
  const kv = (dim / heads) * kvHeads;
  const perLayer = 2 * dim + 2 * dim * dim + 2 * kv * dim + 3 * dim * hidden;
  const floats = Math.abs(vocabulary) * dim * (vocabulary < 0 ? 2 : 1) + layers * perLayer + dim + length * (dim / heads);
  const file = new Uint8Array(28 + 4 * floats);
  file.set(header(fields));
  const view = new DataView(file.buffer);
  for (let index = 0; index < floats; index++) view.setFloat32(28 + 4 * index, index, true);
  return file;
}

/** Counts the largest range asked for. */
function spied(bytes: Uint8Array): { reader: RandomAccessReader; largest: () => number } {
  const inner = readerFromBytes(bytes);
  let largest = 0;
  const read = (offset: number, length: number): Promise<Uint8Array> => {
    largest = Math.max(largest, length);
    return inner.read(offset, length);
  };
  return { reader: { ...inner, read }, largest: () => largest };
}

const fields = [4, 6, 2, 2, 1, 5, 3];

describe("openLlama2c", () => {
  it("names and places the tensors of each layer", async () => {
    const source = await openLlama2c(readerFromBytes(numberedFile(fields)));
    expect(source.config).toMatchObject({
      architecture: "llama",
      vocabularySize: 5,
      hiddenSize: 4,
      intermediateSize: 6,
      numHiddenLayers: 2,
      numAttentionHeads: 2,
      numKeyValueHeads: 1,
      headDim: 2,
      maxPositionEmbeddings: 3,
      tieWordEmbeddings: true,
      ropeLayout: "interleaved",
    });
    expect(source.descriptors.size).toBe(2 + 2 * 9);
    const first = async (name: string): Promise<number> => {
      const bytes = await source.read(name);
      return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true);
    };
    // Embedding 20, attention norms 2 x 4, wq 2 x 16, wk 2 x 8, wv 2 x 8, wo 2 x 16, feed-forward norms 2 x 4, w1, w2, w3 2 x 24 each.
    expect(await first("model.embed_tokens.weight")).toBe(0);
    expect(await first("model.layers.1.input_layernorm.weight")).toBe(24);
    expect(await first("model.layers.1.self_attn.q_proj.weight")).toBe(28 + 16);
    expect(await first("model.layers.0.self_attn.k_proj.weight")).toBe(60);
    expect(await first("model.layers.1.self_attn.v_proj.weight")).toBe(76 + 8);
    expect(await first("model.layers.0.self_attn.o_proj.weight")).toBe(92);
    expect(await first("model.layers.0.post_attention_layernorm.weight")).toBe(124);
    expect(await first("model.layers.0.mlp.gate_proj.weight")).toBe(132);
    expect(await first("model.layers.1.mlp.down_proj.weight")).toBe(180 + 24);
    expect(await first("model.layers.0.mlp.up_proj.weight")).toBe(228);
    expect(await first("model.norm.weight")).toBe(276);
    expect(source.descriptors.get("model.layers.0.mlp.down_proj.weight")?.shape).toEqual([4, 6]);
    expect(source.descriptors.get("model.layers.0.self_attn.k_proj.weight")?.shape).toEqual([2, 4]);
    await expect(source.read("lm_head.weight")).rejects.toThrow(WeightFormatError);
  });

  it("reads an untied head behind the rope tables", async () => {
    const source = await openLlama2c(readerFromBytes(numberedFile([4, 6, 2, 2, 1, -5, 3])));
    expect(source.config.tieWordEmbeddings).toBe(false);
    const bytes = await source.read("lm_head.weight");
    expect(bytes.byteLength).toBe(80);
    expect(new DataView(bytes.buffer, bytes.byteOffset).getFloat32(0, true)).toBe(276 + 4 + 3 * 2);
  });

  it("refuses truncated, hostile and random files before reading anything large", async () => {
    const file = numberedFile(fields);
    const attempt = async (bytes: Uint8Array): Promise<void> => {
      const { reader, largest } = spied(bytes);
      const error = await openLlama2c(reader).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error !== undefined) expect(error).toBeInstanceOf(LanguageModelError);
      expect(largest()).toBeLessThanOrEqual(28);
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), attempt));
    await fc.assert(fc.asyncProperty(fc.array(fc.integer(), { minLength: 7, maxLength: 20 }), (values) => attempt(header(values))));
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(1024), { minLength: 7, maxLength: 20 }), (values) => attempt(header(values))));
    await fc.assert(
      fc.asyncProperty(fc.nat(27), fc.nat(255), async (at, value) => {
        const damaged = file.slice();
        damaged[at] = value;
        await attempt(damaged);
      }),
    );
    for (const length of [0, 27, 28, file.length - 1]) {
      await expect(openLlama2c(readerFromBytes(file.subarray(0, length)))).rejects.toBeInstanceOf(WeightFormatError);
    }
    await expect(openLlama2c(readerFromBytes(header([64, 64, 1 << 30, 8, 8, 512, 512])))).rejects.toThrow("layers");
    await expect(openLlama2c(readerFromBytes(header([64, 64, 5, 0, 8, 512, 512])))).rejects.toThrow("numAttentionHeads");
  });
});

const path = sharedData("stories260K", "stories260K.bin");
describe.skipIf(path === undefined)("stories260K", () => {
  it("opens the real file", async () => {
    const source = await openLlama2cFile(path as string);
    expect(source.config).toMatchObject({
      hiddenSize: 64,
      intermediateSize: 172,
      numHiddenLayers: 5,
      numAttentionHeads: 8,
      numKeyValueHeads: 4,
    });
    const norm = await source.read("model.norm.weight");
    expect(norm.byteLength).toBe(256);
    expect(Math.abs(new DataView(norm.buffer).getFloat32(0, true))).toBeLessThan(100);
    await source.close();
    await expect(source.read("model.norm.weight")).rejects.toThrow("closed");
  });
});
