import { openSafetensors, readerFromFile, tensor, dispose, writeSafetensorsFile, type Tensor } from "@frugal/tensor-core";
import { WeightFormatError } from "../errors.ts";
import { modelEntries, safetensorsEntry } from "../model/save-model.ts";
import { huggingFaceName } from "../model/weight-names.ts";
import type { Trainer } from "./trainer.ts";

/**
 * Writes everything a trainer needs to go on — parameters, moments, step — into one safetensors file, replaced in one step (Node).
 */
export async function saveTrainingCheckpoint(trainer: Trainer, path: string): Promise<void> {
  const { step, tensors } = trainer.optimizer.state();
  const moments = Object.entries(tensors).map(([name, moment]) => safetensorsEntry(`optimizer.${name}`, moment));
  await writeSafetensorsFile(path, [...modelEntries(trainer.model), ...moments], { step: String(step), totalSteps: String(trainer.settings.totalSteps) });
}

/**
 * Restores a trainer of the same model and settings: the next step is the one that would have followed.
 * @throws WeightFormatError when the file is of another model or run; the trainer may then hold some of its values
 */
export async function loadTrainingCheckpoint(trainer: Trainer, path: string): Promise<void> {
  const file = await openSafetensors(await readerFromFile(path));
  try {
    const step = Number(file.metadata.get("step"));
    if (!Number.isSafeInteger(step) || step < 0) throw new WeightFormatError(path, `the step is ${JSON.stringify(file.metadata.get("step"))}; this is no training checkpoint`);
    if (file.metadata.get("totalSteps") !== String(trainer.settings.totalSteps)) {
      throw new WeightFormatError(path, `it is from a run of ${file.metadata.get("totalSteps")} steps, this one has ${trainer.settings.totalSteps}; give the same --steps`);
    }
    const read = async (name: string, like: Tensor): Promise<Tensor> => {
      const entry = file.entries.get(name);
      if (entry === undefined || entry.dtype !== "F32" || entry.shape.join() !== like.shape.join()) {
        throw new WeightFormatError(path, `${name} is ${entry ? `${entry.dtype} [${entry.shape.join(", ")}]` : "missing"}, expected F32 [${like.shape.join(", ")}]`);
      }
      const bytes = await file.read(name);
      return tensor(new Float32Array(bytes.slice().buffer), like.shape, { device: trainer.model.device });
    };
    for (const [parameterPath, parameter] of trainer.model.namedParameters()) {
      const value = await read(huggingFaceName(parameterPath, trainer.model.blockRange[0]), parameter);
      parameter.assign(value);
      value.dispose();
    }
    const tensors: Record<string, Tensor> = {};
    for (const [name, moment] of Object.entries(trainer.optimizer.state().tensors)) tensors[name] = await read(`optimizer.${name}`, moment);
    trainer.optimizer.loadState({ step, tensors });
    dispose(tensors);
  } finally {
    await file.close();
  }
}
