import { LanguageModelError } from "../errors.ts";

/** Parameter paths of `DecoderModel` inside a block, and Hugging Face's names for them. */
const blockNames: Readonly<Record<string, string>> = {
  "attentionNorm.": "input_layernorm.",
  "attention.query.": "self_attn.q_proj.",
  "attention.key.": "self_attn.k_proj.",
  "attention.value.": "self_attn.v_proj.",
  "attention.output.": "self_attn.o_proj.",
  "feedForwardNorm.": "post_attention_layernorm.",
  "feedForward.gate.": "mlp.gate_proj.",
  "feedForward.up.": "mlp.up_proj.",
  "feedForward.down.": "mlp.down_proj.",
};

const modelNames: Readonly<Record<string, string>> = {
  "embedding.": "model.embed_tokens.",
  "headEmbedding.": "model.embed_tokens.",
  "norm.": "model.norm.",
  "output.": "lm_head.",
};

/** The Hugging Face name of a parameter of `DecoderModel`, given its path and the number of the model's first block. */
export function huggingFaceName(path: string, firstBlock: number = 0): string {
  const match = /^blocks\.(\d+)\.(.*)$/.exec(path);
  const [table, rest] = match ? [blockNames, match[2]!] : [modelNames, path];
  const prefix = Object.keys(table).find((candidate) => rest.startsWith(candidate));
  if (prefix === undefined) throw new LanguageModelError(`"${path}" is no parameter of a decoder model`);
  const name = table[prefix] + rest.slice(prefix.length);
  return match ? `model.layers.${firstBlock + Number(match[1])}.${name}` : name;
}
