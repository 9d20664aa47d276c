import { writeSafetensorsFile, type Module, type SafetensorsTensor, type Tensor } from "@frugal/tensor-core";
import { nodeModule } from "@frugal/tensor-core/node";
import { UnsupportedModelError } from "../errors.ts";
import { replaceTextFile } from "../files/replace-file.ts";
import { differences } from "../weights/differences.ts";
import { configurationFromHuggingFace, type ModelConfiguration } from "../weights/model-configuration.ts";
import type { DecoderModel } from "./decoder-model.ts";
import { huggingFaceName } from "./weight-names.ts";

/**
 * A configuration as Hugging Face's `config.json`. That format knows the rotary layout "half" alone: query and key rows of an interleaved
 * model have to be reordered with it, as `saveModel` does.
 * @throws UnsupportedModelError for what that format does not have: rotary factors from GGUF, biases on some of attention only, Qwen2
 * without them
 */
export function configurationToHuggingFace(config: ModelConfiguration): Record<string, unknown> {
  const scaling = config.ropeScaling;
  if (scaling?.type === "factors") throw new UnsupportedModelError("model", "rotary factors from GGUF have no Hugging Face form");
  const json = {
    architectures: [config.architecture === "qwen2" ? "Qwen2ForCausalLM" : "LlamaForCausalLM"],
    model_type: config.architecture,
    vocab_size: config.vocabularySize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.numHiddenLayers,
    num_attention_heads: config.numAttentionHeads,
    num_key_value_heads: config.numKeyValueHeads,
    head_dim: config.headDim,
    max_position_embeddings: config.maxPositionEmbeddings,
    rms_norm_eps: config.rmsNormEps,
    rope_theta: config.ropeTheta,
    rope_scaling: scaling && {
      rope_type: scaling.type,
      factor: scaling.factor,
      ...(scaling.type === "llama3" && {
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
      }),
    },
    tie_word_embeddings: config.tieWordEmbeddings,
    attention_bias: config.attentionBias,
    hidden_act: config.hiddenAct,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length === 1 ? config.eosTokenIds[0] : config.eosTokenIds,
    torch_dtype: "float32",
  };
  const [difference] = differences(configurationFromHuggingFace(JSON.parse(JSON.stringify(json))), { ...config, ropeLayout: "half" });
  if (difference === undefined) return json;
  const { name, first, second } = difference;
  throw new UnsupportedModelError("model", `${name} ${second} has no form in Hugging Face's ${config.architecture}, which reads ${first}`);
}

/** A tensor as an entry of a safetensors file, read from its device when it is written; `reorder` may permute its values. */
export function safetensorsEntry(
  name: string, tensor: Tensor, reorder: (values: Float32Array) => Float32Array = (values) => values,
): SafetensorsTensor {
  return {
    name,
    dtype: "F32",
    shape: tensor.shape,
    bytes: async () => {
      const values = reorder(await tensor.data("float32"));
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    },
  };
}

/** The parameters of a model under Hugging Face names. */
export function namedWeights(model: DecoderModel): Map<string, Tensor> {
  const named = [...(model as Module).namedParameters()];
  return new Map(named.map(([path, parameter]) => [huggingFaceName(path, model.blockRange[0]), parameter]));
}

/** Moves features 2i and 2i + 1 of each head to i and i + headDim / 2: from the rotary layout "interleaved" to "half". */
function deinterleaveHeads(values: Float32Array, rows: number, headDim: number): Float32Array {
  const columns = values.length / rows;
  const result = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const within = row % headDim;
    const target = row - within + (within >> 1) + (within % 2) * (headDim / 2);
    result.set(values.subarray(row * columns, (row + 1) * columns), target * columns);
  }
  return result;
}

/**
 * Writes a whole model as a Hugging Face folder: config.json and model.safetensors in float32, each replaced in one step (Node). Models
 * with interleaved rotary layout are reordered to the one Hugging Face has.
 * @throws UnsupportedModelError for a model with quantised weights or missing parts
 */
export async function saveModel(model: DecoderModel, folder: string): Promise<void> {
  const { mkdir } = nodeModule("node:fs/promises");
  const { join } = nodeModule("node:path");
  const { config } = model;
  const json = configurationToHuggingFace(config);
  const [from, to] = model.blockRange;
  if (model.embedding === undefined || model.norm === undefined || from > 0 || to < model.blockCount) {
    throw new UnsupportedModelError("model", "parts of a model cannot be saved; load all of it");
  }
  const weights = namedWeights(model);
  const total = [...weights.values()].reduce((sum, { size }) => sum + size, 0);
  if (total !== model.parameterCount) {
    throw new UnsupportedModelError("model", "quantised weights cannot be saved; load it with precision float32");
  }
  const entries = [...weights].map(([name, weight]) => {
    const rotated = config.ropeLayout === "interleaved" && /\.(q|k)_proj\./.test(name);
    return safetensorsEntry(name, weight, rotated ? (values) => deinterleaveHeads(values, weight.shape[0]!, config.headDim) : undefined);
  });
  await mkdir(folder, { recursive: true });
  await writeSafetensorsFile(join(folder, "model.safetensors"), entries, { format: "pt" });
  await replaceTextFile(join(folder, "config.json"), `${JSON.stringify(json, null, 2)}\n`);
}
