import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { createTokenDataset, DatasetError, saveModel, validationLoss, type DecoderModel, type StagedModel } from "@frugal/language-model";
import { tensor, type Parameter } from "@frugal/tensor-core";
import { CheckpointError, SettingsError } from "../errors.ts";
import { openStageFactory } from "../job/decoder-stages.ts";
import { wholeModelName } from "../job/parameter-name.ts";
import { openData, openTokenizer } from "../job/prepare-data.ts";
import type { StageParts } from "../job/stage-factory.ts";
import { readParameters, type Checkpoint } from "./open-checkpoint.ts";

/**
 * The whole model with a checkpoint's weights, on the CPU; a `DecoderModel` where the job's model is a decoder. The caller disposes it.
 * @throws CheckpointError if a file is damaged or does not fit the model
 */
export async function openTrainedModel(checkpoint: Checkpoint): Promise<StagedModel> {
  const { model: kind, sequenceLength, seed } = checkpoint.manifest.resume;
  const factory = await openStageFactory({ model: kind, sequenceLength, grid: { pipelines: 1, stages: 1 } });
  const parts: StageParts = { blocks: [0, factory.blockCount], embedding: true, head: true };
  const model = factory.create(parts, seed);
  try {
    const parameters = new Map<string, Parameter>();
    const seen = new Set<Parameter>();
    for (const [path, parameter] of model.namedParameters()) {
      // A matrix with two uses is stored once, under its first path.
      if (!seen.has(parameter)) parameters.set(wholeModelName(factory, path, parts), parameter);
      seen.add(parameter);
    }
    const wanted = [...parameters].map(([name, { shape }]) => ({ name, shape }));
    for await (const { name, shape, weight } of readParameters(checkpoint, wanted, { moments: false })) {
      const parameter = parameters.get(name)!;
      using values = tensor(weight, shape, { device: parameter.device });
      parameter.assign(values);
    }
    return model;
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * Writes a checkpoint's model as a Hugging Face folder, with its tokenizer, that `language-model generate --model <folder>` and others run.
 * @param dataFolder where the tokenizer is; default: the job's data
 * @throws CheckpointError for a model that is no decoder, FormatError if the tokenizer is not there
 */
export async function exportModel(
  checkpoint: Checkpoint, folder: string,
  { dataFolder = checkpoint.manifest.job.dataFolder }: { readonly dataFolder?: string | undefined } = {},
): Promise<void> {
  if (checkpoint.manifest.resume.model.kind !== "decoder") {
    throw new CheckpointError(`${checkpoint.folder}: models of modules have no Hugging Face form; open it with openTrainedModel`);
  }
  // Before the model is loaded: a folder without tokenizer is of no use.
  await openTokenizer(dataFolder);
  const model = await openTrainedModel(checkpoint);
  try {
    await saveModel(model as DecoderModel, folder);
  } finally {
    model.dispose();
  }
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) await copyFile(join(dataFolder, name), join(folder, name));
}

/** What a model does on text that it was not trained on. */
export interface Evaluation {
  /** Mean cross-entropy in nats per token. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** Predicted. */
  readonly tokens: number;
}

/** What `evaluateModel` goes by. */
export interface EvaluationOptions {
  readonly sequenceLength: number;
  /** Sequences at once. Default 8. */
  readonly batchSize?: number | undefined;
  /** Of the held-out ones, from their beginning. Default: all. */
  readonly maximumTokens?: number | undefined;
}

/**
 * Loss of a whole model over held-out tokens, cut into sequences in order, each predicted from its own beginning; the rest that makes no
 * whole sequence is left out.
 * @throws SettingsError if there are too few tokens for one sequence
 */
export async function evaluateModel(
  model: StagedModel, validation: Int32Array, { sequenceLength, batchSize = 8, maximumTokens }: EvaluationOptions,
): Promise<Evaluation> {
  const tokens = maximumTokens === undefined ? validation : validation.subarray(0, maximumTokens + 1);
  const sequences = Math.floor((tokens.length - 1) / sequenceLength);
  if (sequences < 1) {
    throw new SettingsError(`${tokens.length} held-out tokens do not make one sequence of ${sequenceLength}; hold out more text`);
  }
  const full = Math.floor(sequences / batchSize);
  const rest = sequences - full * batchSize;
  let total = 0;
  const add = async (ids: Int32Array, rows: number, batches: number): Promise<void> => {
    try {
      const dataset = createTokenDataset(ids, { sequenceLength, batchSize: rows, shuffle: false });
      total += (await validationLoss(model, dataset, batches)) * rows * batches;
    } catch (cause) {
      if (cause instanceof DatasetError) throw new SettingsError(cause.message, { cause });
      throw cause;
    }
  };
  if (full > 0) await add(tokens, batchSize, full);
  if (rest > 0) await add(tokens.subarray(full * batchSize * sequenceLength), rest, 1);
  const loss = total / sequences;
  return { loss, perplexity: Math.exp(loss), tokens: sequences * sequenceLength };
}

/**
 * Validation loss and perplexity of a checkpoint.
 * @param dataFolder default: the job's data
 * @throws CheckpointError FormatError naming the file, if model or data are damaged or not those of the run
 */
export async function evaluateCheckpoint(
  checkpoint: Checkpoint,
  dataFolder: string = checkpoint.manifest.job.dataFolder,
  options: Partial<EvaluationOptions> = {},
): Promise<Evaluation> {
  const { dataSha256, sequenceLength } = checkpoint.manifest.resume;
  const { validation } = await openData(dataFolder, dataSha256);
  const model = await openTrainedModel(checkpoint);
  try {
    return await evaluateModel(model, validation, { sequenceLength, ...options });
  } finally {
    model.dispose();
  }
}
