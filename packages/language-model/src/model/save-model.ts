import { writeSafetensorsFile, type Module, type SafetensorsTensor, type Tensor } from "@frugal/tensor-core";
import { UnsupportedModelError } from "../errors.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";
import type { DecoderModel } from "./decoder-model.ts";
import { huggingFaceName } from "./weight-names.ts";

/** A configuration as Hugging Face's `config.json`. @throws UnsupportedModelError for interleaved rotary layouts, which that format does not have */
export function configurationToHuggingFace(config: ModelConfiguration): Record<string, unknown> {
  if (config.ropeLayout !== "half") {
    throw new UnsupportedModelError("model", "interleaved rotary weights have no Hugging Face form; train or load with layout \"half\"");
  }
  const scaling = config.ropeScaling;
  if (scaling?.type === "factors") throw new UnsupportedModelError("model", "rotary factors from GGUF have no Hugging Face form");
  return {
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
}

/** A tensor as an entry of a safetensors file, read from its device when it is written. */
export function safetensorsEntry(name: string, tensor: Tensor): SafetensorsTensor {
  return {
    name,
    dtype: "F32",
    shape: tensor.shape,
    bytes: async () => {
      const values = await tensor.data("float32");
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    },
  };
}

/** The parameters of a module under Hugging Face names. */
export function modelEntries(model: DecoderModel): SafetensorsTensor[] {
  const named = new Map([...(model as Module).namedParameters()].map(([path, parameter]) => [huggingFaceName(path, model.blockRange[0]), parameter]));
  return [...named].map(([name, parameter]) => safetensorsEntry(name, parameter));
}

/**
 * Writes a model as a Hugging Face folder: config.json and model.safetensors in float32, each replaced in one step (Node). Quantised weights are not written.
 * @throws UnsupportedModelError for a model with quantised or interleaved weights
 */
export async function saveModel(model: DecoderModel, folder: string): Promise<void> {
  const { mkdir, rename, writeFile } = await import("node:fs/promises");
  const { join } = await import("node:path");
  const config = configurationToHuggingFace(model.config);
  const entries = modelEntries(model);
  const total = entries.reduce((sum, entry) => sum + entry.shape.reduce((size, length) => size * length, 1), 0);
  if (total !== model.parameterCount) throw new UnsupportedModelError("model", "quantised weights cannot be saved; load it with precision float32");
  await mkdir(folder, { recursive: true });
  await writeSafetensorsFile(join(folder, "model.safetensors"), entries, { format: "pt" });
  const temporary = join(folder, `config.json.${process.pid}.tmp`);
  await writeFile(temporary, `${JSON.stringify(config, null, 2)}\n`);
  await rename(temporary, join(folder, "config.json"));
}
