import { mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Generator, getThreads, memory, setThreads, tensor, valueAndGrad } from "@frugal/tensor-core";
import { afterEach, describe, expect, it } from "vitest";
import { createTokenDataset, type TokenDataset } from "../datasets/token-dataset.ts";
import { LanguageModelError, WeightFormatError } from "../errors.ts";
import { generateText } from "../generation/generate.ts";
import { createModel, smallModelConfiguration } from "../model/create-model.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { namedWeights } from "../model/save-model.ts";
import { createByteTokenizer } from "../tokenizer/byte-tokenizer.ts";
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
      // Along the gradient itself the slope is its norm: one check of all elements at once.
      const norm = Math.hypot(...gradient);
      const lossAt = async (distance: number): Promise<number> => {
        using moved = tensor(values.map((value, i) => value + (distance * gradient[i]!) / norm), parameter.shape);
        parameter.assign(moved);
        using result = languageModelLoss(model, batch);
        return await result.item();
      };
      const width = 0.02;
      const slope = ((await lossAt(width)) - (await lossAt(-width))) / (2 * width);
      using original = tensor(values, parameter.shape);
      parameter.assign(original);
      expect(slope / norm, [...namedWeights(model).keys()][index]!).toBeCloseTo(1, 1);
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

  it("frees what its steps make", async () => {
    using model = newModel();
    using trainer = new Trainer(model, dataset, { totalSteps: 4 });
    await trainer.step();
    const before = memory().allocations;
    await trainer.step();
    expect(memory().allocations).toBe(before);
  });

  it("stops with advice when the loss is no longer finite", async () => {
    using model = newModel();
    using trainer = new Trainer(model, dataset, { totalSteps: 4 });
    using broken = tensor(new Float32Array(32).fill(NaN));
    model.norm!.weight.assign(broken);
    await expect(trainer.step()).rejects.toBeInstanceOf(LanguageModelError);
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
    await expect(loadTrainingCheckpoint(longer, path)).rejects.toThrow("totalSteps 6, this one has 7");
    using wide = createModel({ ...config, intermediateSize: 64 }, { generator: new Generator(1) });
    using other = new Trainer(wide, dataset, { totalSteps: 6 });
    await expect(loadTrainingCheckpoint(other, path)).rejects.toBeInstanceOf(WeightFormatError);
    await truncate(path, 1000);
    await expect(loadTrainingCheckpoint(trainer, path)).rejects.toThrow("header");
    await writeFile(path, "no checkpoint");
    await expect(loadTrainingCheckpoint(trainer, path)).rejects.toThrow(path);
    await rm(folder, { recursive: true });
  });
});
