import {
  createModel, languageModelLoss, smallModelConfiguration, type DecoderModel, type ModelParts, type SmallModelSettings,
} from "@frugal/language-model";
import { Generator, keep, tidy, valueAndGrad, type DeviceName, type Parameter, type Tensor } from "@frugal/tensor-core";
import { ProjectionStore } from "../approximation/projection-store.ts";
import type { ProjectionSettings, StageMode } from "../approximation/stage-mode.ts";
import { GradientSums } from "./gradient-sums.ts";
import { StageExecutor } from "./stage-executor.ts";

/** Sizes of the model of these tests. */
export const tiny: Omit<Required<SmallModelSettings>, "bosTokenId" | "eosTokenIds" | "numKeyValueHeads" | "tieWordEmbeddings"> = {
  vocabularySize: 31, hiddenSize: 16, intermediateSize: 40, numHiddenLayers: 4, numAttentionHeads: 2, maxPositionEmbeddings: 32,
};

/** A part of a tiny model; the same seed gives every part the weights it has in the whole. */
export function tinyModel(
  parts: ModelParts = {}, { tied = false, device = "cpu" }: { readonly tied?: boolean; readonly device?: DeviceName } = {},
): DecoderModel {
  return createModel(smallModelConfiguration({ ...tiny, tieWordEmbeddings: tied }), { generator: new Generator(7), parts, device });
}

/** Ids and the ids after them. */
export function tinyBatch(
  seed: number, batch = 3, sequence = 10,
): { readonly ids: Int32Array; readonly targets: Int32Array; readonly shape: readonly [number, number] } {
  const at = (i: number): number => (i * i * 7 + seed * 13 + i * 5) % tiny.vocabularySize;
  const make = (offset: number): Int32Array => Int32Array.from({ length: batch * sequence }, (_, i) => at(i + offset));
  return { ids: make(0), targets: make(1), shape: [batch, sequence] };
}

/** One stage with all it needs. */
export class TestStage {
  readonly model: DecoderModel;
  readonly sums: GradientSums = new GradientSums();
  readonly projections: ProjectionStore;
  readonly executor: StageExecutor;

  constructor(model: DecoderModel, mode: StageMode = {}, projection: Partial<ProjectionSettings> = {}) {
    this.model = model;
    this.projections = new ProjectionStore({ basis: "weight", refreshInterval: 100, ...projection });
    this.executor = new StageExecutor(model, { mode, projections: this.projections, sums: this.sums });
  }

  /** Sums by the parameter's name. */
  async gradients(): Promise<Record<string, Float32Array>> {
    const result: Record<string, Float32Array> = {};
    for (const [name, parameter] of this.model.namedParameters()) {
      const sum = this.sums.get(parameter);
      if (sum !== undefined) result[name] = await sum.data("float32");
    }
    return result;
  }

  dispose(): void {
    this.sums.dispose();
    this.projections.dispose();
    this.model.dispose();
  }
}

/** Sends a microbatch through stages in a row and back. Gives the loss. */
export async function runThrough(stages: readonly TestStage[], { ids, targets, shape }: ReturnType<typeof tinyBatch>): Promise<number> {
  const passes: ReturnType<StageExecutor["forward"]>[] = [];
  for (const [i, { executor }] of stages.entries()) {
    const input = i === 0 ? { ids, shape } : { hidden: passes[i - 1]!.output! };
    passes.push(executor.forward(input, i === stages.length - 1 ? targets : undefined));
  }
  const loss = await passes.at(-1)!.loss!.item();
  let gradient: Tensor | undefined;
  for (const pass of passes.reverse()) {
    const next = await pass.backward(gradient);
    gradient?.dispose();
    gradient = next;
  }
  return loss;
}

/** Loss and gradients by name, by ordinary differentiation of the whole model. */
export async function wholeModelGradients(
  model: DecoderModel, { ids, targets, shape: [batchSize, sequenceLength] }: ReturnType<typeof tinyBatch>,
): Promise<{ loss: number; gradients: Record<string, Float32Array> }> {
  const named = [...model.namedParameters()];
  const batch = { inputs: ids, targets, batchSize, sequenceLength };
  const parameters = [...new Set(named.map(([, parameter]) => parameter))] as Parameter[];
  const [value, gradients] = keep(tidy(() => valueAndGrad(() => languageModelLoss(model, batch))(parameters)));
  const result: Record<string, Float32Array> = {};
  for (const [name, parameter] of named) result[name] = await gradients[parameters.indexOf(parameter)]!.data("float32");
  const loss = await value.item();
  for (const made of [value, ...gradients]) made.dispose();
  return { loss, gradients: result };
}
