import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Generator, tensor } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MissingResourceError, UnsupportedModelError, WeightFormatError } from "../errors.ts";
import { configurationFromHuggingFace, type ModelConfiguration } from "../weights/model-configuration.ts";
import { openHuggingFaceFolder } from "../weights/hugging-face.ts";
import { createModel, smallModelConfiguration } from "./create-model.ts";
import type { DecoderModel } from "./decoder-model.ts";
import { loadModel } from "./load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "./random-weights.testing.ts";
import { configurationToHuggingFace, namedWeights, saveModel } from "./save-model.ts";

async function valuesOf(model: DecoderModel): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const [name, weight] of namedWeights(model)) values.set(name, await weight.data("float32"));
  return values;
}

async function logitsOf(model: DecoderModel): Promise<Float32Array> {
  using input = tensor(Int32Array.from([1, 9, 3, 3, 30]), [1, 5]);
  using logits = model.forward(input);
  return await logits.data("float32");
}

describe("saveModel", () => {
  let folder: string;
  beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "frugal-save-"))));
  afterAll(() => rm(folder, { recursive: true }));

  it.each([true, false])("gives back every bit (tied embeddings: %s)", async (tieWordEmbeddings) => {
    const config = smallModelConfiguration({
      vocabularySize: 50, hiddenSize: 48, numHiddenLayers: 2, numAttentionHeads: 4, numKeyValueHeads: 2, tieWordEmbeddings,
      bosTokenId: 1, eosTokenIds: [2, 3],
    });
    using model = createModel(config, { generator: new Generator(5) });
    const path = join(folder, `tied-${tieWordEmbeddings}`);
    await saveModel(model, path);
    const source = await openHuggingFaceFolder(path);
    expect(source.config).toEqual(config);
    using loaded = await loadModel(source);
    await source.close();
    expect(await valuesOf(loaded)).toEqual(await valuesOf(model));
    expect(await logitsOf(loaded)).toEqual(await logitsOf(model));
    expect((await readdir(path)).sort()).toEqual(["config.json", "model.safetensors"]);
  });

  it("reorders interleaved rotary weights, biases included, to the layout of Hugging Face", async () => {
    const config = tinyConfiguration({ architecture: "qwen2", attentionBias: true, ropeLayout: "interleaved" });
    using model = await loadModel(sourceOf(config, randomWeights(config)));
    const path = join(folder, "interleaved");
    await saveModel(model, path);
    const source = await openHuggingFaceFolder(path);
    expect(source.config).toEqual({ ...config, ropeLayout: "half" });
    using loaded = await loadModel(source);
    await source.close();
    const [saved, original] = [await logitsOf(loaded), await logitsOf(model)];
    saved.forEach((value, i) => expect(value).toBeCloseTo(original[i]!, 5));
    expect(await valuesOf(loaded)).not.toEqual(await valuesOf(model));
  });

  it("refuses what the format cannot hold", async () => {
    const config = tinyConfiguration();
    const source = sourceOf(config, randomWeights(config));
    using quantised = await loadModel(source, { precision: "int8" });
    await expect(saveModel(quantised, join(folder, "none"))).rejects.toThrow("quantised weights cannot be saved");
    using part = await loadModel(source, { parts: { head: false } });
    await expect(saveModel(part, join(folder, "none"))).rejects.toBeInstanceOf(UnsupportedModelError);
    const stretched = tinyConfiguration({ ropeScaling: { type: "factors", factors: [1, 2, 3, 4] } });
    expect(() => configurationToHuggingFace(stretched)).toThrow("rotary factors");
    for (const [changes, message] of [
      [{ attentionOutputBias: true }, "attentionOutputBias true has no form in Hugging Face's llama, which reads false"],
      [{ attentionBias: true }, "attentionOutputBias false"],
      [{ architecture: "qwen2" }, "attentionBias false has no form in Hugging Face's qwen2"],
    ] satisfies [Partial<ModelConfiguration>, string][]) {
      const odd = tinyConfiguration(changes);
      using model = await loadModel(sourceOf(odd, randomWeights(odd)));
      const saving = saveModel(model, join(folder, "none"));
      await expect(saving).rejects.toThrow(message);
      await expect(saving).rejects.toBeInstanceOf(UnsupportedModelError);
    }
    expect((await readdir(folder)).includes("none")).toBe(false);
  });

  it("is read back with typed errors when files are damaged", async () => {
    const config = tinyConfiguration();
    using model = await loadModel(sourceOf(config, randomWeights(config)));
    const path = join(folder, "damaged");
    await saveModel(model, path);
    const weights = join(path, "model.safetensors");
    const { length } = await readFile(weights);
    await truncate(weights, length - 1);
    await expect(openHuggingFaceFolder(path)).rejects.toBeInstanceOf(WeightFormatError);
    await rm(weights);
    await expect(openHuggingFaceFolder(path)).rejects.toBeInstanceOf(MissingResourceError);
    const json = JSON.parse(await readFile(join(path, "config.json"), "utf8")) as Record<string, unknown>;
    await saveModel(model, path);
    await writeFile(join(path, "config.json"), JSON.stringify({ ...json, intermediate_size: 64 }));
    await expect(openHuggingFaceFolder(path)).rejects.toThrow("tensor model.layers.0.mlp.gate_proj.weight is [48, 32], expected [64, 32]");
  });
});

describe("configurationToHuggingFace", () => {
  it.each<[string, Partial<ModelConfiguration>]>([
    ["defaults", {}],
    ["Qwen2", { architecture: "qwen2", attentionBias: true }],
    ["linear scaling", { ropeScaling: { type: "linear", factor: 2 } }],
    ["Llama 3 scaling", {
      ropeScaling: { type: "llama3", factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositionEmbeddings: 32 },
    }],
    ["several end tokens", { eosTokenIds: [2, 5, 6] }],
    ["no end tokens", { eosTokenIds: [] }],
  ])("is what configurationFromHuggingFace reads: %s", (_, changes) => {
    const config = tinyConfiguration(changes);
    expect(configurationFromHuggingFace(JSON.parse(JSON.stringify(configurationToHuggingFace(config))))).toEqual(config);
  });
});
