import {
  dispose, openSafetensors, readerFromFile, SafetensorsError, tensor, writeSafetensorsFile,
  type Parameter, type SafetensorsFile, type Tensor,
} from "@frugal/tensor-core";
import { z } from "zod";
import { WeightFormatError } from "../errors.ts";
import { safetensorsEntry } from "../model/save-model.ts";
import type { StagedModel } from "../model/staged-model.ts";
import { differences } from "../weights/differences.ts";
import type { Trainer } from "./trainer.ts";

/** Each parameter once, by its path in the model. */
function parametersByPath(model: StagedModel): Map<string, Parameter> {
  const paths = new Map<Parameter, string>();
  for (const [path, parameter] of model.namedParameters()) if (!paths.has(parameter)) paths.set(parameter, path);
  return new Map([...paths].map(([parameter, path]) => [path, parameter]));
}

/**
 * Writes everything a trainer needs to go on — parameters by their paths in the model, moments, step, and the settings of model, run and
 * dataset — into one safetensors file, replaced in one step (Node).
 */
export async function saveTrainingCheckpoint(trainer: Trainer, path: string): Promise<void> {
  const { step, parameterSteps, tensors } = trainer.optimizer.state();
  const weights = [...parametersByPath(trainer.model)].map(([name, weight]) => safetensorsEntry(`model.${name}`, weight));
  const moments = Object.entries(tensors).map(([name, moment]) => safetensorsEntry(`optimizer.${name}`, moment));
  const settings = Object.entries(settingsOf(trainer)).map(([part, values]) => [part, JSON.stringify(values)]);
  await writeSafetensorsFile(path, [...weights, ...moments], {
    step: String(step), parameterSteps: JSON.stringify(parameterSteps), ...Object.fromEntries(settings),
  });
}

/** What a run's course depends on. */
function settingsOf({ model, settings, dataset }: Trainer): Record<string, unknown> {
  return { configuration: model.config, settings, ...(dataset.settings && { dataset: dataset.settings }) };
}

function parsed(text: string | undefined, part: string, path: string): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch (cause) {
    throw new WeightFormatError(path, `its ${part} is not JSON; this is no training checkpoint`, { cause });
  }
}

const counts = z.array(z.int().min(0));

/** Steps of each parameter: those without a gradient wait. */
function parameterStepsOf({ metadata }: SafetensorsFile, trainer: Trainer, path: string): readonly number[] {
  const steps = counts.safeParse(parsed(metadata.get("parameterSteps"), "parameterSteps", path)).data;
  const { length } = trainer.optimizer.parameters;
  if (steps?.length === length) return steps;
  throw new WeightFormatError(path, `its parameterSteps are not ${length} counts; this is no training checkpoint of this model`);
}

function checkMetadata({ metadata }: SafetensorsFile, trainer: Trainer, path: string): number {
  const text = metadata.get("step") ?? "";
  const step = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(step)) {
    throw new WeightFormatError(path, `its step is ${JSON.stringify(text)}; this is no training checkpoint`);
  }
  for (const [part, values] of Object.entries(settingsOf(trainer))) {
    const saved = metadata.get(part);
    // A dataset that says nothing of itself can be compared with nothing.
    if (saved === undefined && part === "dataset") continue;
    const [difference] = differences(parsed(saved, part, path), values);
    if (difference === undefined) continue;
    const { name, first, second } = difference;
    throw new WeightFormatError(path, `it is from a run with ${part} ${name} ${first}, this one has ${second}; give the same settings`);
  }
  return step;
}

/**
 * Restores a trainer of the same model and settings: the next step is the one that would have followed.
 * @throws WeightFormatError when the file is damaged, or of another model or run. Where the configurations agree but the tensors do not,
 * the trainer may then hold some of its values
 */
export async function loadTrainingCheckpoint(trainer: Trainer, path: string): Promise<void> {
  const reader = await readerFromFile(path);
  try {
    await restore(trainer, await openSafetensors(reader), path);
  } catch (cause) {
    if (cause instanceof SafetensorsError) throw new WeightFormatError(path, cause.message.replace(`${path}: `, ""), { cause });
    throw cause;
  } finally {
    await reader.close();
  }
}

async function restore(trainer: Trainer, file: SafetensorsFile, path: string): Promise<void> {
  const step = checkMetadata(file, trainer, path);
  const parameterSteps = parameterStepsOf(file, trainer, path);
  const read = async (name: string, like: Tensor): Promise<Tensor> => {
    const entry = file.entries.get(name);
    if (entry === undefined || entry.dtype !== "F32" || entry.shape.join() !== like.shape.join()) {
      const found = entry ? `${entry.dtype} [${entry.shape.join(", ")}]` : "missing";
      throw new WeightFormatError(path, `${name} is ${found}, expected F32 [${like.shape.join(", ")}]`);
    }
    const bytes = await file.read(name);
    return tensor(new Float32Array(bytes.slice().buffer), like.shape, { device: trainer.model.device });
  };
  for (const [name, weight] of parametersByPath(trainer.model)) {
    const value = await read(`model.${name}`, weight);
    weight.assign(value);
    value.dispose();
  }
  const tensors: Record<string, Tensor> = {};
  try {
    for (const [name, moment] of Object.entries(trainer.optimizer.state().tensors)) tensors[name] = await read(`optimizer.${name}`, moment);
    trainer.optimizer.loadState({ step, parameterSteps, tensors });
  } finally {
    dispose(tensors);
  }
}
