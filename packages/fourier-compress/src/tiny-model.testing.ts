import { createModel, smallModelConfiguration, type DecoderModel, type ModelConfiguration, type ModelParts } from "@frugal/language-model";
import { Generator } from "@frugal/tensor-core";

/** A Llama of four blocks that computes in no time. */
export const TINY_CONFIGURATION: ModelConfiguration = smallModelConfiguration({
  vocabularySize: 61, hiddenSize: 32, numHiddenLayers: 4, numAttentionHeads: 4, numKeyValueHeads: 2, maxPositionEmbeddings: 96,
});

/** The model, or some of its parts: equal weights for every call. */
export function tinyModel(parts: ModelParts = {}): DecoderModel {
  return createModel(TINY_CONFIGURATION, { generator: new Generator(7), parts });
}
