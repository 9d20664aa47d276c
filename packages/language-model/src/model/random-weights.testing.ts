import { foldIn, randomKey, randomWord } from "@frugal/tensor-core";
import { checkWeights, expectedWeights } from "../weights/expected-weights.ts";
import { parseModelConfiguration, type ModelConfiguration } from "../weights/model-configuration.ts";
import { elementCount, type WeightDescriptor, type WeightSource } from "../weights/weight-source.ts";

/** A small but complete configuration: grouped queries, an odd vocabulary, more features in heads than in the hidden state. */
export function tinyConfiguration(changes: Partial<ModelConfiguration> = {}): ModelConfiguration {
  return parseModelConfiguration({
    architecture: "llama",
    vocabularySize: 37,
    hiddenSize: 32,
    intermediateSize: 48,
    numHiddenLayers: 3,
    numAttentionHeads: 6,
    numKeyValueHeads: 2,
    headDim: 8,
    maxPositionEmbeddings: 64,
    rmsNormEps: 1e-5,
    ropeTheta: 10000,
    ropeLayout: "half",
    tieWordEmbeddings: false,
    attentionBias: false,
    attentionOutputBias: false,
    hiddenAct: "silu",
    bosTokenId: 1,
    eosTokenIds: [2],
    ...changes,
  });
}

/**
 * Random values for every weight: matrices of about unit gain, norms near 1, biases near 0. The same for the same configuration and seed.
 */
export function randomWeights(config: ModelConfiguration, seed: number = 1): Map<string, Float32Array> {
  return new Map(
    [...expectedWeights(config)].map(([name, shape], index) => {
      const key = foldIn(randomKey(seed), index);
      const spread = shape.length === 2 ? 1.5 / Math.sqrt(shape[1]!) : 0.3;
      const center = name.endsWith("norm.weight") ? 1 : 0;
      const value = (_: unknown, i: number): number => center + spread * ((randomWord(key, i) / 2 ** 32) * 2 - 1);
      return [name, Float32Array.from({ length: elementCount(shape) }, value)];
    }),
  );
}

/** Weights in memory as a source. */
export function sourceOf(config: ModelConfiguration, weights: ReadonlyMap<string, Float32Array>): WeightSource {
  const shapes = expectedWeights(config);
  const descriptors = new Map<string, WeightDescriptor>(
    [...weights].map(([name, values]) => [name, { name, shape: shapes.get(name)!, encoding: "float32", byteLength: values.byteLength }]),
  );
  checkWeights(config, descriptors, "memory");
  return {
    config,
    descriptors,
    read: async (name) => new Uint8Array(weights.get(name)!.buffer),
    close: async () => {},
  };
}
