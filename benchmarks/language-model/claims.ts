import { readFile } from "node:fs/promises";
import { float16BitsToFloat32, setThreads, tensor, tidy } from "@frugal/tensor-core";
import {
  DownloadError,
  fetchTinyLlama,
  generateText,
  loadLlamaTokenizer,
  loadModel,
  modelCacheFolder,
  openGgufFile,
  openLlama2cFile,
  openLlama2cTokenizerFile,
  openStories15m,
  scoreSequences,
  type Tokenizer,
  type WeightSource,
} from "@frugal/language-model";
import { measureRatio, type Claim, type Measured } from "../src/check.ts";
import { missingData, sharedData } from "../src/shared-data.ts";
import { fastestFloat32 } from "./workloads.ts";

/** Share of the expected text, from its start, that greedy generation gives. */
async function matchingShare(source: WeightSource, tokenizer: Tokenizer, expected: string): Promise<Measured> {
  const model = await loadModel(source);
  await source.close();
  const { text } = await generateText(model, tokenizer, "Once upon a time", { maxNewTokens: tokenizer.encode(expected).length + 4 });
  model.dispose();
  let matching = 0;
  while (matching < expected.length && text[matching] === expected[matching]) matching++;
  return { value: matching / expected.length };
}

async function stories260k(): Promise<Measured> {
  const weights = sharedData("stories260K/stories260K.bin");
  const vocabulary = sharedData("stories260K/tok512.bin");
  if (weights === undefined || vocabulary === undefined) return missingData("stories260K");
  // From the model's card; made with llama2.c.
  const expected =
    ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. " +
    "She wanted to play with it, but it was";
  return await matchingShare(await openLlama2cFile(weights), await openLlama2cTokenizerFile(vocabulary), expected);
}

async function stories15m(): Promise<Measured> {
  const expected =
    ", there was a little girl named Lily. She loved to play outside in the sunshine. One day, she saw a big, red ball in the sky.";
  return await matchingShare(await openStories15m(), await loadLlamaTokenizer(), expected);
}

async function perplexity(): Promise<Measured> {
  const path = sharedData("stories15M/sampled-stories.json");
  if (path === undefined) return missingData("stories15M/sampled-stories.json");
  const { test } = JSON.parse(await readFile(path, "utf8")) as { readonly test: readonly (readonly number[])[] };
  const source = await openStories15m();
  const model = await loadModel(source);
  await source.close();
  const score = await scoreSequences(model, test);
  model.dispose();
  return { value: score.perplexity, note: `${score.tokens} tokens` };
}

/** √(Σ difference² / Σ recorded²) of the residual stream after the first block. */
async function tinyLlamaError(): Promise<Measured> {
  const index = sharedData("tinyllama-1.1b-activations/index.json");
  const activations = sharedData("tinyllama-1.1b-activations/test_l1.f16");
  if (index === undefined || activations === undefined) return missingData("tinyllama-1.1b-activations");
  let path: string;
  try {
    path = await fetchTinyLlama(await modelCacheFolder(), {
      onProgress: ({ stage }) => void (stage === "download" && console.error("fetching TinyLlama-1.1B (323 MB)")),
    });
  } catch (error) {
    if (error instanceof DownloadError) return { skipped: `TinyLlama could not be fetched: ${error.message}` };
    throw error;
  }
  const { hidden: hiddenSize, prompts } = JSON.parse(await readFile(index, "utf8")) as {
    readonly hidden: number;
    readonly prompts: readonly { readonly row: number; readonly tokens: readonly number[] }[];
  };
  const bytes = await readFile(activations);
  const recorded = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  const source = await openGgufFile(path);
  const model = await loadModel(source, { parts: { blocks: [0, 1], head: false } });
  await source.close();
  let [error, norm, rows] = [0, 0, 0];
  for (const { row, tokens } of prompts) {
    const values = tidy(() => model.forwardBlocks(model.embed(tensor(Int32Array.from(tokens), [1, tokens.length])), 0, 1));
    const actual = await values.data("float32");
    values.dispose();
    for (let i = 0; i < actual.length; i++) {
      const expected = float16BitsToFloat32(recorded[row * hiddenSize + i]!);
      error += (actual[i]! - expected) ** 2;
      norm += expected ** 2;
    }
    rows += tokens.length;
  }
  model.dispose();
  return { value: Math.sqrt(error / norm), note: `${rows} tokens of ${prompts.length} prompts` };
}

/** What `npm run verify -- language-model` checks. */
export const claims: readonly Claim[] = [
  { id: "stories260k-golden", unit: "share of the text", target: 1, better: "larger", measure: stories260k },
  { id: "stories15m-golden", unit: "share of the text", target: 1, better: "larger", measure: stories15m },
  { id: "stories15m-perplexity", unit: "perplexity", target: 2.837, better: { within: 0.002 }, measure: perplexity },
  {
    id: "stories15m-tokens-vs-best-peer",
    unit: "ratio",
    target: 1,
    better: "larger",
    speed: true,
    measure: async (effort) => {
      // This process steps aside: no thread of its own may spin while others are timed.
      setThreads(1);
      return await measureRatio(fastestFloat32, effort);
    },
  },
  // Half a unit in the last place of the float16 numbers that were recorded.
  { id: "tinyllama-block1-error", unit: "relative error", target: 2 ** -11, better: "smaller", measure: tinyLlamaError },
];
