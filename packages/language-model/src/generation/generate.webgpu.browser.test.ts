import { memory } from "@frugal/tensor-core";
import { webgpu } from "@frugal/tensor-core/webgpu";
import { afterAll, describe, expect, it } from "vitest";
import { tokenLogProbabilities } from "../evaluation/scoring.ts";
import { loadModel } from "../model/load-model.ts";
import { loadLlamaTokenizer } from "../tokenizer/llama-vocabulary.ts";
import { fetchStories15m, fetchStories260k, hasStories260k } from "../weights/page-weights.testing.ts";
import { generateText, generateTokens } from "./generate.ts";

const device = await webgpu();
afterAll(() => device.destroy());

describe("stories260K on WebGPU in the browser", () => {
  it.skipIf(!hasStories260k())("continues as the golden text", async () => {
    const { source, tokenizer } = await fetchStories260k();
    using model = await loadModel(source, { device: "webgpu" });
    const golden =
      ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. " +
      "She wanted to play with it, but it was";
    const maxNewTokens = tokenizer.encode(`Once upon a time${golden}`).length - tokenizer.encode("Once upon a time").length;
    expect((await generateText(model, tokenizer, "Once upon a time", { maxNewTokens })).text).toBe(golden);
  });
});

describe("stories15M on WebGPU in the browser", () => {
  const golden =
    ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";

  it.each(["float32", "int8"] as const)("continues as the golden text in %s, in few submissions a token", async (precision) => {
    const before = memory("webgpu").allocations;
    const source = await fetchStories15m();
    const tokenizer = await loadLlamaTokenizer();
    const prompt = tokenizer.encode("Once upon a time");
    const expected = tokenizer.encode(`Once upon a time${golden}`).slice(prompt.length);
    {
      using model = await loadModel(source, { device: "webgpu", precision });
      const ids: number[] = [];
      const submissions: number[] = [];
      let last = device.statistics().submissions;
      const started = performance.now();
      for await (const { id } of generateTokens(model, prompt, { maxNewTokens: expected.length })) {
        ids.push(id);
        const { submissions: now } = device.statistics();
        submissions.push(now - last);
        last = now;
      }
      expect(ids).toEqual(expected);
      expect(Math.max(...submissions)).toBeLessThan(15);
      const rate = ids.length / ((performance.now() - started) / 1000);
      console.log(`${precision} on ${device.adapter.description || device.adapter.architecture}: ${rate.toFixed(1)} tokens/s, prompt included`);
    }
    expect(memory("webgpu").allocations).toBe(before);
  });

  it("scores a text as the CPU does", async () => {
    const source = await fetchStories15m();
    const tokenizer = await loadLlamaTokenizer();
    const ids = tokenizer.encode(`Once upon a time${golden}`);
    using onCpu = await loadModel(source);
    using onGpu = await loadModel(source, { device: "webgpu" });
    const expected = await tokenLogProbabilities(onCpu, ids);
    const actual = await tokenLogProbabilities(onGpu, ids);
    expect(actual.length).toBe(expected.length);
    for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 3);
  });
});
