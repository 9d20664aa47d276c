import { z } from "zod";
import { UnsupportedModelError, WeightFormatError } from "../errors.ts";

/** How rotary frequencies are stretched for long contexts. */
export type RopeScaling =
  | { readonly type: "linear"; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings: number;
    }
  /** One divisor per frequency (headDim / 2 of them): how GGUF stores the result of "llama3". */
  | { readonly type: "factors"; readonly factors: readonly number[] };

/** What a decoder model is, in Hugging Face's words; every weight format is read into this. */
export interface ModelConfiguration {
  readonly architecture: "llama" | "qwen2";
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling?: RopeScaling;
  /**
   * Which components rotate together: `half` pairs (i, i + headDim / 2) as Hugging Face's rotate_half does, `interleaved` pairs
   * (2i, 2i + 1) as llama2.c and GGUF llama files (whose query and key rows are permuted for it) do.
   */
  readonly ropeLayout: "half" | "interleaved";
  /** The output head is the embedding matrix; there is no `lm_head.weight`. */
  readonly tieWordEmbeddings: boolean;
  /** Query, key and value projections have biases. */
  readonly attentionBias: boolean;
  /** The attention output projection has a bias. */
  readonly attentionOutputBias: boolean;
  readonly hiddenAct: "silu";
  readonly bosTokenId?: number;
  /** Tokens that end generation; may be empty. */
  readonly eosTokenIds: readonly number[];
}

/** Larger than any published decoder, small enough that products of two stay exact integers. */
const size = z
  .int()
  .min(1)
  .max(1 << 24);
const positive = z.number().positive().max(1e12);
const tokenId = z
  .int()
  .min(0)
  .max((1 << 24) - 1);

const ropeScalingSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("linear"), factor: positive }),
  z.object({
    type: z.literal("llama3"),
    factor: positive,
    lowFreqFactor: positive,
    highFreqFactor: positive,
    originalMaxPositionEmbeddings: size,
  }),
  z.object({ type: z.literal("factors"), factors: z.array(positive).max(1 << 16) }),
]);

const modelConfigurationSchema = z
  .object({
    architecture: z.enum(["llama", "qwen2"]),
    vocabularySize: size,
    hiddenSize: size,
    intermediateSize: size,
    numHiddenLayers: size.max(4096),
    numAttentionHeads: size,
    numKeyValueHeads: size,
    headDim: size.max(1 << 16),
    maxPositionEmbeddings: size,
    rmsNormEps: z.number().min(0).max(1),
    ropeTheta: positive,
    ropeScaling: ropeScalingSchema.optional(),
    ropeLayout: z.enum(["half", "interleaved"]),
    tieWordEmbeddings: z.boolean(),
    attentionBias: z.boolean(),
    attentionOutputBias: z.boolean(),
    hiddenAct: z.literal("silu"),
    bosTokenId: tokenId.optional(),
    eosTokenIds: z.array(tokenId).max(64),
  })
  .superRefine((value, context) => {
    const issue = (path: string, message: string): void => context.addIssue({ code: "custom", path: [path], message });
    if (value.numAttentionHeads % value.numKeyValueHeads !== 0) {
      issue("numKeyValueHeads", `${value.numKeyValueHeads} does not divide numAttentionHeads ${value.numAttentionHeads}`);
    }
    if (value.headDim % 2 !== 0) issue("headDim", `${value.headDim} is odd, rotary embedding needs pairs`);
    if (value.ropeScaling?.type === "factors" && value.ropeScaling.factors.length !== value.headDim / 2) {
      issue("ropeScaling", `${value.ropeScaling.factors.length} factors for ${value.headDim / 2} frequencies`);
    }
    if (value.ropeScaling?.type === "llama3" && value.ropeScaling.highFreqFactor <= value.ropeScaling.lowFreqFactor) {
      issue("ropeScaling", "highFreqFactor must be greater than lowFreqFactor");
    }
  });

/** Drops keys whose value is undefined, which exact optional properties do not admit. */
function withoutUndefined(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined));
}

/**
 * Checks a configuration from outside, field by field.
 * @param source what it was read from, for the message
 * @throws WeightFormatError naming each field that is missing or out of range
 */
export function parseModelConfiguration(value: unknown, source = "model configuration"): ModelConfiguration {
  const result = modelConfigurationSchema.safeParse(value);
  if (!result.success) {
    const issues = result.error.issues.map((issue) => `${issue.path.join(".") || "configuration"}: ${issue.message}`);
    throw new WeightFormatError(source, `the model configuration is not valid: ${issues.join("; ")}`);
  }
  return withoutUndefined(result.data) as unknown as ModelConfiguration;
}

const ropeParameters = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().optional(),
  factor: z.number().optional(),
  low_freq_factor: z.number().optional(),
  high_freq_factor: z.number().optional(),
  original_max_position_embeddings: z.number().optional(),
});

const huggingFaceSchema = z.looseObject({
  model_type: z.string(),
  vocab_size: z.number(),
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number(),
  num_attention_heads: z.number().min(1),
  num_key_value_heads: z.number().nullish(),
  head_dim: z.number().nullish(),
  max_position_embeddings: z.number(),
  rms_norm_eps: z.number(),
  rope_theta: z.number().nullish(),
  rope_scaling: ropeParameters.nullish(),
  rope_parameters: ropeParameters.nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  use_sliding_window: z.boolean().nullish(),
  hidden_act: z.string().nullish(),
  bos_token_id: z.number().nullish(),
  eos_token_id: z.union([z.number(), z.array(z.number())]).nullish(),
});

function ropeScalingFromHuggingFace(
  rope: z.infer<typeof ropeParameters> | null | undefined,
  maxPositionEmbeddings: number,
  source: string,
): unknown {
  const type = rope?.rope_type ?? rope?.type ?? "default";
  switch (type) {
    case "default":
      return undefined;
    case "linear":
      return { type, factor: rope?.factor };
    case "llama3":
      return {
        type,
        factor: rope?.factor,
        lowFreqFactor: rope?.low_freq_factor,
        highFreqFactor: rope?.high_freq_factor,
        originalMaxPositionEmbeddings: rope?.original_max_position_embeddings ?? maxPositionEmbeddings,
      };
    default:
      throw new UnsupportedModelError(source, `rope scaling "${type}" is not supported; use a model with default, linear or llama3 rope`);
  }
}

/**
 * Reads a Hugging Face `config.json` of a Llama or Qwen2 model (transformers 4 `rope_theta`/`rope_scaling` or 5 `rope_parameters`).
 * @param json the parsed file
 * @throws WeightFormatError if fields are missing or out of range
 * @throws UnsupportedModelError for another architecture, activation, rope scaling, MLP biases or sliding-window attention
 */
export function configurationFromHuggingFace(json: unknown, source = "config.json"): ModelConfiguration {
  const result = huggingFaceSchema.safeParse(json);
  if (!result.success) {
    const issues = result.error.issues.map((issue) => `${issue.path.join(".") || "config"}: ${issue.message}`);
    throw new WeightFormatError(source, `not a decoder model's configuration: ${issues.join("; ")}`);
  }
  const config = result.data;
  const architecture = config.model_type;
  if (architecture !== "llama" && architecture !== "qwen2") {
    throw new UnsupportedModelError(source, `model_type "${architecture}" is not supported; supported are "llama" and "qwen2"`);
  }
  if (config.mlp_bias === true) throw new UnsupportedModelError(source, "mlp_bias is not supported");
  if (config.use_sliding_window === true) throw new UnsupportedModelError(source, "use_sliding_window is not supported");
  const hiddenAct = config.hidden_act ?? "silu";
  if (hiddenAct !== "silu") throw new UnsupportedModelError(source, `hidden_act "${hiddenAct}" is not supported, only "silu"`);
  const rope = config.rope_parameters ?? config.rope_scaling;
  const eos = config.eos_token_id ?? [];
  return parseModelConfiguration(
    {
      architecture,
      vocabularySize: config.vocab_size,
      hiddenSize: config.hidden_size,
      intermediateSize: config.intermediate_size,
      numHiddenLayers: config.num_hidden_layers,
      numAttentionHeads: config.num_attention_heads,
      numKeyValueHeads: config.num_key_value_heads ?? config.num_attention_heads,
      headDim: config.head_dim ?? config.hidden_size / config.num_attention_heads,
      maxPositionEmbeddings: config.max_position_embeddings,
      rmsNormEps: config.rms_norm_eps,
      ropeTheta: config.rope_parameters?.rope_theta ?? config.rope_theta ?? 10000,
      ropeScaling: ropeScalingFromHuggingFace(rope, config.max_position_embeddings, source),
      ropeLayout: "half",
      tieWordEmbeddings: config.tie_word_embeddings ?? false,
      attentionBias: architecture === "qwen2" || config.attention_bias === true,
      attentionOutputBias: architecture === "llama" && config.attention_bias === true,
      hiddenAct,
      bosTokenId: config.bos_token_id ?? undefined,
      eosTokenIds: Array.isArray(eos) ? eos : [eos],
    },
    source,
  );
}
