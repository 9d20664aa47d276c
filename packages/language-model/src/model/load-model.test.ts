import { dequantize, memory, QuantizedTensor, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { LanguageModelError, UnsupportedModelError, WeightFormatError } from "../errors.ts";
import { generateTokens } from "../generation/generate.ts";
import { loadModel, type WeightPrecision } from "./load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "./random-weights.testing.ts";

const config = tinyConfiguration();
const weights = randomWeights(config);
const source = sourceOf(config, weights);
const ids = [1, 5, 30, 7, 19, 36];

async function logitsAt(precision: WeightPrecision): Promise<{ logits: Float32Array; bytes: number }> {
  using model = await loadModel(source, { precision });
  using input = tensor(Int32Array.from(ids), [1, ids.length]);
  using logits = model.forward(input);
  return { logits: await logits.data("float32"), bytes: model.weightBytes };
}

const distance = (a: Float32Array, b: Float32Array): number => Math.hypot(...a.map((value, i) => value - b[i]!)) / Math.hypot(...a);

describe("loadModel", () => {
  it("holds weights in fewer bits, at a bounded cost", async () => {
    const exact = await logitsAt("float32");
    expect(await logitsAt("file")).toEqual(exact);
    for (const [precision, error, share] of [["float16", 1e-3, 0.52], ["int8", 0.02, 0.35], ["uint4", 0.2, 0.3]] as const) {
      const rounded = await logitsAt(precision);
      expect(distance(exact.logits, rounded.logits)).toBeGreaterThan(0);
      expect(distance(exact.logits, rounded.logits), precision).toBeLessThan(error);
      expect(rounded.bytes / exact.bytes, precision).toBeLessThan(share);
    }
  });

  it("uses smaller groups where rows need them, and says when none fits", async () => {
    const narrow = tinyConfiguration({ intermediateSize: 40 });
    using model = await loadModel(sourceOf(narrow, randomWeights(narrow)), { precision: "int8" });
    const down = model.blocks[0]!.feedForward.down.weight as QuantizedTensor;
    expect([down.groupSize, (model.blocks[0]!.feedForward.up.weight as QuantizedTensor).groupSize]).toEqual([8, 32]);
    const odd = tinyConfiguration({ intermediateSize: 44 });
    await expect(loadModel(sourceOf(odd, randomWeights(odd)), { precision: "int8" })).rejects.toBeInstanceOf(UnsupportedModelError);
  });

  it("looks quantised embeddings up as they are stored", async () => {
    for (const precision of ["int8", "uint4"] as const) {
      using model = await loadModel(source, { precision });
      const table = model.embedding!.weight as QuantizedTensor;
      expect(table).toBeInstanceOf(QuantizedTensor);
      using dense = await dequantize(table);
      using input = tensor(Int32Array.from(ids), [1, ids.length]);
      using rows = model.embed(input);
      expect(rows.shape).toEqual([1, ids.length, config.hiddenSize]);
      const all = await dense.data("float32");
      const expected = ids.flatMap((id) => [...all.subarray(id * config.hiddenSize, (id + 1) * config.hiddenSize)]);
      expect([...(await rows.data("float32"))]).toEqual(expected);
    }
  });

  it("reports progress and can be stopped, freeing what it loaded", async () => {
    const seen: string[] = [];
    const before = memory().allocations;
    const controller = new AbortController();
    const loading = loadModel(source, {
      signal: controller.signal,
      onProgress: ({ loaded, total, name }) => {
        expect(total).toBe(source.descriptors.size);
        seen.push(name);
        if (loaded === 5) controller.abort();
      },
    });
    await expect(loading).rejects.toThrow("abort");
    expect(seen.length).toBe(5);
    expect(memory().allocations).toBe(before);
  });

  it("reads only what the parts need", async () => {
    const read: string[] = [];
    const watched = { ...source, read: (name: string) => (read.push(name), source.read(name)) };
    await expect(loadModel(watched, { parts: { blocks: [1, 4] } })).rejects.toThrow("blocks 1 to 4 are not within the 3 blocks");
    expect(read).toEqual([]);
    using model = await loadModel(watched, { parts: { blocks: [1, 2], embedding: false, head: false } });
    expect(model.blocks.length).toBe(1);
    expect(read.length).toBe(9);
    expect(read.every((name) => name.startsWith("model.layers.1."))).toBe(true);
  });

  it.each([NaN, Infinity])("refuses a weight that is %d, naming the tensor", async (value) => {
    const broken = new Map(weights);
    broken.set("model.layers.2.mlp.up_proj.weight", weights.get("model.layers.2.mlp.up_proj.weight")!.with(7, value));
    const before = memory().allocations;
    const loading = loadModel(sourceOf(config, broken));
    await expect(loading).rejects.toThrow("model.layers.2.mlp.up_proj.weight: value 7");
    await expect(loading).rejects.toBeInstanceOf(WeightFormatError);
    expect(memory().allocations).toBe(before);
  });

  it("notices logits that are not finite though every weight is", async () => {
    const huge = new Map(weights);
    huge.set("model.norm.weight", weights.get("model.norm.weight")!.map(() => 3e38));
    using model = await loadModel(sourceOf(config, huge));
    await expect(generateTokens(model, ids).next()).rejects.toBeInstanceOf(LanguageModelError);
    await expect(generateTokens(model, ids, { temperature: 1 }).next()).rejects.toThrow("not finite");
  });

  it("refuses shapes that do not fit the configuration", () => {
    const wrong = new Map(weights);
    wrong.delete("model.norm.weight");
    expect(() => sourceOf(config, wrong)).toThrow("tensor model.norm.weight [32] is missing");
  });
});
