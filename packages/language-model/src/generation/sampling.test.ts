import { memory, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { LanguageModelError, SettingsError } from "../errors.ts";
import { createSampler, type SamplingOptions } from "./sampling.ts";

const logits = tensor(Float32Array.of(1, 3, -2, 3, 0.5, 2), [1, 1, 6]);
const values = [1, 3, -2, 3, 0.5, 2];
const logSum = Math.log(values.reduce((sum, value) => sum + Math.exp(value), 0));

async function draws(options: SamplingOptions, count: number): Promise<number[]> {
  const sample = createSampler(options);
  const ids: number[] = [];
  for (let i = 0; i < count; i++) ids.push((await sample(logits)).id);
  return ids;
}

describe("createSampler", () => {
  it("takes the first of the most likely tokens at temperature 0", async () => {
    expect(await draws({}, 3)).toEqual([1, 1, 1]);
    expect(await createSampler()(logits)).toEqual({ id: 1 });
  });

  it("is sure at temperatures near 0 and even at great ones", async () => {
    const cold = tensor(Float32Array.of(1, 3, 2));
    const sample = createSampler({ temperature: 1e-30 });
    for (let i = 0; i < 20; i++) expect((await sample(cold)).id).toBe(1);
    const counts = new Array<number>(6).fill(0);
    for (const id of await draws({ temperature: 1e9 }, 3000)) counts[id]!++;
    for (const count of counts) expect(count / 500).toBeCloseTo(1, 0);
    cold.dispose();
  });

  it("draws from softmax(logits / temperature)", async () => {
    const count = 5000;
    const temperature = 0.7;
    const weights = values.map((value) => Math.exp(value / temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const observed = new Array<number>(6).fill(0);
    for (const id of await draws({ temperature, seed: 4 }, count)) observed[id]!++;
    const expected = weights.map((weight) => (count * weight) / total);
    const chiSquare = observed.reduce((sum, n, id) => sum + (n - expected[id]!) ** 2 / expected[id]!, 0);
    // 99.9th percentile with 5 degrees of freedom.
    expect(chiSquare).toBeLessThan(20.52);
  });

  it("keeps to top-k and top-p", async () => {
    expect(new Set(await draws({ temperature: 2, topK: 2 }, 200))).toEqual(new Set([1, 3]));
    expect(new Set(await draws({ temperature: 1, topP: 0.5 }, 200))).toEqual(new Set([1, 3]));
    expect(new Set(await draws({ temperature: 1, topP: 1e-9 }, 50))).toEqual(new Set([1]));
    expect(new Set(await draws({ temperature: 5, topK: 1 }, 50))).toEqual(new Set([1]));
  });

  it("repeats itself for the same seed and differs for another", async () => {
    const first = await draws({ temperature: 1, seed: 9 }, 40);
    expect(await draws({ temperature: 1, seed: 9 }, 40)).toEqual(first);
    expect(await draws({ temperature: 1, seed: 10 }, 40)).not.toEqual(first);
  });

  it("goes on where another left off", async () => {
    for (const options of [{ seed: 9 }, { seed: -3, topK: 4, topP: 0.9, logProbabilities: true }]) {
      const all = await draws({ temperature: 1.5, ...options }, 60);
      for (const drawn of [0, 1, 17, 59]) {
        expect(await draws({ temperature: 1.5, ...options, drawn }, 60 - drawn)).toEqual(all.slice(drawn));
      }
      expect(await draws({ temperature: 1.5, ...options, drawn: 20 }, 40)).not.toEqual(all.slice(0, 40));
    }
    expect(await draws({ drawn: 5 }, 2)).toEqual([1, 1]);
    for (const drawn of [-1, 0.5, NaN, 2 ** 53]) expect(() => createSampler({ drawn })).toThrow(SettingsError);
  });

  it("gives log-probabilities under the unmodified model when asked", async () => {
    const greedy = await createSampler({ logProbabilities: true })(logits);
    expect(greedy.logProbability).toBeCloseTo(3 - logSum, 5);
    const sample = createSampler({ temperature: 2, topK: 4, seed: 1, logProbabilities: true });
    for (let i = 0; i < 10; i++) {
      const { id, logProbability } = await sample(logits);
      expect(logProbability).toBeCloseTo(values[id]! - logSum, 5);
    }
  });

  it("refuses settings outside their range, and NaN", async () => {
    for (const options of [{ temperature: -1 }, { temperature: NaN }, { topK: 0 }, { topK: 1.5 }, { topP: 0 }, { topP: 1.1 }]) {
      expect(() => createSampler(options)).toThrow(SettingsError);
    }
    for (const broken of [[NaN, 1], [1, NaN], [1, Infinity]]) {
      using damaged = tensor(Float32Array.from(broken));
      await expect(createSampler()(damaged)).rejects.toBeInstanceOf(LanguageModelError);
      await expect(createSampler({ temperature: 1 })(damaged)).rejects.toBeInstanceOf(LanguageModelError);
    }
  });

  it("frees what it makes", async () => {
    const before = memory().allocations;
    for (const temperature of [0, 1]) await createSampler({ temperature, logProbabilities: true })(logits);
    expect(memory().allocations).toBe(before);
  });
});
