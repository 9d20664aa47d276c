import { readFile } from "node:fs/promises";
import { memory } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ContextLengthError, LanguageModelError, SettingsError } from "../errors.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { loadModel } from "../model/load-model.ts";
import { plainForward } from "../model/plain-decoder.testing.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "../model/random-weights.testing.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import { openStories15m } from "../weights/stories15m.ts";
import { scoreContinuations, scoreSequences, tokenLogProbabilities } from "./scoring.ts";
import type { ScoringModel } from "./windows.ts";

describe("scoring", () => {
  const config = tinyConfiguration({ maxPositionEmbeddings: 12 });
  const weights = randomWeights(config);
  let model: DecoderModel;
  beforeAll(async () => void (model = await loadModel(sourceOf(config, weights))));
  afterAll(() => model.dispose());
  const ids = [1, 4, 9, 16, 25, 36, 12, 27, 7, 26, 10];

  /** log p of each token, by plain loops. */
  function plainLogProbabilities(sequence: readonly number[]): number[] {
    const frequencies = Array.from({ length: 4 }, (_, i) => 10000 ** (-i / 4));
    const logits = plainForward(config, weights, frequencies, sequence.slice(0, -1));
    return logits.map((row, i) => row[sequence[i + 1]!]! - Math.log(row.reduce((sum, value) => sum + Math.exp(value), 0)));
  }

  it("gives the log-probability of each token after those before it", async () => {
    const scores = await tokenLogProbabilities(model, ids);
    plainLogProbabilities(ids).forEach((expected, i) => expect(scores[i]).toBeCloseTo(expected, 4));
    const { logProbability, tokens, perplexity } = await scoreSequences(model, [ids, ids.slice(0, 4)]);
    expect(tokens).toBe(13);
    const expected = [...plainLogProbabilities(ids), ...plainLogProbabilities(ids.slice(0, 4))].reduce((sum, value) => sum + value, 0);
    expect(logProbability).toBeCloseTo(expected, 3);
    expect(perplexity).toBeCloseTo(Math.exp(-expected / 13), 3);
  });

  it("scores longer texts in windows that overlap by half, each token once", async () => {
    const long = Array.from({ length: 40 }, (_, i) => (i * i * 7 + 3) % 37);
    for (const window of [12, 8, 5]) {
      const scores = await tokenLogProbabilities(model, long, { window });
      expect(scores.length).toBe(39);
      const step = Math.floor(window / 2);
      for (let target = 1; target < long.length; target++) {
        // The first window that reaches the target is the one that scores it.
        const index = Math.max(0, Math.ceil((target - (window - 1)) / step));
        const context = long.slice(index * step, target + 1);
        expect(scores[target - 1]).toBeCloseTo(plainLogProbabilities(context).at(-1)!, 4);
      }
    }
    await expect(tokenLogProbabilities(model, long, { window: 13 })).rejects.toThrow("window 13");
    await expect(tokenLogProbabilities(model, long, { window: 1 })).rejects.toBeInstanceOf(SettingsError);
  });

  it("scores answers after a shared prompt as it scores the whole sequences", async () => {
    const prompt = ids.slice(0, 5);
    const answers = [[3], [36, 12], [5, 5, 5, 20], [36, 13]];
    const before = memory().allocations;
    const scores = await scoreContinuations(model, prompt, answers);
    expect(memory().allocations).toBe(before);
    for (const [i, answer] of answers.entries()) {
      const whole = await tokenLogProbabilities(model, [...prompt, ...answer]);
      const expected = whole.slice(-answer.length).reduce((sum, value) => sum + value, 0);
      expect(scores[i]!.logProbability).toBeCloseTo(expected, 4);
      expect(scores[i]!.meanLogProbability).toBeCloseTo(expected / answer.length, 4);
    }
    const [alone] = await scoreContinuations(model, [1], [[4]]);
    expect(alone!.logProbability).toBeCloseTo(plainLogProbabilities([1, 4])[0]!, 4);
  });

  it("refuses ids outside the vocabulary rather than scoring them NaN", async () => {
    const before = memory().allocations;
    await expect(tokenLogProbabilities(model, [1, 37])).rejects.toThrow("token id 37 is not in the vocabulary of 37");
    await expect(scoreSequences(model, [[1, 2], [-1, 3]])).rejects.toThrow("token id -1");
    await expect(scoreContinuations(model, [1, 99], [[1]])).rejects.toThrow("token id 99");
    await expect(scoreContinuations(model, [1], [[1], [40]])).rejects.toThrow("token id 40");
    expect(memory().allocations).toBe(before);
  });

  it("says when losses are not finite", async () => {
    const huge = new Map(weights).set("model.norm.weight", weights.get("model.norm.weight")!.map(() => 3e38));
    using broken = await loadModel(sourceOf(config, huge));
    await expect(tokenLogProbabilities(broken, [1, 2, 3])).rejects.toThrow(/the loss of token \d is .*damaged/);
    await expect(scoreContinuations(broken, [1], [[2]])).rejects.toBeInstanceOf(LanguageModelError);
  });

  it("frees its tensors when a forward fails", async () => {
    const before = memory().allocations;
    let calls = 0;
    const failing: ScoringModel = {
      device: "cpu", config, vocabularySize: 37,
      createCache: (options) => model.createCache(options),
      forward(input, options) {
        if (calls++ > 0) throw new Error("out of order");
        return model.forward(input, options);
      },
    };
    await expect(scoreContinuations(failing, [1, 2], [[3]])).rejects.toThrow("out of order");
    await expect(scoreContinuations(failing, [1, 2], [[3]])).rejects.toThrow("out of order");
    await expect(tokenLogProbabilities(failing, [1, 2])).rejects.toThrow("out of order");
    expect(memory().allocations).toBe(before);
  });

  it("refuses what cannot be scored", async () => {
    await expect(tokenLogProbabilities(model, [1])).rejects.toBeInstanceOf(LanguageModelError);
    await expect(scoreSequences(model, [])).rejects.toThrow("no sequence");
    await expect(scoreContinuations(model, [], [[1]])).rejects.toThrow("at least one token");
    await expect(scoreContinuations(model, [1], [[]])).rejects.toThrow("at least one token");
    await expect(scoreContinuations(model, ids, [[1, 2, 3]])).rejects.toBeInstanceOf(ContextLengthError);
  });
});

describe("perplexity of stories15M", () => {
  const path = sharedData("stories15M", "sampled-stories.json");

  it.skipIf(path === undefined)("is 2.837 on the test stories, and little more in fewer bits", async () => {
    const file = JSON.parse(await readFile(path!, "utf8")) as { readonly test: readonly (readonly number[])[] };
    expect(file.test.length).toBe(20);
    const source = await openStories15m();
    const perplexities: Record<string, number> = {};
    for (const precision of ["float32", "float16", "int8", "uint4"] as const) {
      using model = await loadModel(source, { precision });
      perplexities[precision] = (await scoreSequences(model, file.test)).perplexity;
    }
    await source.close();
    expect(perplexities["float32"]!.toFixed(3)).toBe("2.837");
    expect(Math.abs(perplexities["float16"]! - perplexities["float32"]!)).toBeLessThan(0.0001);
    expect(Math.abs(perplexities["int8"]! / perplexities["float32"]! - 1)).toBeLessThan(0.002);
    expect(perplexities["uint4"]! / perplexities["float32"]! - 1).toBeLessThan(0.1);
  }, 120_000);
});
