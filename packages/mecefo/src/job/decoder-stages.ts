import { createModel, huggingFaceName, parseModelConfiguration, type ModelConfiguration } from "@frugal/language-model";
import { Generator } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";
import type { Job } from "./job.ts";
import { openModule } from "./open-module.ts";
import type { StageFactory } from "./stage-factory.ts";

/** Stages of language-model's decoders (Llama, Qwen2), with parameters under their Hugging Face names. */
export function decoderStageFactory(configuration: ModelConfiguration): StageFactory {
  return {
    blockCount: configuration.numHiddenLayers,
    vocabularySize: configuration.vocabularySize,
    maximumSequenceLength: configuration.maxPositionEmbeddings,
    tiedHead: configuration.tieWordEmbeddings,
    create: (parts, seed) => createModel(configuration, { generator: new Generator(seed), parts }),
    parameterName: (path, parts) => huggingFaceName(path, parts.blocks[0]),
  };
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

/** What a default export lacks to be a `StageFactory`; undefined if nothing. */
function missingFrom(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return "it is no object";
  const factory = value as Partial<Record<keyof StageFactory, unknown>>;
  if (!isCount(factory.blockCount)) return `its blockCount is ${String(factory.blockCount)}`;
  if (!isCount(factory.vocabularySize)) return `its vocabularySize is ${String(factory.vocabularySize)}`;
  const longest = factory.maximumSequenceLength;
  if (!isCount(longest) && longest !== Infinity) return `its maximumSequenceLength is ${String(longest)}`;
  if (typeof factory.tiedHead !== "boolean") return `its tiedHead is ${String(factory.tiedHead)}`;
  if (typeof factory.create !== "function") return "it has no function create";
  if (factory.parameterName !== undefined && typeof factory.parameterName !== "function") return "its parameterName is no function";
  return undefined;
}

/**
 * The job fits the model.
 * @throws SettingsError naming the option that does not
 */
export function checkJobFits(
  job: Pick<Job, "grid" | "sequenceLength">,
  { blockCount, maximumSequenceLength }: Pick<StageFactory, "blockCount" | "maximumSequenceLength">,
): void {
  const { grid, sequenceLength } = job;
  if (blockCount < grid.stages) {
    throw new SettingsError(`grid: ${grid.stages} stages for a model of ${blockCount} blocks; use at most one stage a block`);
  }
  if (sequenceLength > maximumSequenceLength) {
    throw new SettingsError(`sequenceLength: ${sequenceLength} is more than the model's ${maximumSequenceLength} positions`);
  }
}

/**
 * What makes the stages of a job's model: of a decoder's configuration, or the default export of a module.
 * @throws SettingsError for a module that gives no `StageFactory`, or a model that the job does not fit
 * @throws WeightFormatError (language-model) for a configuration that is not valid
 */
export async function openStageFactory(job: Pick<Job, "model" | "grid" | "sequenceLength">): Promise<StageFactory> {
  const { model } = job;
  let factory: StageFactory;
  if (model.kind === "decoder") {
    factory = decoderStageFactory(parseModelConfiguration(model.configuration, "the job's model"));
  } else {
    const exported = await openModule("model", model.path);
    const missing = missingFrom(exported);
    if (missing !== undefined) throw new SettingsError(`model: the default export of ${model.path} is no StageFactory: ${missing}`);
    factory = exported as StageFactory;
  }
  checkJobFits(job, factory);
  return factory;
}
