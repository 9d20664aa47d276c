/** What the story models write after "Once upon a time", and the tests that they write it on WebGPU, in Node and in pages alike. */
import { memory } from "@frugal/tensor-core";
import type { WebGpuDevice } from "@frugal/tensor-core/webgpu";
import { describe, expect, it } from "vitest";
import { tokenLogProbabilities } from "../evaluation/scoring.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { loadModel, type WeightPrecision } from "../model/load-model.ts";
import { loadLlamaTokenizer } from "../tokenizer/llama-vocabulary.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { WeightSource } from "../weights/weight-source.ts";
import { generateText, generateTokens } from "./generate.ts";

export const STORY_PROMPT = "Once upon a time";

/** Of stories260K. */
export const GOLDEN_STORY_260K: string =
  ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. " +
  "She wanted to play with it, but it was";

/** Of stories15M. */
export const GOLDEN_STORY_15M =
  ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";

/** Expects the model to go on as the golden text. */
export async function expectStory(model: DecoderModel, tokenizer: Tokenizer, golden: string): Promise<void> {
  const maxNewTokens = tokenizer.encode(`${STORY_PROMPT}${golden}`).length - tokenizer.encode(STORY_PROMPT).length;
  expect((await generateText(model, tokenizer, STORY_PROMPT, { maxNewTokens })).text).toBe(golden);
}

/** Where a host has the weights. */
export interface StoryWeights {
  /** Absent where the test data is not at hand. */
  readonly open260k: (() => Promise<{ readonly source: WeightSource; readonly tokenizer: Tokenizer }>) | undefined;
  readonly open15m: () => Promise<WeightSource>;
  readonly precisions: readonly WeightPrecision[];
}

/** Registers the tests of generation and scoring on an open device. */
export function storiesOnWebGpu(device: WebGpuDevice, { open260k, open15m, precisions }: StoryWeights): void {
  describe("stories260K on WebGPU", () => {
    it.skipIf(open260k === undefined)("continues as the golden text", async () => {
      const { source, tokenizer } = await open260k!();
      using model = await loadModel(source, { device: "webgpu" });
      await source.close();
      await expectStory(model, tokenizer, GOLDEN_STORY_260K);
    });
  });

  describe("stories15M on WebGPU", () => {
    it.each(precisions)("continues as the golden text in %s, in few submissions a token", async (precision) => {
      const before = memory("webgpu").allocations;
      const source = await open15m();
      {
        using model = await loadModel(source, { device: "webgpu", precision });
        const tokenizer = await loadLlamaTokenizer();
        const prompt = tokenizer.encode(STORY_PROMPT);
        const expected = tokenizer.encode(`${STORY_PROMPT}${GOLDEN_STORY_15M}`).slice(prompt.length);
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
      const source = await open15m();
      const tokenizer = await loadLlamaTokenizer();
      const ids = tokenizer.encode(`${STORY_PROMPT}${GOLDEN_STORY_15M}`);
      using onCpu = await loadModel(source);
      using onGpu = await loadModel(source, { device: "webgpu" });
      await source.close();
      const expected = await tokenLogProbabilities(onCpu, ids);
      const actual = await tokenLogProbabilities(onGpu, ids);
      expect(actual.length).toBe(expected.length);
      for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 3);
    });
  });
}
