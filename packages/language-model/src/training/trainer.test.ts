import { mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Generator, getThreads, memory, randomKey, randomWord, setThreads, tensor, valueAndGrad } from "@frugal/tensor-core";
import { afterEach, describe, expect, it } from "vitest";
import { createTokenDataset, type TokenDataset } from "../datasets/token-dataset.ts";
import { LanguageModelError, WeightFormatError } from "../errors.ts";
import { generateText } from "../generation/generate.ts";
import { createModel, smallModelConfiguration } from "../model/create-model.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { namedWeights } from "../model/save-model.ts";
import { createByteTokenizer } from "../tokenizer/byte-tokenizer.ts";
import { RECORDED_RUN, trainRecordedRun } from "./recorded-run.testing.ts";
import { languageModelLoss, Trainer, validationLoss, type TrainingStep } from "./trainer.ts";
import { loadTrainingCheckpoint, saveTrainingCheckpoint } from "./training-checkpoint.ts";

const tokenizer = createByteTokenizer();
const text = "the quick brown fox jumps over the lazy dog. ".repeat(30);
const config = smallModelConfiguration({
  vocabularySize: tokenizer.vocabularySize, hiddenSize: 32, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 2,
  maxPositionEmbeddings: 64,
});
const dataset: TokenDataset = createTokenDataset(tokenizer.encode(text, { bos: false }), { sequenceLength: 32, batchSize: 4, seed: 2 });
const newModel = (): DecoderModel => createModel(config, { generator: new Generator(7) });

async function steps(trainer: Trainer, count: number): Promise<TrainingStep[]> {
  const taken: TrainingStep[] = [];
  for (let i = 0; i < count; i++) taken.push(await trainer.step());
  return taken;
}

/** A vector of length 1, of random signs: no element is left out. */
function randomDirection(length: number, seed: number): Float32Array {
  const key = randomKey(seed);
  return Float32Array.from({ length }, (_, i) => (randomWord(key, i) % 2 === 0 ? 1 : -1) / Math.sqrt(length));
}

const withoutTime = (step: TrainingStep): Partial<TrainingStep> => ({ ...step, milliseconds: 0 });

async function valuesOf(model: DecoderModel): Promise<Record<string, Float32Array>> {
  const values: Record<string, Float32Array> = {};
  for (const [name, weight] of namedWeights(model)) values[name] = await weight.data("float32");
  return values;
}

const threads = getThreads();
afterEach(() => setThreads(threads));

describe("Trainer", () => {
  it("learns a repeated sentence by heart", async () => {
    using model = newModel();
    using trainer = new Trainer(model, dataset, { totalSteps: 120, learningRate: 1e-2 });
    const taken = await steps(trainer, 120);
    expect(taken[0]!.loss).toBeCloseTo(Math.log(tokenizer.vocabularySize), 0);
    expect(taken.at(-1)!.loss).toBeLessThan(0.2);
    expect(taken.map(({ step }) => step)).toEqual(Array.from({ length: 120 }, (_, i) => i + 1));
    expect(taken[0]).toMatchObject({ tokens: 128, learningRate: expect.closeTo(1e-2 / 6, 12) as number });
    expect(taken[5]!.learningRate).toBeCloseTo(1e-2, 10);
    expect(taken.at(-1)!.learningRate).toBeLessThan(1.1e-3);
    const written = await generateText(model, tokenizer, "the quick brown ", { maxNewTokens: 28 });
    expect(written.text).toBe("fox jumps over the lazy dog.");
    expect(await validationLoss(model, dataset, 2)).toBeLessThan(0.2);
  });

  it("has gradients that agree with finite differences", async () => {
    using model = newModel();
    const batch = createTokenDataset(tokenizer.encode(text), { sequenceLength: 8, batchSize: 2 }).batch(0);
    const parameters = model.parameters();
    const [loss, gradients] = valueAndGrad(() => languageModelLoss(model, batch))(parameters);
    expect(Number.isFinite(await loss.item())).toBe(true);
    for (const [index, parameter] of parameters.entries()) {
      const values = await parameter.data("float32");
      const gradient = await gradients[index]!.data("float32");
      // Slopes along random directions, in which every element has a part: ⟨gradient, direction⟩ is of this size.
      const size = Math.hypot(...gradient) / Math.sqrt(gradient.length);
      let missed = 0;
      for (const key of [0, 1, 2]) {
        const direction = randomDirection(values.length, 4 * index + key);
        const lossAt = async (distance: number): Promise<number> => {
          using moved = tensor(values.map((value, i) => value + distance * direction[i]!), parameter.shape);
          parameter.assign(moved);
          using result = languageModelLoss(model, batch);
          return await result.item();
        };
        const width = 0.1;
        const slope = ((await lossAt(width)) - (await lossAt(-width))) / (2 * width);
        const along = (from: number): number => gradient.reduce((sum, value, i) => (i < from ? sum : sum + value * direction[i]!), 0);
        expect(Math.abs(slope - along(0)), [...namedWeights(model).keys()][index]!).toBeLessThan(0.1 * size);
        missed = Math.max(missed, Math.abs(slope - along(Math.ceil(gradient.length / 2))));
      }
      // A gradient of which half is zeroed would not pass.
      expect(missed).toBeGreaterThan(0.2 * size);
      using original = tensor(values, parameter.shape);
      parameter.assign(original);
    }
    for (const gradient of gradients) gradient.dispose();
    loss.dispose();
  });

  it("gives the same bits with one thread and with two", async () => {
    const results: unknown[] = [];
    for (const count of [1, 2]) {
      setThreads(count);
      using model = newModel();
      using trainer = new Trainer(model, dataset, { totalSteps: 4 });
      const taken = await steps(trainer, 4);
      results.push({ losses: taken.map(({ loss, gradientNorm }) => [loss, gradientNorm]), weights: await valuesOf(model) });
    }
    expect(results[1]).toEqual(results[0]);
  });

  it("takes the recorded steps, to the bit, as it does in browsers", async () => {
    expect(await trainRecordedRun()).toEqual(RECORDED_RUN);
  });

  it("frees what its steps make", async () => {
    using model = newModel();
    using trainer = new Trainer(model, dataset, { totalSteps: 4 });
    await trainer.step();
    const before = memory().allocations;
    await trainer.step();
    languageModelLoss(model, dataset.batch(0)).dispose();
    expect(memory().allocations).toBe(before);
  });

  it.each([[NaN, "the loss is NaN"], [1e38, /the (loss is|gradients have the norm) (NaN|Infinity)/]])(
    "stops with advice and changes nothing when a norm gain of %d makes the loss or its gradients not finite", async (gain, message) => {
      using model = newModel();
      using trainer = new Trainer(model, dataset, { totalSteps: 4 });
      await validationLoss(model, dataset, 1); // makes the rotary tables, which stay
      using broken = tensor(new Float32Array(32).fill(gain));
      model.norm!.weight.assign(broken);
      const [before, weights] = [memory().allocations, await valuesOf(model)];
      const step = trainer.step();
      await expect(step).rejects.toBeInstanceOf(LanguageModelError);
      await expect(step).rejects.toThrow(message);
      await expect(step).rejects.toThrow("lower the learning rate (0.001)");
      expect([trainer.optimizer.stepCount, memory().allocations]).toEqual([0, before]);
      expect(await valuesOf(model)).toEqual(weights);
      await expect(validationLoss(model, dataset, 1)).rejects.toThrow("not finite");
    },
  );

  it("refuses ids that the model has no vector for", async () => {
    using model = newModel();
    const foreign = createTokenDataset(new Array<number>(100).fill(300), { sequenceLength: 8, batchSize: 1 });
    using trainer = new Trainer(model, foreign, { totalSteps: 4 });
    await expect(trainer.step()).rejects.toThrow("token id 300 is not in the vocabulary");
    await expect(validationLoss(model, foreign, 1)).rejects.toThrow("token id 300");
    await expect(validationLoss(model, dataset, 0)).rejects.toThrow("0 batches");
  });
});

describe("training checkpoints", () => {
  it("go on bit by bit where the run stopped", async () => {
    const folder = await mkdtemp(join(tmpdir(), "frugal-checkpoint-"));
    const path = join(folder, "checkpoint.safetensors");
    const settings = { totalSteps: 6, learningRate: 5e-3 };
    using straight = newModel();
    using one = new Trainer(straight, dataset, settings);
    const expected = (await steps(one, 6)).map(withoutTime);
    {
      using stopped = newModel();
      using trainer = new Trainer(stopped, dataset, settings);
      await steps(trainer, 3);
      await saveTrainingCheckpoint(trainer, path);
    }
    expect(await readdir(folder)).toEqual(["checkpoint.safetensors"]);
    using resumed = createModel(config, { generator: new Generator(99) });
    using trainer = new Trainer(resumed, dataset, settings);
    await loadTrainingCheckpoint(trainer, path);
    const rest = (await steps(trainer, 3)).map(withoutTime);
    expect(rest).toEqual(expected.slice(3));
    expect(await valuesOf(resumed)).toEqual(await valuesOf(straight));
    await rm(folder, { recursive: true });
  });

  it("refuses another run's, another model's, and files that are none", async () => {
    const folder = await mkdtemp(join(tmpdir(), "frugal-checkpoint-"));
    const path = join(folder, "checkpoint.safetensors");
    using model = newModel();
    using trainer = new Trainer(model, dataset, { totalSteps: 6 });
    await trainer.step();
    await saveTrainingCheckpoint(trainer, path);
    using longer = new Trainer(model, dataset, { totalSteps: 7, warmupSteps: 1 });
    await expect(loadTrainingCheckpoint(longer, path)).rejects.toThrow("settings totalSteps 6, this one has 7");
    const reordered = createTokenDataset(tokenizer.encode(text, { bos: false }), { sequenceLength: 32, batchSize: 4, seed: 3 });
    using shuffled = new Trainer(model, reordered, { totalSteps: 6 });
    await expect(loadTrainingCheckpoint(shuffled, path)).rejects.toThrow("dataset seed 2, this one has 3");
    using wide = createModel({ ...config, intermediateSize: 64 }, { generator: new Generator(1) });
    using other = new Trainer(wide, dataset, { totalSteps: 6 });
    await expect(loadTrainingCheckpoint(other, path)).rejects.toBeInstanceOf(WeightFormatError);
    // The same shapes do not make the same model.
    for (const [changes, message] of [
      [{ ropeTheta: 500 }, "configuration ropeTheta 10000, this one has 500"],
      [{ numAttentionHeads: 2, numKeyValueHeads: 1, headDim: 16 }, "numAttentionHeads 4, this one has 2"],
      [{ rmsNormEps: 1e-6 }, "rmsNormEps"],
    ] as const) {
      using similar = createModel({ ...config, ...changes }, { generator: new Generator(1) });
      using before = new Trainer(similar, dataset, { totalSteps: 6 });
      const weights = await valuesOf(similar);
      await expect(loadTrainingCheckpoint(before, path)).rejects.toThrow(message);
      expect(await valuesOf(similar)).toEqual(weights);
    }
    for (const damage of [() => truncate(path, 1000), () => writeFile(path, "no checkpoint")]) {
      await damage();
      await expect(loadTrainingCheckpoint(trainer, path)).rejects.toBeInstanceOf(WeightFormatError);
      await expect(loadTrainingCheckpoint(trainer, path)).rejects.toThrow(path);
    }
    await rm(folder, { recursive: true });
  });
});
