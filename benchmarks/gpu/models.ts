/** Whole models on the GPU: generation token by token, and training steps. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { full, Generator, Parameter, type QuantizedTensor, type Tensor } from "@frugal/tensor-core";
import {
  createModel,
  createTokenDataset,
  DecoderModel,
  expectedWeights,
  generateTokens,
  loadModel,
  modelCacheFolder,
  openGgufFile,
  openStories15m,
  smallModelConfiguration,
  TINY_LLAMA,
  Trainer,
  type ModelConfiguration,
  type WeightSource,
} from "@frugal/language-model";
import { tokenIds } from "../src/inputs.ts";
import type { TrainingShape } from "../src/workload.ts";
import { randomWeight } from "./operations.ts";
import type { GpuTask, WeightFormat } from "./workloads.ts";

/** A model ready to be timed. */
export interface PreparedModel {
  run(): Promise<void>;
  /** What it is, and how its first run was checked. */
  readonly note: string;
  /** Most GPU submissions for one token, once all kernels are compiled. */
  readonly submissionsPerToken?: number;
  dispose(): void;
}

/**
 * "Once upon a time" in Llama's vocabulary, and how stories15M goes on:
 * ", there was a little girl named Lily. She loved to play outside in".
 */
const promptIds = [1, 9038, 2501, 263, 931];
const goldenIds = [29892, 727, 471, 263, 2217, 7826, 4257, 365, 2354, 29889, 2296, 18012, 304, 1708, 5377, 297];

/** TinyLlama's shape, and one of the same kind that a software adapter manages. */
const configurations: Readonly<Record<"llama-1.1b" | "llama-tiny", ModelConfiguration>> = {
  "llama-1.1b": smallModelConfiguration({
    vocabularySize: 32_000,
    hiddenSize: 2048,
    intermediateSize: 5632,
    numHiddenLayers: 22,
    numAttentionHeads: 32,
    numKeyValueHeads: 4,
    maxPositionEmbeddings: 2048,
    tieWordEmbeddings: false,
  }),
  "llama-tiny": smallModelConfiguration({
    vocabularySize: 256,
    hiddenSize: 64,
    intermediateSize: 192,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    maxPositionEmbeddings: 64,
    tieWordEmbeddings: false,
  }),
};

function randomModel(config: ModelConfiguration, format: WeightFormat): DecoderModel {
  const shapes = expectedWeights(config);
  let seed = 10;
  const weight = (name: string): Parameter | QuantizedTensor | undefined => {
    const shape = shapes.get(name);
    if (shape === undefined) return undefined;
    if (shape.length === 1) return new Parameter(full(shape, 1, { device: "webgpu" }));
    const isTable = !name.endsWith("_proj.weight");
    const [outputs, inputs] = shape as readonly [number, number];
    // As `loadModel` does: tables suffer more from 4 bits.
    const stored = randomWeight(outputs, inputs, isTable && format === "uint4" ? "int8" : format, "webgpu", { seed: seed++, scale: 0.03 });
    return format === "float32" || format === "float16" ? new Parameter(stored as Tensor) : (stored as QuantizedTensor);
  };
  return new DecoderModel(config, weight, { device: "webgpu" });
}

async function openStories(): Promise<WeightSource> {
  const file = process.env["FRUGAL_STORIES15M_GGUF"];
  return file === undefined ? await openStories15m() : await openGgufFile(file);
}

async function loadedModel(
  name: Extract<GpuTask, { kind: "generate" }>["model"],
  format: WeightFormat,
): Promise<{ readonly model: DecoderModel; readonly note: string }> {
  if (name === "stories15m") {
    const source = await openStories();
    const model = await loadModel(source, { device: "webgpu", precision: format });
    await source.close();
    return { model, note: "stories15M" };
  }
  const file = join(await modelCacheFolder(), TINY_LLAMA.fileName);
  if (name === "llama-1.1b" && existsSync(file)) {
    const source = await openGgufFile(file);
    const model = await loadModel(source, { device: "webgpu", precision: format });
    await source.close();
    return { model, note: "TinyLlama 1.1B" };
  }
  return { model: randomModel(configurations[name], format), note: "random weights in TinyLlama's shape" };
}

/** Greedy generation; the first run checks the text of stories15M. @throws when that differs */
export async function prepareGeneration(
  { model: name, weights, tokens }: Extract<GpuTask, { kind: "generate" }>,
  submissions: () => number,
): Promise<PreparedModel> {
  const { model, note } = await loadedModel(name, weights);
  const prompt = name === "llama-tiny" ? [1, 2, 3, 4, 5] : promptIds;
  let most = 0;
  const generate = async (): Promise<number[]> => {
    const ids: number[] = [];
    let last = submissions();
    for await (const { id } of generateTokens(model, prompt, { maxNewTokens: tokens, temperature: 0, stopTokenIds: [] })) {
      ids.push(id);
      const now = submissions();
      most = Math.max(most, now - last);
      last = now;
    }
    return ids;
  };
  const ids = await generate();
  let checked = "";
  if (name === "stories15m") {
    const compared = Math.min(goldenIds.length, ids.length);
    if (goldenIds.slice(0, compared).some((id, i) => id !== ids[i])) {
      model.dispose();
      throw new Error(`stories15M continues with ${ids.slice(0, compared).join(" ")} instead of ${goldenIds.slice(0, compared).join(" ")}`);
    }
    checked = `, its ${compared} first tokens as recorded`;
  }
  // The first run also compiled, which takes a submission for each new kernel.
  most = 0;
  await generate();
  return {
    run: async () => void (await generate()),
    note: note + checked,
    submissionsPerToken: most,
    dispose: () => model.dispose(),
  };
}

/** Whole steps: loss, gradients, clipping and AdamW. @throws when the loss does not fall */
export async function prepareTraining(shape: TrainingShape): Promise<PreparedModel> {
  const model = createModel(
    smallModelConfiguration({
      vocabularySize: shape.vocabularySize,
      hiddenSize: shape.hiddenSize,
      intermediateSize: shape.intermediateSize,
      numHiddenLayers: shape.layers,
      numAttentionHeads: shape.heads,
      maxPositionEmbeddings: shape.sequenceLength,
      tieWordEmbeddings: false,
    }),
    { generator: new Generator(1), device: "webgpu" },
  );
  // A text that repeats, so that there is something to learn at once.
  const text = tokenIds(17, shape.vocabularySize);
  const ids = Int32Array.from({ length: 20_000 }, (_, i) => text[i % text.length]!);
  const trainer = new Trainer(model, createTokenDataset(ids, shape), { totalSteps: 1_000_000, warmupSteps: 1 });
  const { loss: first } = await trainer.step();
  let last = first;
  for (let i = 0; i < 4; i++) last = (await trainer.step()).loss;
  if (!(last < first)) throw new Error(`the loss went from ${first} to ${last} in five steps`);
  return {
    run: async () => void (await trainer.step()),
    note: `loss ${first.toFixed(2)} → ${last.toFixed(2)} in five steps`,
    dispose() {
      trainer.dispose();
      model.dispose();
    },
  };
}
