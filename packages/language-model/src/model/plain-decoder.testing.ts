/**
 * The decoder written once more as plain loops over numbers, from the papers and Hugging Face's modelling code, and sharing no code with
 * the package: what the tests of the real one compare with. Double precision, one sequence, no cache.
 */
import type { ModelConfiguration } from "../weights/model-configuration.ts";

/** Weights by Hugging Face name, row-major. */
export type PlainWeights = ReadonlyMap<string, ArrayLike<number>>;

type Vector = number[];

function times(matrix: ArrayLike<number>, vector: Vector, bias?: ArrayLike<number>): Vector {
  const rows = matrix.length / vector.length;
  return Array.from({ length: rows }, (_, row) => {
    let sum = bias?.[row] ?? 0;
    for (let i = 0; i < vector.length; i++) sum += matrix[row * vector.length + i]! * vector[i]!;
    return sum;
  });
}

function rootMeanSquareNorm(vector: Vector, gain: ArrayLike<number>, epsilon: number): Vector {
  const meanSquare = vector.reduce((sum, value) => sum + value * value, 0) / vector.length;
  return vector.map((value, i) => (value / Math.sqrt(meanSquare + epsilon)) * gain[i]!);
}

/** Rotates one head at a position. `frequencies` are radians a position. */
function rotate(head: Vector, position: number, frequencies: readonly number[], layout: "half" | "interleaved"): Vector {
  const result = [...head];
  frequencies.forEach((frequency, i) => {
    const [a, b] = layout === "half" ? [i, i + head.length / 2] : [2 * i, 2 * i + 1];
    const angle = position * frequency;
    result[a!] = head[a!]! * Math.cos(angle) - head[b!]! * Math.sin(angle);
    result[b!] = head[b!]! * Math.cos(angle) + head[a!]! * Math.sin(angle);
  });
  return result;
}

function attend(query: Vector, keys: readonly Vector[], values: readonly Vector[]): Vector {
  const scores = keys.map((key) => key.reduce((sum, value, i) => sum + value * query[i]!, 0) / Math.sqrt(query.length));
  const largest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return query.map((_, i) => values.reduce((sum, value, at) => sum + (weights[at]! / total) * value[i]!, 0));
}

/** Logits [ids.length][vocabularySize]. */
export function plainForward(
  config: ModelConfiguration, weights: PlainWeights, frequencies: readonly number[], ids: readonly number[],
): Vector[] {
  const { hiddenSize, headDim, numAttentionHeads, numKeyValueHeads, rmsNormEps, ropeLayout } = config;
  const weight = (name: string): ArrayLike<number> => weights.get(name)!;
  const embedding = weight("model.embed_tokens.weight");
  let hidden = ids.map((id) => Array.from({ length: hiddenSize }, (_, i) => embedding[id * hiddenSize + i]!));
  const headOf = (vector: Vector, index: number): Vector => vector.slice(index * headDim, (index + 1) * headDim);
  for (let layer = 0; layer < config.numHiddenLayers; layer++) {
    const prefix = `model.layers.${layer}`;
    const project = (name: string, input: Vector): Vector =>
      times(weight(`${prefix}.${name}.weight`), input, weights.get(`${prefix}.${name}.bias`));
    const inputs = hidden.map((vector) => rootMeanSquareNorm(vector, weight(`${prefix}.input_layernorm.weight`), rmsNormEps));
    const queries = inputs.map((vector) => project("self_attn.q_proj", vector));
    const keys = inputs.map((vector) => project("self_attn.k_proj", vector));
    const values = inputs.map((vector) => project("self_attn.v_proj", vector));
    hidden = hidden.map((vector, position) => {
      const mixed = Array.from({ length: numAttentionHeads }, (_, head) => {
        const shared = Math.floor(head / (numAttentionHeads / numKeyValueHeads));
        const seenKeys = keys.slice(0, position + 1).map((key, at) => rotate(headOf(key, shared), at, frequencies, ropeLayout));
        const seenValues = values.slice(0, position + 1).map((value) => headOf(value, shared));
        return attend(rotate(headOf(queries[position]!, head), position, frequencies, ropeLayout), seenKeys, seenValues);
      });
      const update = project("self_attn.o_proj", mixed.flat());
      return vector.map((value, i) => value + update[i]!);
    });
    hidden = hidden.map((vector) => {
      const input = rootMeanSquareNorm(vector, weight(`${prefix}.post_attention_layernorm.weight`), rmsNormEps);
      const gate = project("mlp.gate_proj", input);
      const up = project("mlp.up_proj", input);
      const update = project("mlp.down_proj", gate.map((value, i) => (value / (1 + Math.exp(-value))) * up[i]!));
      return vector.map((value, i) => value + update[i]!);
    });
  }
  const head = config.tieWordEmbeddings ? embedding : weight("lm_head.weight");
  return hidden.map((vector) => times(head, rootMeanSquareNorm(vector, weight("model.norm.weight"), rmsNormEps)));
}
