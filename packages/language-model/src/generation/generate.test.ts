import { getThreads, memory, setThreads, tensor } from "@frugal/tensor-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { ContextLengthError, LanguageModelError } from "../errors.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { loadModel } from "../model/load-model.ts";
import { randomWeights, sourceOf, tinyConfiguration } from "../model/random-weights.testing.ts";
import { createByteTokenizer } from "../tokenizer/byte-tokenizer.ts";
import { loadLlamaTokenizer } from "../tokenizer/llama-vocabulary.ts";
import { openLlama2cTokenizerFile } from "../tokenizer/llama2c-tokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { openLlama2cFile } from "../weights/llama2c.ts";
import { sharedData } from "../weights/shared-data.testing.ts";
import { openStories15m } from "../weights/stories15m.ts";
import { generateText, generateTokens, nextTokenLogits, streamText, type GenerationOptions, type NextTokenModel } from "./generate.ts";
import { GOLDEN_STORY_15M, GOLDEN_STORY_260K } from "./golden-stories.testing.ts";

async function collect(model: DecoderModel, prompt: readonly number[], options: GenerationOptions): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generateTokens(model, prompt, options)) ids.push(id);
  return ids;
}

describe("stories260K", () => {
  const [weights, vocabulary] = [sharedData("stories260K", "stories260K.bin"), sharedData("stories260K", "tok512.bin")];

  it.skipIf(weights === undefined)("continues as the golden text, token by token", async () => {
    const source = await openLlama2cFile(weights!);
    using model = await loadModel(source);
    await source.close();
    const tokenizer = await openLlama2cTokenizerFile(vocabulary!);
    const prompt = tokenizer.encode("Once upon a time");
    expect(prompt).toEqual([1, 403, 407, 261, 378]);
    const golden = GOLDEN_STORY_260K;
    const expected = tokenizer.encode(`Once upon a time${golden}`).slice(prompt.length);
    expect(await collect(model, prompt, { maxNewTokens: expected.length })).toEqual(expected);
    expect((await generateText(model, tokenizer, "Once upon a time", { maxNewTokens: expected.length })).text).toBe(golden);
  });
});

describe("stories15M", () => {
  const golden = GOLDEN_STORY_15M;
  let model: DecoderModel;
  let tokenizer: Tokenizer;
  const threads = getThreads();
  beforeAll(async () => {
    const source = await openStories15m();
    model = await loadModel(source);
    await source.close();
    tokenizer = await loadLlamaTokenizer();
  });
  afterEach(() => setThreads(threads));
  afterAll(() => model.dispose());

  it("continues as the golden text, token by token", async () => {
    const prompt = tokenizer.encode("Once upon a time");
    const expected = tokenizer.encode(`Once upon a time${golden}`).slice(prompt.length);
    expect(await collect(model, prompt, { maxNewTokens: expected.length })).toEqual(expected);
    expect((await generateText(model, tokenizer, "Once upon a time", { maxNewTokens: expected.length })).text).toBe(golden);
  });

  it("ends where the model ends the story, with the same tokens for any number of threads", async () => {
    const prompt = tokenizer.encode("Once upon a time");
    const runs: number[][] = [];
    for (const count of [1, 2]) {
      setThreads(count);
      runs.push(await collect(model, prompt, { temperature: 0.9, topP: 0.9, seed: 3, stopTokenIds: [1, 2] }));
    }
    expect(runs[1]).toEqual(runs[0]);
    expect(runs[0]!.length).toBeGreaterThan(50);
    expect(runs[0]!.length).toBeLessThan(250);
  });

  it("streams whole characters that add up to the text", async () => {
    const options = { maxNewTokens: 30, temperature: 1.5, seed: 8 };
    const pieces: string[] = [];
    for await (const piece of streamText(model, tokenizer, "Once upon a time", options)) pieces.push(piece);
    const { text, tokenIds } = await generateText(model, tokenizer, "Once upon a time", options);
    expect(pieces.join("")).toBe(text);
    expect(pieces.length).toBeGreaterThan(20);
    expect(tokenIds.length).toBe(30);
  });
});

describe("generateTokens", () => {
  const config = tinyConfiguration({ maxPositionEmbeddings: 24, eosTokenIds: [] });
  let model: DecoderModel;
  beforeAll(async () => void (model = await loadModel(sourceOf(config, randomWeights(config)))));
  afterAll(() => model.dispose());

  it("takes the most likely token after all tokens before, as computed anew each time", async () => {
    const ids = [1, 20];
    const generated = await collect(model, ids, { maxNewTokens: 8 });
    for (const id of generated) {
      using cache = model.createCache();
      const logits = await nextTokenLogits(model, ids, cache);
      expect(id).toBe(logits.indexOf(Math.max(...logits)));
      ids.push(id);
    }
  });

  it("fills the context and stops", async () => {
    expect((await collect(model, [1, 2, 3], {})).length).toBe(24 - 3 + 1);
    expect((await collect(model, [1], { maxNewTokens: 0 })).length).toBe(0);
    expect((await collect(model, [1], { maxNewTokens: 5 })).length).toBe(5);
  });

  it("goes on as it would have, from what was generated before", async () => {
    const options = { temperature: 1.2, seed: 6 };
    const whole = await collect(model, [1, 2], { ...options, maxNewTokens: 12 });
    const rest = await collect(model, [1, 2, ...whole.slice(0, 5)], { ...options, drawn: 5, maxNewTokens: 7 });
    expect(rest).toEqual(whole.slice(5));
  });

  it("stops before a stop token", async () => {
    const free = await collect(model, [1, 2], { maxNewTokens: 12 });
    const stop = free.find((id, at) => at > 2 && free.indexOf(id) === at)!;
    expect(await collect(model, [1, 2], { maxNewTokens: 12, stopTokenIds: [stop] })).toEqual(free.slice(0, free.indexOf(stop)));
  });

  it("stops when told to, or left, and frees its cache", async () => {
    const before = memory().allocations;
    const controller = new AbortController();
    const ids: number[] = [];
    for await (const { id } of generateTokens(model, [1], { signal: controller.signal })) {
      if (ids.push(id) === 4) controller.abort();
    }
    expect(ids.length).toBe(4);
    for await (const _ of generateTokens(model, [1])) break;
    expect(await collect(model, [1], { signal: AbortSignal.abort() })).toEqual([]);
    expect(memory().allocations).toBe(before);
  });

  it("starts a text from nothing with the begin token", async () => {
    const tokenizer = { ...createByteTokenizer(), bosTokenId: 0, encode: (): number[] => [] };
    const { tokenIds } = await generateText(model, tokenizer, "", { maxNewTokens: 3 });
    expect(tokenIds).toEqual(await collect(model, [0], { maxNewTokens: 3 }));
  });

  it.each([0, 3, 36])("notices a NaN among logits at place %i", async (place) => {
    using cache = model.createCache();
    const broken: NextTokenModel = {
      device: "cpu", config, vocabularySize: 37,
      createCache: () => cache,
      forward: () => tensor(new Float32Array(37).with(place, NaN), [1, 1, 37]),
    };
    await expect(nextTokenLogits(broken, [1], cache)).rejects.toThrow("logits are not finite");
    await expect(generateTokens(broken, [1]).next()).rejects.toThrow("logits are not finite");
  });

  it("refuses prompts that do not fit the model", async () => {
    await expect(collect(model, [], {})).rejects.toBeInstanceOf(LanguageModelError);
    await expect(collect(model, [37], {})).rejects.toThrow("token id 37 is not in the vocabulary of 37");
    await expect(collect(model, [-1], {})).rejects.toThrow("token id -1");
    await expect(collect(model, new Array<number>(24).fill(1), {})).rejects.toBeInstanceOf(ContextLengthError);
    await expect(collect(model, [1], { maxNewTokens: -1 })).rejects.toThrow("maxNewTokens -1");
    await expect(collect(model, [1], { temperature: -1 })).rejects.toThrow("temperature -1");
  });
});
