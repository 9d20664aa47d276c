import { UnsupportedModelError, WeightFormatError } from "../errors.ts";
import type { ModelConfiguration } from "./model-configuration.ts";
import type { WeightDescriptor } from "./weight-source.ts";

/** Every tensor that a model of this configuration has, with its shape, in the order of use. */
export function expectedWeights(config: ModelConfiguration): Map<string, readonly number[]> {
  const { hiddenSize, intermediateSize, vocabularySize, headDim } = config;
  const queries = config.numAttentionHeads * headDim;
  const keys = config.numKeyValueHeads * headDim;
  const shapes = new Map<string, readonly number[]>([["model.embed_tokens.weight", [vocabularySize, hiddenSize]]]);
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    const add = (name: string, shape: readonly number[]): void => void shapes.set(`model.layers.${layer}.${name}`, shape);
    add("input_layernorm.weight", [hiddenSize]);
    add("self_attn.q_proj.weight", [queries, hiddenSize]);
    add("self_attn.k_proj.weight", [keys, hiddenSize]);
    add("self_attn.v_proj.weight", [keys, hiddenSize]);
    if (config.attentionBias) {
      add("self_attn.q_proj.bias", [queries]);
      add("self_attn.k_proj.bias", [keys]);
      add("self_attn.v_proj.bias", [keys]);
    }
    add("self_attn.o_proj.weight", [hiddenSize, queries]);
    if (config.attentionOutputBias) add("self_attn.o_proj.bias", [hiddenSize]);
    add("post_attention_layernorm.weight", [hiddenSize]);
    add("mlp.gate_proj.weight", [intermediateSize, hiddenSize]);
    add("mlp.up_proj.weight", [intermediateSize, hiddenSize]);
    add("mlp.down_proj.weight", [hiddenSize, intermediateSize]);
  }
  shapes.set("model.norm.weight", [hiddenSize]);
  if (!config.tieWordEmbeddings) shapes.set("lm_head.weight", [vocabularySize, hiddenSize]);
  return shapes;
}

/**
 * Checks that a file holds exactly the tensors its configuration calls for, with the right shapes, before anything is loaded.
 * @throws WeightFormatError if a tensor is missing or has another shape
 * @throws UnsupportedModelError if there are tensors the architecture does not use: running without them would be silently wrong
 */
export function checkWeights(config: ModelConfiguration, descriptors: ReadonlyMap<string, WeightDescriptor>, source: string): void {
  // One layer alone tells that a file is too small, before a list is made for thousands of layers that are not there.
  if (descriptors.size < config.numHiddenLayers * 9) {
    throw new WeightFormatError(source, `${descriptors.size} tensors are too few for ${config.numHiddenLayers} layers`);
  }
  const shapes = expectedWeights(config);
  for (const [name, shape] of shapes) {
    const descriptor = descriptors.get(name);
    if (descriptor === undefined) throw new WeightFormatError(source, `tensor ${name} [${shape.join(", ")}] is missing`);
    if (descriptor.shape.length !== shape.length || descriptor.shape.some((size, axis) => size !== shape[axis])) {
      throw new WeightFormatError(source, `tensor ${name} is [${descriptor.shape.join(", ")}], expected [${shape.join(", ")}]`);
    }
  }
  const unused = [...descriptors.keys()].filter((name) => !shapes.has(name));
  if (unused.length > 0) {
    const names = unused.slice(0, 4).join(", ");
    throw new UnsupportedModelError(source, `${unused.length} tensors are not part of a ${config.architecture} model: ${names}`);
  }
}
