import { full, Parameter, type DeviceName, type Generator } from "@frugal/tensor-core";
import { expectedWeights } from "../weights/expected-weights.ts";
import { parseModelConfiguration, type ModelConfiguration } from "../weights/model-configuration.ts";
import { DecoderModel, type ModelParts } from "./decoder-model.ts";

/** Sizes of a model to train; the rest has defaults. */
export interface SmallModelSettings {
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  /** Default: numAttentionHeads. */
  readonly numKeyValueHeads?: number;
  /** Default: 8/3 of hiddenSize, rounded up to a multiple of 32. */
  readonly intermediateSize?: number;
  /** Default 256. */
  readonly maxPositionEmbeddings?: number;
  /** Default true. */
  readonly tieWordEmbeddings?: boolean;
  readonly bosTokenId?: number;
  readonly eosTokenIds?: readonly number[];
}

/** A Llama configuration for training from scratch. @throws WeightFormatError for sizes that do not fit together */
export function smallModelConfiguration(settings: SmallModelSettings): ModelConfiguration {
  const { hiddenSize, numAttentionHeads } = settings;
  return parseModelConfiguration(
    {
      architecture: "llama",
      vocabularySize: settings.vocabularySize,
      hiddenSize,
      intermediateSize: settings.intermediateSize ?? Math.ceil((hiddenSize * 8) / 3 / 32) * 32,
      numHiddenLayers: settings.numHiddenLayers,
      numAttentionHeads,
      numKeyValueHeads: settings.numKeyValueHeads ?? numAttentionHeads,
      headDim: hiddenSize / numAttentionHeads,
      maxPositionEmbeddings: settings.maxPositionEmbeddings ?? 256,
      rmsNormEps: 1e-5,
      ropeTheta: 10000,
      ropeLayout: "half",
      tieWordEmbeddings: settings.tieWordEmbeddings ?? true,
      attentionBias: false,
      attentionOutputBias: false,
      hiddenAct: "silu",
      bosTokenId: settings.bosTokenId,
      eosTokenIds: settings.eosTokenIds ?? [],
    },
    "model settings",
  );
}

/**
 * A model with random weights: normal with standard deviation 0.02, projections back into the residual stream scaled by 1/√(2 · layers)
 * (GPT-2's initialisation), norms 1, biases 0. Each tensor draws from a stream of its own, so a part of a model has the weights it has in
 * the whole.
 */
export function createModel(
  config: ModelConfiguration,
  { generator, device = "cpu", parts = {} }: { readonly generator: Generator; readonly device?: DeviceName; readonly parts?: ModelParts },
): DecoderModel {
  const order = new Map([...expectedWeights(config)].map(([name, shape], index) => [name, { shape, index }]));
  const residualScale = 1 / Math.sqrt(2 * config.numHiddenLayers);
  return new DecoderModel(
    config,
    (name) => {
      const entry = order.get(name);
      if (entry === undefined) return undefined;
      if (name.endsWith(".bias")) return new Parameter(full(entry.shape, 0, { device }));
      if (entry.shape.length === 1) return new Parameter(full(entry.shape, 1, { device }));
      const residual = name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight");
      return new Parameter(generator.split(entry.index).normal(entry.shape, 0, 0.02 * (residual ? residualScale : 1), { device }));
    },
    { device, parts },
  );
}
