import { memory, tensor } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LanguageModelError, SettingsError } from "../errors.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { loadModel } from "../model/load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "../model/random-weights.testing.ts";
import { rawActivationCodec } from "../split/activation-codec.ts";
import { SplitModel } from "../split/split-model.ts";
import { compareModels, compareWithReference, referencePredictions } from "./model-comparison.ts";
import { scoreSequences, tokenLogProbabilities } from "./scoring.ts";
import type { ScoringModel } from "./windows.ts";

const config = tinyConfiguration({ maxPositionEmbeddings: 12 });
const text = (which: number, length: number): number[] => Array.from({ length }, (_, i) => (i * i * (which + 2) + 5 * which + 3 * i) % 37);
const sequences = [text(0, 11), text(1, 40), text(2, 2)];
const positions = 10 + 39 + 1;

/** The model with its calls counted. */
function counted(model: DecoderModel): { readonly model: ScoringModel; readonly calls: () => number } {
  let calls = 0;
  const { device, vocabularySize } = model;
  const forward: ScoringModel["forward"] = (ids, options) => (calls++, model.forward(ids, options));
  return { model: { device, config, vocabularySize, createCache: (options) => model.createCache(options), forward }, calls: () => calls };
}

describe("compareModels", () => {
  let reference: DecoderModel;
  let candidate: DecoderModel;
  beforeAll(async () => {
    const weights = randomWeights(config);
    const noise = randomWeights(config, 2);
    reference = await loadModel(sourceOf(config, weights));
    const noisy = new Map([...weights].map(([name, values]) => [name, values.map((value, i) => value + 0.1 * noise.get(name)![i]!)]));
    candidate = await loadModel(sourceOf(config, noisy));
  });
  afterAll(() => {
    reference.dispose();
    candidate.dispose();
  });

  /** The first largest logit at each position of a sequence that fits into one window, on the host. */
  async function plainChoices(model: DecoderModel, ids: readonly number[]): Promise<number[]> {
    using input = tensor(Int32Array.from(ids.slice(0, -1)), [1, ids.length - 1]);
    using logits = model.forward(input);
    const values = await logits.data("float32");
    return Array.from({ length: ids.length - 1 }, (_, row) => {
      const at = values.subarray(row * 37, (row + 1) * 37);
      return at.indexOf(Math.max(...at));
    });
  }

  it("scores both as each alone, and counts where they agree", async () => {
    const comparison = await compareModels(reference, candidate, sequences);
    expect(comparison.reference).toEqual(await scoreSequences(reference, sequences));
    expect(comparison.candidate).toEqual(await scoreSequences(candidate, sequences));
    expect(comparison.reference.perplexity).not.toBe(comparison.candidate.perplexity);
    expect(comparison.tokens).toBe(positions);
    const short = [sequences[0]!, text(3, 12), text(4, 9)];
    const choices = (model: DecoderModel): Promise<number[][]> => Promise.all(short.map((ids) => plainChoices(model, ids)));
    const [expected, got] = [await choices(reference), (await choices(candidate)).flat()];
    const agreed = expected.flat().filter((id, i) => id === got[i]).length;
    expect(agreed).toBeGreaterThan(0);
    expect(agreed).toBeLessThan(expected.flat().length);
    expect((await compareModels(reference, candidate, short)).agreement).toBe(agreed / expected.flat().length);
    const predictions = await referencePredictions(reference, short);
    expect(predictions.sequences.map(({ mostLikely }) => [...mostLikely])).toEqual(expected);
    expect(predictions.sequences[1]!.logProbabilities).toEqual(await tokenLogProbabilities(reference, short[1]!));
  });

  it("agrees with itself everywhere, through a split too", async () => {
    const split = new SplitModel(reference, { codec: rawActivationCodec() });
    for (const model of [reference, split]) {
      const { agreement, candidate: score, reference: same } = await compareModels(reference, model, sequences);
      expect(agreement).toBe(1);
      expect(score).toEqual(same);
    }
    expect(split.traffic.messages).toBe(1 + 6 + 1);
  });

  it("gives the same with a reference computed before, in its windows", async () => {
    for (const options of [{}, { window: 7 }]) {
      const predictions = await referencePredictions(reference, sequences, options);
      expect(predictions.window).toBe(options.window ?? 12);
      const [first, second] = [counted(candidate), counted(candidate)];
      const together = await compareModels(reference, first.model, sequences, options);
      expect(await compareWithReference(predictions, second.model, sequences)).toEqual(together);
      expect(second.calls()).toBe(first.calls());
    }
  });

  it("takes one forward pass of each model a window, in the shorter one's context", async () => {
    const [a, b] = [counted(reference), counted(candidate)];
    const shorter: ScoringModel = { ...b.model, config: { ...config, maxPositionEmbeddings: 8 } };
    const seen: number[] = [];
    await compareModels(a.model, shorter, sequences, { onProgress: (scored) => seen.push(scored) });
    // 11 tokens in windows of 8 from 0 and 4, 40 tokens in windows from 0, 4, …, 32, 2 tokens in one.
    expect([a.calls(), b.calls()]).toEqual([12, 12]);
    expect(seen).toEqual([7, 10, 17, 21, 25, 29, 33, 37, 41, 45, 49, 50]);
    const predictions = await referencePredictions(reference, sequences);
    await expect(compareWithReference(predictions, shorter, sequences)).rejects.toBeInstanceOf(SettingsError);
  });

  it("ends when it is told to, and frees everything", async () => {
    const before = memory().allocations;
    const controller = new AbortController();
    const onProgress = (scored: number): void => {
      if (scored > 20) controller.abort(new Error("enough"));
    };
    const options = { onProgress, signal: controller.signal };
    const { model, calls } = counted(candidate);
    await expect(compareModels(reference, model, sequences, options)).rejects.toThrow("enough");
    expect(calls()).toBe(2);
    await expect(tokenLogProbabilities(reference, sequences[1]!, options)).rejects.toThrow("enough");
    await expect(referencePredictions(reference, sequences, options)).rejects.toThrow("enough");
    const failing: ScoringModel = { ...model, forward: () => Promise.reject(new Error("out of order")) };
    await expect(compareModels(reference, failing, sequences)).rejects.toThrow("out of order");
    expect(memory().allocations).toBe(before);
  });

  it("refuses what cannot be compared", async () => {
    const predictions = await referencePredictions(reference, sequences);
    await expect(compareWithReference(predictions, candidate, sequences.slice(1))).rejects.toThrow("of other sequences");
    await expect(compareWithReference(predictions, candidate, sequences.toReversed())).rejects.toThrow("of other sequences");
    const smaller = { ...counted(candidate).model, vocabularySize: 36 };
    await expect(compareModels(reference, smaller, sequences)).rejects.toThrow("37 and 36 tokens");
    await expect(compareModels(reference, candidate, [])).rejects.toThrow("no sequence");
    await expect(compareModels(reference, candidate, [[1]])).rejects.toBeInstanceOf(LanguageModelError);
    await expect(compareModels(reference, candidate, [[1, 40]])).rejects.toThrow("token id 40");
    await expect(compareModels(reference, candidate, sequences, { window: 13 })).rejects.toBeInstanceOf(SettingsError);
    const huge = new Map(randomWeights(config)).set("model.norm.weight", new Float32Array(32).fill(3e38));
    using broken = await loadModel(sourceOf(config, huge));
    await expect(compareModels(reference, broken, sequences)).rejects.toThrow(/the loss of token \d is .*damaged/);
  });
});
