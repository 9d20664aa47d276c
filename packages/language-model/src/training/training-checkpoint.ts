import {
  dispose, openSafetensors, readerFromFile, tensor, writeSafetensorsFile, type SafetensorsFile, type Tensor,
} from "@frugal/tensor-core";
import { WeightFormatError } from "../errors.ts";
import { namedWeights, safetensorsEntry } from "../model/save-model.ts";
import type { Trainer } from "./trainer.ts";

/**
 * Writes everything a trainer needs to go on — parameters, moments, step, settings — into one safetensors file, replaced in one step
 * (Node).
 */
export async function saveTrainingCheckpoint(trainer: Trainer, path: string): Promise<void> {
  const { step, tensors } = trainer.optimizer.state();
  const weights = [...namedWeights(trainer.model)].map(([name, weight]) => safetensorsEntry(name, weight));
  const moments = Object.entries(tensors).map(([name, moment]) => safetensorsEntry(`optimizer.${name}`, moment));
  await writeSafetensorsFile(path, [...weights, ...moments], { step: String(step), ...settingsOf(trainer) });
}

/** The settings that a run's course depends on, as text. */
function settingsOf(trainer: Trainer): Record<string, string> {
  return Object.fromEntries(Object.entries(trainer.settings).map(([name, value]) => [name, String(value)]));
}

function checkMetadata(file: SafetensorsFile, trainer: Trainer, path: string): number {
  const text = file.metadata.get("step") ?? "";
  const step = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(step)) {
    throw new WeightFormatError(path, `its step is ${JSON.stringify(text)}; this is no training checkpoint`);
  }
  for (const [name, value] of Object.entries(settingsOf(trainer))) {
    const saved = file.metadata.get(name);
    if (saved === value) continue;
    throw new WeightFormatError(path, `it is from a run with ${name} ${saved}, this one has ${value}; give the same settings`);
  }
  return step;
}

/**
 * Restores a trainer of the same model and settings: the next step is the one that would have followed.
 * @throws WeightFormatError when the file is of another model or run; the trainer may then hold some of its values
 */
export async function loadTrainingCheckpoint(trainer: Trainer, path: string): Promise<void> {
  const file = await openSafetensors(await readerFromFile(path));
  try {
    const step = checkMetadata(file, trainer, path);
    const read = async (name: string, like: Tensor): Promise<Tensor> => {
      const entry = file.entries.get(name);
      if (entry === undefined || entry.dtype !== "F32" || entry.shape.join() !== like.shape.join()) {
        const found = entry ? `${entry.dtype} [${entry.shape.join(", ")}]` : "missing";
        throw new WeightFormatError(path, `${name} is ${found}, expected F32 [${like.shape.join(", ")}]`);
      }
      const bytes = await file.read(name);
      return tensor(new Float32Array(bytes.slice().buffer), like.shape, { device: trainer.model.device });
    };
    for (const [name, weight] of namedWeights(trainer.model)) {
      const value = await read(name, weight);
      weight.assign(value);
      value.dispose();
    }
    const tensors: Record<string, Tensor> = {};
    try {
      for (const [name, moment] of Object.entries(trainer.optimizer.state().tensors)) {
        tensors[name] = await read(`optimizer.${name}`, moment);
      }
      trainer.optimizer.loadState({ step, tensors });
    } finally {
      dispose(tensors);
    }
  } finally {
    await file.close();
  }
}
