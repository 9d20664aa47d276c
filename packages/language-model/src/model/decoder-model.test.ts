import { memory, sum, tensor, tidy, valueAndGrad, type Tensor } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ContextLengthError, LanguageModelError, MissingPartError, WeightFormatError } from "../errors.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";
import { DecoderModel } from "./decoder-model.ts";
import { loadModel } from "./load-model.ts";
import { plainForward } from "./plain-decoder.testing.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "./random-weights.testing.ts";

const ids = [1, 5, 30, 7, 7, 19, 36, 0, 11, 2, 23];

async function logitsOf(model: DecoderModel, tokens: readonly number[], batch = 1): Promise<Float32Array> {
  using input = tensor(Int32Array.from(tokens), [batch, tokens.length / batch]);
  using logits = model.forward(input);
  return await logits.data("float32");
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return largest;
}

// Kernels keep scratch memory from their first use on; after it, every allocation belongs to a tensor.
{
  using model = await loadModel(sourceOf(tinyConfiguration(), randomWeights(tinyConfiguration())));
  await logitsOf(model, [...ids, ...ids, ...ids], 3);
}
const before = memory().allocations;

const plainFrequencies = (config: ModelConfiguration): number[] =>
  Array.from({ length: config.headDim / 2 }, (_, i) => 1 / config.ropeTheta ** ((2 * i) / config.headDim));

describe("DecoderModel against plain loops", () => {
  const variants: Record<string, Partial<ModelConfiguration>> = {
    "grouped queries": {},
    "one head each": { numKeyValueHeads: 6 },
    "one key head for all": { numKeyValueHeads: 1 },
    "interleaved rotary pairs": { ropeLayout: "interleaved" },
    "tied embeddings": { tieWordEmbeddings: true },
    "Qwen2 with biases and a large theta": {
      architecture: "qwen2", attentionBias: true, ropeTheta: 1e6, rmsNormEps: 1e-6, tieWordEmbeddings: true,
    },
    "Llama with biases on all of attention": { attentionBias: true, attentionOutputBias: true },
  };
  it.each(Object.entries(variants))("%s", async (_, changes) => {
    const config = tinyConfiguration(changes);
    const weights = randomWeights(config);
    using model = await loadModel(sourceOf(config, weights));
    const expected = plainForward(config, weights, plainFrequencies(config), ids).flat();
    expect(Math.max(...expected)).toBeGreaterThan(1);
    expect(largestDifference(await logitsOf(model, ids), expected)).toBeLessThan(1e-4);
  });

  it("stretches rotary frequencies", async () => {
    const factors = [1, 2, 4, 8];
    const config = tinyConfiguration({ ropeScaling: { type: "factors", factors } });
    const weights = randomWeights(config);
    using model = await loadModel(sourceOf(config, weights));
    const frequencies = plainFrequencies(config).map((frequency, i) => frequency / factors[i]!);
    expect(largestDifference(await logitsOf(model, ids), plainForward(config, weights, frequencies, ids).flat())).toBeLessThan(1e-4);
    const unstretched = plainForward(config, weights, plainFrequencies(config), ids).flat();
    expect(largestDifference(await logitsOf(model, ids), unstretched)).toBeGreaterThan(1e-3);
  });
});

describe("DecoderModel", () => {
  const config = tinyConfiguration();
  const source = sourceOf(config, randomWeights(config));
  let model: DecoderModel;
  let whole: Float32Array;
  beforeAll(async () => {
    model = await loadModel(source);
    whole = await logitsOf(model, ids);
  });
  afterAll(() => model.dispose());

  it("treats the sequences of a batch alone", async () => {
    const rows = [ids, ids.toReversed(), ids.map((id) => (id * 5 + 3) % 37)];
    const batched = await logitsOf(model, rows.flat(), rows.length);
    for (const [i, row] of rows.entries()) {
      const alone = await logitsOf(model, row);
      expect(largestDifference(batched.subarray(i * alone.length, (i + 1) * alone.length), alone)).toBeLessThan(1e-5);
    }
  });

  it("does not look ahead", async () => {
    const changed = await logitsOf(model, [...ids.slice(0, -1), 17]);
    const earlier = (ids.length - 1) * config.vocabularySize;
    expect(changed.slice(0, earlier)).toEqual(whole.slice(0, earlier));
    expect(changed.slice(earlier)).not.toEqual(whole.slice(earlier));
  });

  it.each([[1], [4], [11]])("decodes with a cache, %i tokens at a time, as the full forward does", async (step) => {
    using cache = model.createCache({ capacity: ids.length });
    for (let at = 0; at < ids.length; at += step) {
      const part = ids.slice(at, at + step);
      using input = tensor(Int32Array.from(part), [1, part.length]);
      using logits = model.forward(input, { cache });
      const expected = whole.subarray(at * config.vocabularySize, (at + part.length) * config.vocabularySize);
      expect(largestDifference(await logits.data("float32"), expected)).toBeLessThan(1e-5);
    }
    expect(cache.length).toBe(ids.length);
    cache.truncate(4);
    using input = tensor(Int32Array.from(ids.slice(4)), [1, ids.length - 4]);
    using last = model.forward(input, { cache, lastOnly: true });
    expect(last.shape).toEqual([1, 1, config.vocabularySize]);
    expect(largestDifference(await last.data("float32"), whole.subarray(-config.vocabularySize))).toBeLessThan(1e-5);
  });

  it("caches several sequences side by side", async () => {
    const other = ids.map((id) => (id * 3 + 1) % 37);
    using cache = model.createCache({ capacity: ids.length, batch: 2 });
    const column = (from: number, to: number): Tensor =>
      tensor(Int32Array.from([...ids.slice(from, to), ...other.slice(from, to)]), [2, to - from]);
    using first = column(0, 6);
    model.forward(first, { cache }).dispose();
    using second = column(6, ids.length);
    using logits = model.forward(second, { cache, lastOnly: true });
    const values = await logits.data("float32");
    expect(largestDifference(values.subarray(0, 37), whole.subarray(-37))).toBeLessThan(1e-5);
    expect(largestDifference(values.subarray(37), (await logitsOf(model, other)).subarray(-37))).toBeLessThan(1e-5);
  });

  it("computes in parts what it computes whole", async () => {
    for (const tieWordEmbeddings of [false, true]) {
      const config = tinyConfiguration({ tieWordEmbeddings });
      const source = sourceOf(config, randomWeights(config));
      using complete = await loadModel(source);
      using first = await loadModel(source, { parts: { blocks: [0, 1], head: false } });
      using middle = await loadModel(source, { parts: { blocks: [1, 2], embedding: false, head: false } });
      using last = await loadModel(source, { parts: { blocks: [2, 3], embedding: false } });
      using input = tensor(Int32Array.from(ids), [1, ids.length]);
      using logits = tidy(() => {
        const sent = first.forwardBlocks(first.embed(input), 0, 1);
        return last.head(last.forwardBlocks(middle.forwardBlocks(sent, 1, 2), 2, 3));
      });
      expect(await logits.data("float32")).toEqual(await logitsOf(complete, ids));
      expect(middle.parameterCount).toBeLessThan(complete.parameterCount / 3);
      expect(() => middle.embed(input)).toThrow(MissingPartError);
      expect(() => first.head(logits)).toThrow("load the model with parts.head");
      expect(() => last.block(0)).toThrow("holds blocks 2 to 3");
      expect(() => first.forward(input)).toThrow(MissingPartError);
      using cache = complete.createCache();
      using lastCache = last.createCache();
      expect(() => lastCache.append(0, logits, logits)).toThrow(MissingPartError);
      expect(cache.byteLength).toBe(2 * 3 * 2 * 64 * 8 * 4);
      // Separate stages of a tied model have a copy of the matrix each.
      expect(complete.tiedHead).toBe(tieWordEmbeddings);
      expect(complete.headParameters().includes(complete.embeddingParameters()[0]!)).toBe(tieWordEmbeddings);
      expect([first.headParameters().length, middle.embeddingParameters().length]).toEqual([0, 0]);
      expect(last.headParameters().map(({ shape }) => shape)).toEqual([[32], [37, 32]]);
      expect(last.headParameters()[1]).not.toBe(first.embeddingParameters()[0]);
    }
  });

  it("has halves that add up to blocks, with their parameters", async () => {
    using input = tensor(Int32Array.from(ids), [1, ids.length]);
    using halves = tidy(() => {
      let hidden = model.embed(input);
      for (let i = 0; i < model.blockCount; i++) hidden = model.block(i).feedForwardHalf(model.block(i).mixerHalf(hidden));
      return model.head(hidden);
    });
    expect(await halves.data("float32")).toEqual(whole);
    const parameters = model.blocks.flatMap((block) => [...block.mixerParameters(), ...block.feedForwardParameters()]);
    expect(new Set(parameters).size).toBe(3 * 9);
    const rest = [model.embedding!.weight, model.norm!.weight, model.output!.weight];
    expect(new Set<unknown>(model.parameters())).toEqual(new Set<unknown>([...parameters, ...rest]));
  });

  it("gives gradients no way through a cache", () => {
    using input = tensor(Int32Array.from(ids), [1, ids.length]);
    using cache = model.createCache();
    const differentiate = (): unknown => valueAndGrad(() => sum(model.forward(input, { cache })))(model.parameters());
    expect(differentiate).toThrow("a cache is for inference");
    expect(differentiate).toThrow(LanguageModelError);
  });

  it("refuses positions and batches that are not the cache's", () => {
    using input = tensor(Int32Array.from(ids), [1, ids.length]);
    using cache = model.createCache({ batch: 2 });
    expect(() => model.forward(input, { cache })).toThrow("the cache takes keys and values [2, 2, 11, 8], got [1, 2, 11, 8]");
    using hidden = model.embed(input);
    const context = { cache, positionOffset: 3 };
    expect(() => model.forwardBlocks(hidden, 0, 1, context)).toThrow("positionOffset 3 is not where the cache ends (0)");
  });

  it("leaves nothing but results behind, outside of scopes too", async () => {
    using quantised = await loadModel(source, { precision: "int8" });
    using input = tensor(Int32Array.from(ids), [1, ids.length]);
    for (const each of [model, quantised]) {
      each.forward(input).dispose();
      const held = memory().allocations;
      using embedded = each.embed(input);
      using hidden = each.forwardBlocks(embedded, 0, 3);
      using logits = each.head(hidden);
      expect(memory().allocations - held).toBe([embedded, hidden, logits].length);
    }
  });

  it("takes memory for a long context as it fills", async () => {
    const long = tinyConfiguration({ maxPositionEmbeddings: 131_072, eosTokenIds: [] });
    using large = await loadModel(sourceOf(long, randomWeights(long)));
    using cache = large.createCache();
    const bytesPerToken = 2 * 3 * 2 * 8 * 4;
    expect([cache.capacity, cache.byteLength]).toEqual([131_072, 256 * bytesPerToken]);
    const many = Array.from({ length: 700 }, (_, i) => (i * i * 5 + 3 * i) % 37);
    const expected = await logitsOf(large, many);
    for (const [from, to, tokens] of [[0, 250, 256], [250, 257, 512], [257, 258, 512], [258, 700, 1024]] as const) {
      using input = tensor(Int32Array.from(many.slice(from, to)), [1, to - from]);
      using logits = large.forward(input, { cache, lastOnly: true });
      expect(largestDifference(await logits.data("float32"), expected.subarray((to - 1) * 37, to * 37))).toBeLessThan(1e-5);
      expect(cache.byteLength).toBe(tokens * bytesPerToken);
    }
  });

  it("refuses more tokens than the context or the cache holds", () => {
    using long = tensor(new Int32Array(65), [1, 65]);
    expect(() => model.forward(long)).toThrow(ContextLengthError);
    using cache = model.createCache({ capacity: 8 });
    using nine = tensor(new Int32Array(9), [1, 9]);
    expect(() => model.forward(nine, { cache })).toThrow("9 tokens do not fit into a context of 8");
    expect(() => model.createCache({ capacity: 0 })).toThrow("capacity 0");
    expect(() => cache.truncate(1)).toThrow("truncate: length 1");
  });

  it("refuses weights that are not there and blocks it does not have", () => {
    expect(() => new DecoderModel(config, () => undefined)).toThrow(WeightFormatError);
    expect(() => new DecoderModel(config, () => undefined, { parts: { blocks: [2, 4] } })).toThrow("blocks 2 to 4");
  });
});

it("frees all it took", () => {
  expect(memory().allocations).toBe(before);
});
