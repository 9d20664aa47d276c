import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Generator, type DeviceName } from "@frugal/tensor-core";
import { z } from "zod";
import { splitText } from "../datasets/text-source.ts";
import { createTokenDataset, type TokenDataset, type TokenDatasetOptions } from "../datasets/token-dataset.ts";
import { DatasetError, LanguageModelError, MissingResourceError } from "../errors.ts";
import { replaceTextFile } from "../files/replace-file.ts";
import { createModel, smallModelConfiguration } from "../model/create-model.ts";
import type { DecoderModel } from "../model/decoder-model.ts";
import { loadTrainedTokenizer, trainBytePairEncoding, type TrainedTokenizer } from "../tokenizer/byte-pair-training.ts";
import { Trainer } from "../training/trainer.ts";
import { loadTrainingCheckpoint } from "../training/training-checkpoint.ts";
import { isTextName, loadNamedText } from "./text.ts";

const size = z.int().min(1).max(1 << 20);

/** All that the course of a training run depends on; kept beside its checkpoint. */
export interface RunSettings {
  /** A name such as moby-dick, or an absolute path. */
  readonly text: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly sequenceLength: number;
  readonly batchSize: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Share of the text, at its end, that is held out. */
  readonly validation: number;
  readonly seed: number;
}

const settingsShape = {
  text: z.string().min(1),
  vocabularySize: size,
  hiddenSize: size,
  layers: size,
  heads: size,
  keyValueHeads: size,
  sequenceLength: size,
  batchSize: size,
  steps: size,
  learningRate: z.number().positive(),
  weightDecay: z.number().min(0),
  validation: z.number().min(0.001).max(0.5),
  seed: z.int().min(0),
} satisfies Record<keyof RunSettings, z.ZodType>;

/** Names of the settings, which are also those of command-line options: a resumed run has its own. */
export const runOptionNames: readonly string[] = Object.keys(settingsShape);

const savedRunSchema = z.object({ settings: z.object(settingsShape), textSha256: z.string() });

/** @throws LanguageModelError naming the settings that are out of range */
export function parseRunSettings(value: unknown): RunSettings {
  const parsed = z.object(settingsShape).safeParse(value);
  if (parsed.success) return parsed.data;
  throw new LanguageModelError(parsed.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; "));
}

/** A run that is ready to take its next step. */
export interface TrainingRun {
  readonly settings: RunSettings;
  readonly tokenizer: TrainedTokenizer;
  readonly model: DecoderModel;
  readonly trainer: Trainer<DecoderModel>;
  /** Held-out text, in order. */
  readonly validation: TokenDataset;
  /** Tokens of the text that is trained on. */
  readonly trainingTokens: number;
  readonly checkpointPath: string;
}

const runPath = (folder: string): string => join(folder, "training", "run.json");
const tokenizerPath = (folder: string): string => join(folder, "tokenizer.json");

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as unknown;
  } catch (cause) {
    throw new LanguageModelError(`${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/**
 * Begins a run: learns the vocabulary and writes it with the settings into the folder.
 * @throws LanguageModelError if the folder holds a run already
 */
export async function beginRun(folder: string, given: RunSettings, device: DeviceName): Promise<TrainingRun> {
  if (existsSync(runPath(folder))) {
    throw new LanguageModelError(`${folder} holds a training run already; continue it with --resume, or name another --output`);
  }
  const settings = { ...given, text: isTextName(given.text) ? given.text : resolve(given.text) };
  const text = await loadNamedText(settings.text);
  const tokenizer = trainBytePairEncoding(splitText(text, settings.validation).train, { vocabularySize: settings.vocabularySize });
  const run = prepare(folder, settings, text, tokenizer, device);
  await mkdir(join(folder, "training"), { recursive: true });
  await replaceTextFile(tokenizerPath(folder), JSON.stringify(tokenizer));
  const special = { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>", tokenizer_class: "PreTrainedTokenizerFast" };
  await replaceTextFile(join(folder, "tokenizer_config.json"), `${JSON.stringify(special, null, 2)}\n`);
  await replaceTextFile(runPath(folder), `${JSON.stringify({ settings, textSha256: sha256(text) }, null, 2)}\n`);
  return run;
}

/**
 * Takes a run up again from its last checkpoint.
 * @throws MissingResourceError if there is none, LanguageModelError if the text has changed since
 */
export async function resumeRun(folder: string, device: DeviceName): Promise<TrainingRun> {
  if (!existsSync(runPath(folder))) {
    throw new MissingResourceError(`${folder} holds no training run`, "Begin one without --resume, or name the --output folder of one");
  }
  const parsed = savedRunSchema.safeParse(await readJson(runPath(folder)));
  if (!parsed.success) throw new LanguageModelError(`${runPath(folder)} is not valid: ${z.prettifyError(parsed.error)}`);
  const { settings, textSha256 } = parsed.data;
  const text = await loadNamedText(settings.text);
  if (sha256(text) !== textSha256) {
    throw new LanguageModelError(`${settings.text} has changed since the run began; restore it, or begin a new run`);
  }
  const run = prepare(folder, settings, text, loadTrainedTokenizer(await readJson(tokenizerPath(folder))), device);
  if (existsSync(run.checkpointPath)) await loadTrainingCheckpoint(run.trainer, run.checkpointPath);
  return run;
}

/** @throws DatasetError that says which part of the text is too short, and which option helps */
function datasetOf(part: string, smaller: string, ids: readonly number[], options: TokenDatasetOptions): TokenDataset {
  try {
    return createTokenDataset(ids, options);
  } catch (cause) {
    if (!(cause instanceof DatasetError)) throw cause;
    throw new DatasetError(`${part}: ${cause.message}; use a smaller ${smaller}`, { cause });
  }
}

function prepare(folder: string, settings: RunSettings, text: string, tokenizer: TrainedTokenizer, device: DeviceName): TrainingRun {
  const { sequenceLength, batchSize, seed } = settings;
  const config = smallModelConfiguration({
    vocabularySize: tokenizer.vocabularySize,
    hiddenSize: settings.hiddenSize,
    numHiddenLayers: settings.layers,
    numAttentionHeads: settings.heads,
    numKeyValueHeads: settings.keyValueHeads,
    // Twice what is trained on: text can go on for a while after its beginning has the length of a training sequence.
    maxPositionEmbeddings: 2 * sequenceLength,
    bosTokenId: 0,
    eosTokenIds: [0],
  });
  const { train, validation } = splitText(text, settings.validation);
  const trainIds = tokenizer.encode(train);
  const dataset = datasetOf("the text to train on", "--sequence-length or --validation, or give a longer text", trainIds, {
    sequenceLength, batchSize, seed,
  });
  const heldOut = datasetOf("the held-out text", "--sequence-length, or a larger --validation", tokenizer.encode(validation), {
    sequenceLength, batchSize, shuffle: false,
  });
  const model = createModel(config, { generator: new Generator(seed), device });
  const trainer = new Trainer(model, dataset, {
    totalSteps: settings.steps, learningRate: settings.learningRate, weightDecay: settings.weightDecay,
  });
  const checkpointPath = join(folder, "training", "checkpoint.safetensors");
  return { settings, tokenizer, model, trainer, validation: heldOut, trainingTokens: trainIds.length, checkpointPath };
}
