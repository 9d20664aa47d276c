import { memory, sum, tensor, tidy, valueAndGrad, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ContextLengthError, LanguageModelError, SettingsError } from "../errors.ts";
import type { DecoderCache } from "./decoder-cache.ts";
import type { DecoderModel } from "./decoder-model.ts";
import { loadModel } from "./load-model.ts";
import type { PackedSequence } from "./packed-sequences.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "./random-weights.testing.ts";
import type { BlockContext } from "./staged-model.ts";

const config = tinyConfiguration();
const source = sourceOf(config, randomWeights(config));
const columns = config.vocabularySize;

/** Ids of a made-up text, another one for each number. */
const text = (which: number, length: number): number[] => Array.from({ length }, (_, i) => (i * i * (which + 2) + 5 * which + i) % 37);

const idTensor = (ids: readonly number[], device: DeviceName): Tensor => tensor(Int32Array.from(ids), [1, ids.length], { device });

/** Logits of the next rows of one sequence. */
async function alone(model: DecoderModel, ids: readonly number[], cache: DecoderCache): Promise<Float32Array> {
  using input = idTensor(ids, model.device);
  using logits = model.forward(input, { cache });
  return await logits.data("float32");
}

/** The same of several in one pass, as a server does it. */
async function packed(model: DecoderModel, rows: readonly (readonly number[])[], caches: readonly DecoderCache[]): Promise<Float32Array[]> {
  const sequences = rows.map((ids, i) => ({ cache: caches[i]!, tokens: ids.length }));
  using logits = tidy(() => {
    const hidden = model.embed(idTensor(rows.flat(), model.device));
    return model.head(model.forwardBlocks(hidden, 0, model.blockCount, { sequences }));
  });
  expect(logits.shape).toEqual([1, rows.flat().length, columns]);
  for (const { cache, tokens } of sequences) cache.advance(tokens);
  const values = await logits.data("float32");
  let from = 0;
  return rows.map((ids) => values.slice(from * columns, (from += ids.length) * columns));
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);
}

// Prompts, prompts beside single tokens, single tokens alone.
const rounds = [[5, 1, 9], [1, 1, 4], [1, 1, 1], [3, 12, 1]];

describe("packed sequences", () => {
  let model: DecoderModel;
  beforeAll(async () => void (model = await loadModel(source)));
  afterAll(() => model.dispose());

  it.each([{}, { attentionBias: true, ropeLayout: "interleaved" }] as const)("are computed as each sequence alone: %o", async (changes) => {
    const other = tinyConfiguration(changes);
    using model = await loadModel(sourceOf(other, randomWeights(other)));
    const caches = [0, 1, 2].map(() => model.createCache());
    const references = [0, 1, 2].map(() => model.createCache());
    for (const lengths of rounds) {
      const rows = lengths.map((length, i) => text(i, 40).slice(caches[i]!.length, caches[i]!.length + length));
      const together = await packed(model, rows, caches);
      for (const [i, ids] of rows.entries()) {
        const expected = await alone(model, ids, references[i]!);
        expect(Math.max(...expected)).toBeGreaterThan(0.5);
        expect(largestDifference(together[i]!, expected)).toBeLessThan(1e-5);
      }
    }
    expect(caches.map(({ length }) => length)).toEqual([10, 15, 15]);
    for (const cache of [...caches, ...references]) cache.dispose();
  });

  it("have the very bits of a sequence when there is only one", async () => {
    using cache = model.createCache();
    using reference = model.createCache();
    for (const ids of [text(0, 7), [3], [4, 5]]) {
      expect((await packed(model, [ids], [cache]))[0]).toEqual(await alone(model, ids, reference));
    }
  });

  it("take in sequences that come and go", async () => {
    const [first, second, third] = [model.createCache(), model.createCache(), model.createCache()];
    await packed(model, [text(0, 4), text(1, 3)], [first, second]);
    await packed(model, [text(2, 8), [9]], [third, first]);
    const [a, b] = await packed(model, [[11], [12]], [second, first]);
    using reference = model.createCache();
    expect(largestDifference(b!, (await alone(model, [...text(0, 4), 9, 12], reference)).slice(-columns))).toBeLessThan(1e-5);
    reference.truncate(0);
    expect(largestDifference(a!, (await alone(model, [...text(1, 3), 11], reference)).slice(-columns))).toBeLessThan(1e-5);
    for (const cache of [first, second, third]) cache.dispose();
  });

  it("run through any part of a model, and a block's half on its own", async () => {
    using last = await loadModel(source, { parts: { blocks: [1, 3], embedding: false } });
    const caches = [last.createCache(), last.createCache()];
    const sequences = caches.map((cache, i) => ({ cache, tokens: 3 + i }));
    using input = idTensor([...text(0, 3), ...text(1, 4)], "cpu");
    const run = (each: DecoderModel): Tensor => tidy(() => each.forwardBlocks(model.embed(input), 1, 3, { sequences }));
    using through = run(last);
    using halves = tidy(() => [1, 2].reduce((hidden, index) => {
      const block = last.block(index);
      return block.feedForwardHalf(block.mixerHalf(hidden, { sequences }));
    }, model.embed(input)));
    expect(await halves.data("float32")).toEqual(await through.data("float32"));
    using foreign = model.createCache();
    using partly = last.createCache();
    const mixed = [{ cache: foreign, tokens: 3 }, { cache: partly, tokens: 4 }];
    expect(() => tidy(() => model.forwardBlocks(model.embed(input), 0, 1, { sequences: mixed }))).toThrow("the cache of block 0");
    expect([foreign.length, partly.length]).toEqual([0, 0]);
    for (const cache of caches) cache.dispose();
  });

  it("are refused before anything is computed", async () => {
    using good = model.createCache();
    using small = model.createCache({ capacity: 3 });
    using long = model.createCache({ capacity: 100 });
    await alone(model, text(0, 5), good);
    await alone(model, text(0, 60), long);
    using input = idTensor(text(1, 6), "cpu");
    using hidden = model.embed(input);
    using batched = hidden.reshape([2, 3, 32]);
    const before = memory().allocations;
    const run = (sequences: readonly PackedSequence[], more: BlockContext = {}, rows: Tensor = hidden) => (): unknown =>
      tidy(() => model.forwardBlocks(rows, 0, 3, { sequences, ...more }).shape);
    const after = (cache: DecoderCache, tokens: number): PackedSequence[] => [{ cache: good, tokens: 6 - tokens }, { cache, tokens }];
    expect(run(after(small, 4))).toThrow(ContextLengthError);
    expect(run(after(long, 5))).toThrow("65 tokens do not fit into a context of 64");
    expect(run(after(long, 4))()).toEqual([1, 6, 32]);
    expect(run(after(good, 4))).toThrow("share a cache");
    expect(run([{ cache: good, tokens: 5 }])).toThrow("1 packed sequences of 5 tokens need hidden states [1, 5, …], got [1, 6, 32]");
    expect(run([])).toThrow(LanguageModelError);
    expect(run([{ cache: good, tokens: 6 }], {}, batched)).toThrow("got [2, 3, 32]");
    for (const tokens of [0, -1, 1.5, NaN]) expect(run([{ cache: good, tokens }])).toThrow(SettingsError);
    for (const more of [{ cache: good }, { positionOffset: 0 }]) {
      expect(run([{ cache: good, tokens: 6 }], more)).toThrow("leave cache and positionOffset out");
    }
    const differentiate = (): unknown =>
      valueAndGrad(() => sum(model.forwardBlocks(hidden, 0, 1, { sequences: [{ cache: good, tokens: 6 }] })))(model.parameters());
    expect(differentiate).toThrow("a cache is for inference");
    expect([good.length, small.length, long.length]).toEqual([5, 0, 60]);
    expect(memory().allocations).toBe(before);
    // What failed has left nothing in the caches that others would see.
    using reference = model.createCache();
    await alone(model, text(0, 5), reference);
    expect(await alone(model, [7], good)).toEqual(await alone(model, [7], reference));
  });

  it("free what they make", async () => {
    const caches = [0, 1].map(() => model.createCache());
    await packed(model, [text(0, 3), [1]], caches);
    const before = memory().allocations;
    await packed(model, [[4], text(1, 6)], caches);
    expect(memory().allocations).toBe(before);
    for (const cache of caches) cache.dispose();
  });
});
