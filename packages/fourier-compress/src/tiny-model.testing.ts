import { DecoderModel, expectedWeights, parseModelConfiguration, type ModelConfiguration, type ModelParts } from "@frugal/language-model";
import { Generator, Parameter, type DeviceName } from "@frugal/tensor-core";

/** A Llama of four blocks, 32 channels and grouped queries, that computes in no time: enough to go wrong everywhere. */
export const TINY_CONFIGURATION: ModelConfiguration = parseModelConfiguration({
  architecture: "llama", vocabularySize: 61, hiddenSize: 32, intermediateSize: 64, numHiddenLayers: 4, numAttentionHeads: 4,
  numKeyValueHeads: 2, headDim: 8, maxPositionEmbeddings: 256, rmsNormEps: 1e-5, ropeTheta: 10000, ropeLayout: "half",
  tieWordEmbeddings: false, attentionBias: false, attentionOutputBias: false, hiddenAct: "silu", bosTokenId: 1, eosTokenIds: [2],
});

/** The model, or some of its parts: equal random weights for every call, of unit gain, so that every token before matters to the next. */
export function tinyModel(
  { parts = {}, device = "cpu" }: { readonly parts?: ModelParts; readonly device?: DeviceName } = {},
): DecoderModel {
  const generator = new Generator(1);
  const order = new Map([...expectedWeights(TINY_CONFIGURATION)].map(([name, shape], index) => [name, { shape, index }]));
  return new DecoderModel(TINY_CONFIGURATION, (name) => {
    const entry = order.get(name);
    if (entry === undefined) return undefined;
    const { shape, index } = entry;
    const isNorm = shape.length === 1;
    return new Parameter(generator.split(index).normal(shape, isNorm ? 1 : 0, isNorm ? 0.1 : 1 / Math.sqrt(shape[1]!), { device }));
  }, { device, parts });
}
