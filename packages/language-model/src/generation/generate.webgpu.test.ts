import { memory } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { tokenLogProbabilities } from "../evaluation/scoring.ts";
import { loadModel } from "../model/load-model.ts";
import { loadLlamaTokenizer } from "../tokenizer/llama-vocabulary.ts";
import { openLlama2cTokenizerFile } from "../tokenizer/llama2c-tokenizer.ts";
import { openLaneDevice } from "../webgpu-lane.testing.ts";
import { openLlama2cFile } from "../weights/llama2c.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import { openStories15m } from "../weights/stories15m.ts";
import { generateText, generateTokens } from "./generate.ts";

const device = await openLaneDevice();

describe("stories260K on WebGPU", () => {
  const [weights, vocabulary] = [sharedData("stories260K", "stories260K.bin"), sharedData("stories260K", "tok512.bin")];

  it.skipIf(weights === undefined)("continues as the golden text", async () => {
    const source = await openLlama2cFile(weights!);
    using model = await loadModel(source, { device: "webgpu" });
    await source.close();
    const tokenizer = await openLlama2cTokenizerFile(vocabulary!);
    const golden =
      ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. " +
      "She wanted to play with it, but it was";
    const maxNewTokens = tokenizer.encode(`Once upon a time${golden}`).length - tokenizer.encode("Once upon a time").length;
    expect((await generateText(model, tokenizer, "Once upon a time", { maxNewTokens })).text).toBe(golden);
  });
});

describe("stories15M on WebGPU", () => {
  const golden =
    ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";

  it.each(["float32", "float16", "int8"] as const)("continues as the golden text in %s, in few submissions a token", async (precision) => {
    const before = memory("webgpu").allocations;
    const source = await openStories15m();
    {
      using model = await loadModel(source, { device: "webgpu", precision });
      const tokenizer = await loadLlamaTokenizer();
      const prompt = tokenizer.encode("Once upon a time");
      const expected = tokenizer.encode(`Once upon a time${golden}`).slice(prompt.length);
      // A pipeline's first launch is submitted apart, so that a failure would be its own: the count below is that of later tokens.
      for await (const _ of generateTokens(model, prompt, { maxNewTokens: expected.length })) void _;
      const ids: number[] = [];
      const submissions: number[] = [];
      let last = device.statistics().submissions;
      for await (const { id } of generateTokens(model, prompt, { maxNewTokens: expected.length })) {
        ids.push(id);
        const { submissions: now } = device.statistics();
        submissions.push(now - last);
        last = now;
      }
      expect(ids).toEqual(expected);
      expect(Math.max(...submissions)).toBeLessThan(15);
    }
    await source.close();
    expect(memory("webgpu").allocations).toBe(before);
  });

  it("scores a text as the CPU does", async () => {
    const source = await openStories15m();
    const tokenizer = await loadLlamaTokenizer();
    const ids = tokenizer.encode(`Once upon a time${golden}`);
    using onCpu = await loadModel(source);
    using onGpu = await loadModel(source, { device: "webgpu" });
    await source.close();
    const expected = await tokenLogProbabilities(onCpu, ids);
    const actual = await tokenLogProbabilities(onGpu, ids);
    expect(actual.length).toBe(expected.length);
    for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 3);
  });
});
