import {
  openSafetensors,
  readerFromFile,
  SafetensorsError,
  type RandomAccessReader,
  type SafetensorsDtype,
  type SafetensorsFile,
} from "@frugal/tensor-core";
import { nodeModule } from "@frugal/tensor-core/node";
import { z } from "zod";
import { MissingResourceError, UnsupportedModelError, WeightFormatError } from "../errors.ts";
import { checkWeights } from "./expected-weights.ts";
import { configurationFromHuggingFace } from "./model-configuration.ts";
import type { WeightDescriptor, WeightEncoding, WeightSource } from "./weight-source.ts";

/** Opens a file of a model by name, or says that there is none: a folder, a set of files chosen in a browser, a cache. */
export type OpenModelFile = (name: string) => Promise<RandomAccessReader | undefined>;

const CONFIG = "config.json";
const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const LARGEST_CONFIG_BYTES = 1 << 22;
const LARGEST_INDEX_BYTES = 1 << 26;
const LARGEST_SHARD_COUNT = 4096;

const ENCODINGS: Partial<Record<SafetensorsDtype, WeightEncoding>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** Buffers that older checkpoints carry and models compute themselves. */
const DERIVED = /\.(rotary_emb\.inv_freq|self_attn\.masked_bias)$/;

/** Shards are plain files of the same folder: a name with a separator could lead anywhere. */
const shardName = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors$/);
/** `model.safetensors.index.json`: the file of each tensor. */
export const shardIndexSchema: z.ZodType<{ weight_map: Record<string, string> }> = z.looseObject({
  weight_map: z.record(z.string(), shardName),
});

async function readJson(reader: RandomAccessReader, largest: number): Promise<unknown> {
  try {
    if (reader.byteLength > largest) {
      throw new WeightFormatError(reader.description, `${reader.byteLength} bytes, at most ${largest} are read`);
    }
    const bytes = await reader.read(0, reader.byteLength);
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
    } catch (cause) {
      throw new WeightFormatError(reader.description, "is not JSON", { cause });
    }
  } finally {
    await reader.close();
  }
}

async function openShard(reader: RandomAccessReader): Promise<SafetensorsFile> {
  try {
    return await openSafetensors(reader);
  } catch (error) {
    await reader.close();
    if (error instanceof SafetensorsError) throw new WeightFormatError(reader.description, error.message, { cause: error });
    throw error;
  }
}

interface Shards {
  readonly files: readonly SafetensorsFile[];
  readonly fileOf: ReadonlyMap<string, SafetensorsFile>;
}

/** Opens the shards of an index and checks that each tensor is where the index says, and nowhere else. */
async function openIndexed(index: unknown, openFile: OpenModelFile, source: string, files: SafetensorsFile[]): Promise<Shards> {
  const result = shardIndexSchema.safeParse(index);
  if (!result.success) throw new WeightFormatError(source, `${INDEX} is not valid: ${result.error.issues[0]?.message ?? "unknown issue"}`);
  const map = Object.entries(result.data.weight_map);
  const names = [...new Set(map.map(([, file]) => file))];
  if (names.length > LARGEST_SHARD_COUNT)
    throw new WeightFormatError(source, `${names.length} shards, at most ${LARGEST_SHARD_COUNT} are read`);
  const shards = new Map<string, SafetensorsFile>();
  for (const name of names) {
    const reader = await openFile(name);
    if (reader === undefined) throw new MissingResourceError(`${source}: shard ${name} is missing`, "Download all files of the model");
    const shard = await openShard(reader);
    files.push(shard);
    shards.set(name, shard);
  }
  const fileOf = new Map<string, SafetensorsFile>();
  for (const [tensor, name] of map) {
    const shard = shards.get(name) as SafetensorsFile;
    if (!shard.entries.has(tensor)) throw new WeightFormatError(source, `tensor ${tensor} is not in ${name}, as ${INDEX} says`);
    fileOf.set(tensor, shard);
  }
  const stored = files.reduce((count, file) => count + file.entries.size, 0);
  if (stored !== fileOf.size) throw new WeightFormatError(source, `the shards hold ${stored} tensors, ${INDEX} names ${fileOf.size}`);
  return { files, fileOf };
}

async function openShards(openFile: OpenModelFile, source: string, files: SafetensorsFile[]): Promise<Shards> {
  const single = await openFile(SINGLE);
  if (single !== undefined) {
    const file = await openShard(single);
    files.push(file);
    return { files, fileOf: new Map([...file.entries.keys()].map((name) => [name, file])) };
  }
  const index = await openFile(INDEX);
  if (index === undefined) {
    throw new MissingResourceError(
      `${source}: there is neither ${SINGLE} nor ${INDEX}`,
      "Convert the model to safetensors, or download it in that form",
    );
  }
  return await openIndexed(await readJson(index, LARGEST_INDEX_BYTES), openFile, source, files);
}

/**
 * Opens a model in the Hugging Face layout: `config.json` and `model.safetensors`, or shards with `model.safetensors.index.json`.
 * @param openFile gives the model's files by name
 * @param source what the model is, for messages
 * @throws MissingResourceError if a file is not there, WeightFormatError if one breaks its format or the tensors do not fit the
 *   configuration, UnsupportedModelError for what this package does not run
 */
export async function openHuggingFaceModel(openFile: OpenModelFile, source: string): Promise<WeightSource> {
  const configFile = await openFile(CONFIG);
  if (configFile === undefined)
    throw new MissingResourceError(`${source}: there is no ${CONFIG}`, "Give the folder of a Hugging Face model");
  const config = configurationFromHuggingFace(await readJson(configFile, LARGEST_CONFIG_BYTES), `${source}: ${CONFIG}`);
  const files: SafetensorsFile[] = [];
  const close = async (): Promise<void> => {
    for (const file of files) await file.close();
  };
  try {
    const { fileOf } = await openShards(openFile, source, files);
    const descriptors = new Map<string, WeightDescriptor>();
    for (const [name, file] of fileOf) {
      const entry = file.entries.get(name);
      // A copy of the embedding under the head's name says nothing new where the two are tied.
      if (entry === undefined || DERIVED.test(name) || (config.tieWordEmbeddings && name === "lm_head.weight")) continue;
      const encoding = ENCODINGS[entry.dtype];
      if (encoding === undefined)
        throw new UnsupportedModelError(source, `tensor ${name} is ${entry.dtype}; F32, F16 and BF16 are supported`);
      descriptors.set(name, { name, shape: entry.shape, encoding, byteLength: entry.byteLength });
    }
    checkWeights(config, descriptors, source);
    return {
      config,
      descriptors,
      async read(name) {
        const file = descriptors.has(name) ? fileOf.get(name) : undefined;
        if (file === undefined) throw new WeightFormatError(source, `there is no tensor ${name}`);
        return await file.read(name);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens a Hugging Face model folder (Node). Errors as `openHuggingFaceModel`. */
export async function openHuggingFaceFolder(folder: string): Promise<WeightSource> {
  const { existsSync } = nodeModule("node:fs");
  const { join } = nodeModule("node:path");
  const openFile = async (name: string): Promise<RandomAccessReader | undefined> => {
    const path = join(folder, name);
    return existsSync(path) ? await readerFromFile(path) : undefined;
  };
  return await openHuggingFaceModel(openFile, folder);
}
