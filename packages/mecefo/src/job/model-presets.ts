import { parseModelConfiguration, type ModelConfiguration } from "@frugal/language-model";
import { SettingsError } from "../errors.ts";

/** Sizes of a preset. */
export interface PresetSizes {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
}

/** Names of the presets. */
export type ModelPresetName = "nano" | "micro" | "mini" | "small" | "llama-350m" | "llama-1b" | "llama-7b";

/**
 * Llama models by name. The small ones train on a laptop: about 0.1, 0.9, 2.5 and 10 million weights in their blocks. The `llama-` ones are
 * those of the paper's experiments (table of model sizes), for the simulator and for machines that can hold them.
 */
export const modelPresets: Readonly<Record<ModelPresetName, PresetSizes>> = {
  nano: { hiddenSize: 48, intermediateSize: 128, numHiddenLayers: 4, numAttentionHeads: 4 },
  micro: { hiddenSize: 128, intermediateSize: 384, numHiddenLayers: 4, numAttentionHeads: 4 },
  mini: { hiddenSize: 160, intermediateSize: 448, numHiddenLayers: 8, numAttentionHeads: 5 },
  small: { hiddenSize: 320, intermediateSize: 864, numHiddenLayers: 8, numAttentionHeads: 10 },
  "llama-350m": { hiddenSize: 1024, intermediateSize: 2736, numHiddenLayers: 24, numAttentionHeads: 16 },
  "llama-1b": { hiddenSize: 2048, intermediateSize: 5461, numHiddenLayers: 24, numAttentionHeads: 32 },
  "llama-7b": { hiddenSize: 4096, intermediateSize: 11008, numHiddenLayers: 32, numAttentionHeads: 32 },
};

/** All presets, the smallest first. */
export const modelPresetNames: readonly ModelPresetName[] = Object.keys(modelPresets) as ModelPresetName[];

/** Whether a text is the name of a preset. */
export function isModelPreset(name: string): name is ModelPresetName {
  return Object.hasOwn(modelPresets, name);
}

/** What a preset leaves open. */
export interface PresetSettings {
  readonly vocabularySize: number;
  /** Default 512. */
  readonly maxPositionEmbeddings?: number | undefined;
  /** Head and embedding are one matrix. Default false, as in Llama. */
  readonly tieWordEmbeddings?: boolean | undefined;
}

/** The configuration of a preset. @throws SettingsError for an unknown name */
export function presetConfiguration(name: string, settings: PresetSettings): ModelConfiguration {
  if (!isModelPreset(name)) {
    throw new SettingsError(`model "${name}" is no preset; use ${modelPresetNames.join(", ")}, or give a configuration`);
  }
  const sizes = modelPresets[name];
  return parseModelConfiguration({
    architecture: "llama",
    ...sizes,
    vocabularySize: settings.vocabularySize,
    numKeyValueHeads: sizes.numAttentionHeads,
    headDim: sizes.hiddenSize / sizes.numAttentionHeads,
    maxPositionEmbeddings: settings.maxPositionEmbeddings ?? 512,
    rmsNormEps: 1e-5,
    ropeTheta: 10_000,
    ropeLayout: "half",
    tieWordEmbeddings: settings.tieWordEmbeddings ?? false,
    attentionBias: false,
    attentionOutputBias: false,
    hiddenAct: "silu",
    eosTokenIds: [],
  }, `model preset ${name}`);
}
