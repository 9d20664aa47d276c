import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelConfiguration } from "@frugal/language-model";
import { memory, type Tensor } from "@frugal/tensor-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { partitionBlocks } from "../grid/stage-partition.ts";
import { decoderStageFactory, openStageFactory } from "./decoder-stages.ts";
import { isModelPreset, modelPresets, presetConfiguration } from "./model-presets.ts";
import { openCodec } from "./open-codec.ts";
import { wholeModelName } from "./parameter-name.ts";
import type { StageFactory, StageParts } from "./stage-factory.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecefo-stages-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

function weightsOf(configuration: ModelConfiguration, parts: StageParts, seed: number): [string, number[]][] {
  const factory = decoderStageFactory(configuration);
  const model = factory.create(parts, seed);
  const weights = [...model.namedParameters()].map(([path, parameter]): [string, number[]] => [
    factory.parameterName!(path, parts), [...((parameter as Tensor<"cpu">).dataSync() as Float32Array)],
  ]);
  model.dispose();
  return weights;
}

/** Weights of a decoder with separate embedding and head. */
function weightCount(name: keyof typeof modelPresets, vocabularySize: number): number {
  const { hiddenSize, intermediateSize, numHiddenLayers } = modelPresets[name];
  const block = 4 * hiddenSize ** 2 + 3 * hiddenSize * intermediateSize + 2 * hiddenSize;
  return numHiddenLayers * block + 2 * vocabularySize * hiddenSize + hiddenSize;
}

describe("decoderStageFactory", () => {
  it.each([false, true])("gives parts the weights that the whole has, tied head: %s", (tieWordEmbeddings) => {
    const before = memory().allocations;
    const configuration = presetConfiguration("nano", { vocabularySize: 40, tieWordEmbeddings });
    const whole = new Map(weightsOf(configuration, { blocks: [0, 4], embedding: true, head: true }, 7));
    for (const stages of [2, 3, 4]) {
      const found = new Map<string, number[]>();
      for (const [stage, blocks] of partitionBlocks(4, stages).entries()) {
        for (const [name, values] of weightsOf(configuration, { blocks, embedding: stage === 0, head: stage === stages - 1 }, 7)) {
          // A tied matrix is in the first and the last stage.
          if (found.has(name)) expect(values).toEqual(found.get(name));
          found.set(name, values);
        }
      }
      expect([...found.keys()].toSorted()).toEqual([...whole.keys()].toSorted());
      for (const [name, values] of found) expect(values, name).toEqual(whole.get(name));
    }
    const other = new Map(weightsOf(configuration, { blocks: [0, 4], embedding: true, head: true }, 8));
    expect(other.get("model.layers.1.mlp.up_proj.weight")).not.toEqual(whole.get("model.layers.1.mlp.up_proj.weight"));
    expect(memory().allocations).toBe(before);
  });

  it("names parameters by their place in the whole model, whoever makes the stages", () => {
    const parts: StageParts = { blocks: [3, 5], embedding: false, head: true };
    expect(wholeModelName({}, "blocks.1.mixer.weight", parts)).toBe("blocks.4.mixer.weight");
    expect(wholeModelName({}, "norm.weight", parts)).toBe("norm.weight");
    const decoder = decoderStageFactory(presetConfiguration("nano", { vocabularySize: 40 }));
    expect(wholeModelName(decoder, "blocks.1.feedForward.up.weight", parts)).toBe("model.layers.4.mlp.up_proj.weight");
  });

  it("has presets of the sizes they promise", () => {
    expect(weightCount("nano", 258)).toBeGreaterThan(100_000);
    expect(weightCount("nano", 258)).toBeLessThan(200_000);
    const promised = [["micro", 1], ["mini", 3], ["small", 10.5], ["llama-350m", 350], ["llama-1b", 1300], ["llama-7b", 6700]] as const;
    for (const [name, millions] of promised) {
      const count = weightCount(name, name.startsWith("llama") ? 32_000 : 1024) / 1e6;
      expect(count / millions, name).toBeGreaterThan(0.85);
      expect(count / millions, name).toBeLessThan(1.15);
      expect(presetConfiguration(name, { vocabularySize: 1024 }).headDim % 2).toBe(0);
    }
    expect(isModelPreset("toString")).toBe(false);
    expect(() => presetConfiguration("tiny", { vocabularySize: 4 })).toThrow(SettingsError);
    const factory = decoderStageFactory(presetConfiguration("nano", { vocabularySize: 258 }));
    const model = factory.create({ blocks: [0, 4], embedding: true, head: true }, 0);
    expect(model.parameters().reduce((sum, { size }) => sum + size, 0)).toBe(weightCount("nano", 258));
    model.dispose();
  });
});

describe("openStageFactory and openCodec", () => {
  const grid = { pipelines: 2, stages: 4 };
  const open = (path: string): Promise<StageFactory> => openStageFactory({ model: { kind: "module", path }, grid, sequenceLength: 8 });
  const module = async (name: string, source: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, source);
    return path;
  };

  it("opens decoders and modules, and says what a module lacks", async () => {
    const configuration = presetConfiguration("nano", { vocabularySize: 40 });
    const decoder = await openStageFactory({ model: { kind: "decoder", configuration }, grid, sequenceLength: 8 });
    expect(decoder).toMatchObject({ blockCount: 4, vocabularySize: 40, maximumSequenceLength: 512, tiedHead: false });
    await expect(openStageFactory({ model: { kind: "decoder", configuration }, grid, sequenceLength: 513 })).rejects.toThrow("513 is more");
    const empty = { kind: "decoder", configuration: { hiddenSize: 4 } } as const;
    await expect(openStageFactory({ model: empty, grid, sequenceLength: 8 })).rejects.toThrow("vocabularySize");

    const whole = "blockCount: 4, vocabularySize: 9, maximumSequenceLength: Infinity, tiedHead: false, create() {}";
    expect((await open(await module("whole.mjs", `export default { ${whole} };`))).blockCount).toBe(4);
    const wrong: [string, string][] = [
      ["has no default export", "export const a = 1;"],
      ["it is no object", "export default 5;"],
      ["its blockCount is undefined", "export default {};"],
      ["its tiedHead is undefined", `export default { ${whole.replace("tiedHead: false,", "")} };`],
      ["it has no function create", `export default { ${whole.replace("create() {}", "")} };`],
      ["its parameterName is no function", `export default { ${whole}, parameterName: 4 };`],
      ["4 stages for a model of 3 blocks", `export default { ${whole.replace("blockCount: 4", "blockCount: 3")} };`],
      ["cannot be loaded", "throw new Error('broken');"],
    ];
    for (const [index, [message, source]] of wrong.entries()) {
      const opened = open(await module(`wrong${index}.mjs`, source));
      await expect(opened, message).rejects.toThrow(message);
      await expect(opened).rejects.toBeInstanceOf(SettingsError);
    }
    await expect(open(join(folder, "absent.mjs"))).rejects.toThrow(/model: the module .*absent\.mjs cannot be loaded/);
  });

  it("opens codecs by name, object or function", async () => {
    expect((await openCodec("float32")).name).toBe("float32");
    expect((await openCodec("float16")).name).toBe("float16");
    const codec = "{ name: 'mine', encode() {}, decode() {} }";
    expect((await openCodec(await module("codec.mjs", `export default ${codec};`))).name).toBe("mine");
    expect((await openCodec(await module("make.mjs", `export default async () => (${codec});`))).name).toBe("mine");
    const half = await module("half.mjs", "export default { name: 'half', encode() {} };");
    await expect(openCodec(half)).rejects.toThrow("is no ActivationCodec");
    await expect(openCodec(await module("stateful.mjs", `export default { ...${codec}, stateful: true };`))).rejects.toThrow("is stateful");
    await expect(openCodec(await module("fails.mjs", "export default () => { throw new Error('no'); };"))).rejects.toThrow("failed: no");
    await expect(openCodec("float64")).rejects.toBeInstanceOf(SettingsError);
  });
});
