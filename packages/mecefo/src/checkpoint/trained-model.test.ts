import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createModel, generateText, loadModel, openPretrained, parseModelConfiguration } from "@frugal/language-model";
import { crossEntropy, Generator, memory, tensor, tidy } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CheckpointError, FormatError, SettingsError } from "../errors.ts";
import { openData, prepareData } from "../job/prepare-data.ts";
import type { Job } from "../job/job.ts";
import { latestCheckpoint, type Checkpoint } from "./open-checkpoint.ts";
import { sampleJob, writeSampleCheckpoint } from "./sample-states.testing.ts";
import { evaluateCheckpoint, evaluateModel, exportModel, openTrainedModel } from "./trained-model.ts";

let root: string;
let job: Job;
let checkpoint: Checkpoint;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "mecefo-trained-"));
  await writeFile(join(root, "text.txt"), "It was the best of times, it was the worst of times. ".repeat(60));
  job = sampleJob({ data: await prepareData({ text: join(root, "text.txt"), folder: join(root, "data") }), seed: 4 });
  await writeSampleCheckpoint(join(root, "checkpoints"), job, 12);
  checkpoint = (await latestCheckpoint(join(root, "checkpoints")))!;
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

describe("a checkpoint's model", () => {
  it("is exported with its tokenizer, and generates what the model in memory does", async () => {
    const before = memory().allocations;
    const folder = join(root, "exported");
    await exportModel(checkpoint, folder);
    const { source, loadTokenizer } = await openPretrained(folder);
    const tokenizer = await loadTokenizer();
    const exported = await loadModel(source);
    await source.close();
    const trained = await openTrainedModel(checkpoint);
    const { model: kind } = job;
    if (kind.kind !== "decoder") throw new Error("the sample job has another model");
    const expected = createModel(parseModelConfiguration(kind.configuration), { generator: new Generator(4) });
    const ids = tokenizer.encode("It was");
    expect(ids).toEqual([...new TextEncoder().encode("It was")]);
    const logits = async (model: typeof expected): Promise<Float32Array> => {
      using result = tidy(() => model.forward(tensor(Int32Array.from(ids), [1, ids.length])));
      return await result.data("float32");
    };
    const fromMemory = await logits(trained as typeof expected);
    expect(fromMemory).toEqual(await logits(expected));
    expect(await logits(exported)).toEqual(fromMemory);
    const options = { maxNewTokens: 12, temperature: 0 };
    expect(await generateText(exported, tokenizer, "It was", options)).toEqual(await generateText(expected, tokenizer, "It was", options));
    for (const model of [exported, trained, expected]) model.dispose();
    expect(memory().allocations).toBe(before);
  });

  it("is evaluated on every held-out sequence once", async () => {
    const before = memory().allocations;
    const { validation } = await openData(job.data.folder);
    const sequences = Math.floor((validation.length - 1) / 16);
    const evaluation = await evaluateCheckpoint(checkpoint);
    const model = await openTrainedModel(checkpoint);
    let total = 0;
    for (let at = 0; at < sequences; at++) {
      using loss = tidy(() => {
        const inputs = tensor(validation.slice(at * 16, at * 16 + 16), [1, 16]);
        return crossEntropy(model.forward(inputs), tensor(validation.slice(at * 16 + 1, at * 16 + 17), [1, 16]));
      });
      total += await loss.item();
    }
    expect(evaluation.tokens).toBe(sequences * 16);
    expect(evaluation.loss).toBeCloseTo(total / sequences, 5);
    expect(evaluation.perplexity).toBeCloseTo(Math.exp(total / sequences), 2);
    const first = await evaluateModel(model, validation, { sequenceLength: 16, maximumTokens: 40, batchSize: 1 });
    expect(first.tokens).toBe(32);
    await expect(evaluateModel(model, validation.subarray(0, 16), { sequenceLength: 16 })).rejects.toThrow(SettingsError);
    model.dispose();
    expect(memory().allocations).toBe(before);
  });

  it("is not evaluated on other data, nor exported without tokenizer or as a module's", async () => {
    const before = memory().allocations;
    await prepareData({ text: join(root, "text.txt"), validationFraction: 0.5, folder: join(root, "other") });
    await expect(evaluateCheckpoint(checkpoint, join(root, "other"))).rejects.toThrow(FormatError);
    await expect(exportModel(checkpoint, join(root, "none"), { dataFolder: join(root, "absent") })).rejects.toThrow(/data\.json/);
    const { manifest } = checkpoint;
    const module = { kind: "module" as const, path: "m.js" };
    const ofModule = { ...checkpoint, manifest: { ...manifest, resume: { ...manifest.resume, model: module } } };
    await expect(exportModel(ofModule, join(root, "none"))).rejects.toThrow(CheckpointError);
    const { model: kind } = job;
    if (kind.kind !== "decoder") throw new Error("the sample job has another model");
    const deeper = { kind: "decoder" as const, configuration: { ...(kind.configuration as object), numHiddenLayers: 5 } };
    const unfit = { ...checkpoint, manifest: { ...manifest, resume: { ...manifest.resume, model: deeper } } };
    await expect(openTrainedModel(unfit)).rejects.toThrow("no shard holds model.layers.4");
    expect(memory().allocations).toBe(before);
  });
});
