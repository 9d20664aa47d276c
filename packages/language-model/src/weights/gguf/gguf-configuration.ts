import { UnsupportedModelError, WeightFormatError } from "../../errors.ts";
import { parseModelConfiguration, type ModelConfiguration } from "../model-configuration.ts";
import type { GgufHeader } from "./gguf-header.ts";

/**
 * Reads the model configuration out of GGUF metadata (architectures `llama` and `qwen2`).
 * @param ropeFactors values of the tensor `rope_freqs.weight`, where the file has one
 * @throws WeightFormatError if a key is missing or out of range, UnsupportedModelError for what this package does not run
 */
export function configurationFromGguf(header: GgufHeader, source: string, ropeFactors?: Float32Array): ModelConfiguration {
  const { metadata } = header;
  const architecture = metadata.get("general.architecture");
  if (typeof architecture !== "string") throw new WeightFormatError(source, "general.architecture is missing");
  if (architecture !== "llama" && architecture !== "qwen2") {
    throw new UnsupportedModelError(source, `architecture "${architecture}" is not supported; supported are "llama" and "qwen2"`);
  }
  const optionalNumber = (key: string): number | undefined => {
    const value = metadata.get(key);
    if (value === undefined || typeof value === "number") return value;
    throw new WeightFormatError(source, `${key} is not a number`);
  };
  const number = (key: string): number => {
    const value = optionalNumber(`${architecture}.${key}`);
    if (value === undefined) throw new WeightFormatError(source, `${architecture}.${key} is missing`);
    return value;
  };
  const hiddenSize = number("embedding_length");
  const heads = number("attention.head_count");
  const headDim = optionalNumber(`${architecture}.attention.key_length`) ?? hiddenSize / heads;
  const rotated = optionalNumber(`${architecture}.rope.dimension_count`) ?? headDim;
  if (rotated !== headDim)
    throw new UnsupportedModelError(source, `rotary embedding of ${rotated} of ${headDim} components is not supported`);
  const valueLength = optionalNumber(`${architecture}.attention.value_length`) ?? headDim;
  if (valueLength !== headDim)
    throw new UnsupportedModelError(source, `values of ${valueLength} components beside keys of ${headDim} are not supported`);
  const experts = optionalNumber(`${architecture}.expert_count`) ?? 0;
  if (experts > 0) throw new UnsupportedModelError(source, `mixtures of experts (${experts}) are not supported`);

  const embedding = header.tensors.find(({ name }) => name === "token_embd.weight");
  const vocabularySize = optionalNumber(`${architecture}.vocab_size`) ?? embedding?.dimensions[1];
  const names = new Set(header.tensors.map(({ name }) => name));
  const eos = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"].map(optionalNumber).filter((id) => id !== undefined);
  return parseModelConfiguration(
    {
      architecture,
      vocabularySize,
      hiddenSize,
      intermediateSize: number("feed_forward_length"),
      numHiddenLayers: number("block_count"),
      numAttentionHeads: heads,
      numKeyValueHeads: optionalNumber(`${architecture}.attention.head_count_kv`) ?? heads,
      headDim,
      maxPositionEmbeddings: number("context_length"),
      rmsNormEps: number("attention.layer_norm_rms_epsilon"),
      ropeTheta: optionalNumber(`${architecture}.rope.freq_base`) ?? 10000,
      ropeScaling: ropeScalingFromGguf(header, architecture, source, ropeFactors),
      // The converter to GGUF permutes the query and key rows of llama files for interleaved rotation, and leaves qwen2 as it is.
      ropeLayout: architecture === "llama" ? "interleaved" : "half",
      tieWordEmbeddings: !names.has("output.weight"),
      attentionBias: names.has("blk.0.attn_q.bias"),
      attentionOutputBias: names.has("blk.0.attn_output.bias"),
      hiddenAct: "silu",
      bosTokenId: optionalNumber("tokenizer.ggml.bos_token_id"),
      eosTokenIds: [...new Set(eos)],
    },
    source,
  );
}

function ropeScalingFromGguf(header: GgufHeader, architecture: string, source: string, ropeFactors?: Float32Array): unknown {
  const type = header.metadata.get(`${architecture}.rope.scaling.type`) ?? "none";
  const factor = header.metadata.get(`${architecture}.rope.scaling.factor`) ?? header.metadata.get(`${architecture}.rope.scale_linear`);
  const linear = type === "linear" || (type === "none" && factor !== undefined && factor !== 1 && factor !== 0);
  if (type !== "none" && type !== "linear") {
    throw new UnsupportedModelError(
      source,
      `rope scaling "${String(type)}" is not supported; use a model with none, linear or llama3 rope`,
    );
  }
  if (ropeFactors !== undefined) {
    if (linear) throw new UnsupportedModelError(source, "linear rope scaling together with rope_freqs.weight is not supported");
    return { type: "factors", factors: [...ropeFactors] };
  }
  return linear ? { type: "linear", factor } : undefined;
}
