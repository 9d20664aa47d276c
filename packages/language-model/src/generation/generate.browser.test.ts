import { getThreads } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { loadModel } from "../model/load-model.ts";
import { loadLlamaTokenizer } from "../tokenizer/llama-vocabulary.ts";
import { fetchStories15m, fetchStories260k, hasStories260k } from "../weights/page-weights.testing.ts";
import { generateText } from "./generate.ts";
import { expectStory, GOLDEN_STORY_15M, GOLDEN_STORY_260K } from "./golden-stories.testing.ts";

describe("stories260K in the browser", () => {
  it.skipIf(!hasStories260k())("continues as the golden text", async () => {
    const { source, tokenizer } = await fetchStories260k();
    using model = await loadModel(source);
    await expectStory(model, tokenizer, GOLDEN_STORY_260K);
  });
});

describe("stories15M in the browser", () => {
  it("continues as the golden text", async () => {
    const source = await fetchStories15m();
    const tokenizer = await loadLlamaTokenizer();
    const golden = GOLDEN_STORY_15M;
    const prompt = tokenizer.encode("Once upon a time");
    const maxNewTokens = tokenizer.encode(`Once upon a time${golden}`).length - prompt.length;
    for (const precision of ["float32", "int8"] as const) {
      using model = await loadModel(source, { precision });
      const started = performance.now();
      const { text, tokenIds } = await generateText(model, tokenizer, "Once upon a time", { maxNewTokens });
      expect(text, precision).toBe(golden);
      const rate = tokenIds.length / ((performance.now() - started) / 1000);
      console.log(`${precision}: ${rate.toFixed(0)} tokens/s, prompt included, ${getThreads()} threads`);
    }
  });
});
