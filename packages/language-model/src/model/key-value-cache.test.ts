import { memory, tensor } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import type { DecoderCache } from "./decoder-cache.ts";
import type { DecoderModel } from "./decoder-model.ts";
import { loadModel } from "./load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "./random-weights.testing.ts";

const config = tinyConfiguration({ maxPositionEmbeddings: 600 });
const bytesPerToken = 2 * config.numHiddenLayers * config.numKeyValueHeads * config.headDim * 4;
const ids = Array.from({ length: 300 }, (_, i) => (i * i * 7 + 3) % 37);

describe("KeyValueCache.fork", () => {
  let model: DecoderModel;
  beforeAll(async () => void (model = await loadModel(sourceOf(config, randomWeights(config)))));
  afterAll(() => model.dispose());

  async function next(tokens: readonly number[], cache: DecoderCache): Promise<Float32Array> {
    using input = tensor(Int32Array.from(tokens), [1, tokens.length]);
    using logits = model.forward(input, { cache, lastOnly: true });
    return await logits.data("float32");
  }

  it("continues as the original does, and apart from it", async () => {
    using original = model.createCache();
    await next(ids.slice(0, 20), original);
    using fork = original.fork();
    expect([fork.length, fork.capacity]).toEqual([20, 600]);
    expect(await next([5], fork)).toEqual(await next([5], original));
    // Each goes its own way from here.
    await next([6, 7, 8], fork);
    expect([fork.length, original.length]).toEqual([24, 21]);
    using reference = model.createCache();
    await next(ids.slice(0, 20), reference);
    await next([5], reference);
    expect(await next([9], original)).toEqual(await next([9], reference));
  });

  it("goes back to an earlier token", async () => {
    using original = model.createCache();
    await next(ids.slice(0, 12), original);
    await next(ids.slice(12, 290), original);
    for (const length of [0, 1, 12]) {
      using fork = original.fork(length);
      using reference = model.createCache();
      if (length > 0) await next(ids.slice(0, length), reference);
      const [got, expected] = [await next([3, 4, 5], fork), await next([3, 4, 5], reference)];
      for (const [i, value] of expected.entries()) expect(Math.abs(got[i]! - value)).toBeLessThan(1e-5);
    }
    expect(original.length).toBe(290);
  });

  it("outlives the original, forks again, and grows", async () => {
    const original = model.createCache();
    await next(ids.slice(0, 30), original);
    const first = original.fork(25, { capacity: 40 });
    original.dispose();
    using second = first.fork(undefined, { capacity: 600 });
    first.dispose();
    await next(ids.slice(25, 299), second);
    using reference = model.createCache();
    await next(ids.slice(0, 299), reference);
    const [got, expected] = [await next([1], second), await next([1], reference)];
    for (const [i, value] of expected.entries()) expect(Math.abs(got[i]! - value)).toBeLessThan(1e-5);
  });

  it("takes memory for what it holds, and frees it", async () => {
    const before = memory();
    const original = model.createCache();
    await next(ids.slice(0, 260), original);
    expect(original.byteLength).toBe(512 * bytesPerToken);
    const forks = [0, 1, 16, 17, 260].map((length) => original.fork(length));
    expect(forks.map(({ byteLength }) => byteLength / bytesPerToken)).toEqual([16, 16, 16, 32, 272]);
    using tight = original.fork(5, { capacity: 6 });
    expect([tight.capacity, tight.byteLength]).toEqual([6, 6 * bytesPerToken]);
    await next([1], tight);
    await expect(next([1], tight)).rejects.toThrow("7 tokens do not fit into a context of 6");
    for (const cache of [original, tight, ...forks]) cache.dispose();
    expect(memory().allocations).toBe(before.allocations);
  });

  it("refuses lengths and capacities that cannot be", async () => {
    using original = model.createCache();
    await next(ids.slice(0, 4), original);
    const before = memory().allocations;
    for (const length of [-1, 5, 1.5, NaN]) expect(() => original.fork(length)).toThrow(`fork: length ${length} is not between 0 and 4`);
    for (const capacity of [3, 0, 4.5]) expect(() => original.fork(4, { capacity })).toThrow(SettingsError);
    expect(() => model.createCache({ initialTokens: 0 })).toThrow("initialTokens 0");
    expect(memory().allocations).toBe(before);
  });
});
