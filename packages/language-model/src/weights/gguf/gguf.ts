import { readerFromFile, type RandomAccessReader } from "@frugal/tensor-core";
import { UnsupportedModelError, WeightFormatError } from "../../errors.ts";
import { dequantize } from "../dequantize.ts";
import { checkWeights } from "../expected-weights.ts";
import { elementCount, encodedByteLength, type WeightDescriptor, type WeightSource } from "../weight-source.ts";
import { configurationFromGguf } from "./gguf-configuration.ts";
import { readGgufHeader, type GgufHeader, type GgufValue } from "./gguf-header.ts";
import { encodingOfGgmlType, ggmlTypeName } from "./gguf-types.ts";

/** GGUF weights, with the metadata that a tokenizer or a chat template is made from. */
export interface GgufSource extends WeightSource {
  readonly metadata: ReadonlyMap<string, GgufValue>;
}

const LAYER_NAMES: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};
const MODEL_NAMES: Readonly<Record<string, string>> = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
};

/** Frequency divisors; part of the configuration, not a weight. */
const ROPE_FACTORS = "rope_freqs.weight";

function nameFromGguf(name: string): string {
  const match = /^blk\.(\d{1,5})\.(\w+)\.(weight|bias)$/.exec(name);
  const [, layer, part, kind] = match ?? [];
  const renamed = part === undefined ? undefined : Object.hasOwn(LAYER_NAMES, part) ? LAYER_NAMES[part] : undefined;
  if (renamed !== undefined) return `model.layers.${layer}.${renamed}.${kind}`;
  return (Object.hasOwn(MODEL_NAMES, name) ? MODEL_NAMES[name] : undefined) ?? name;
}

interface Placed extends WeightDescriptor {
  /** File offset. */
  readonly offset: number;
}

/** Checks that tensors lie inside the file and apart from each other. */
function placeTensors(header: GgufHeader, reader: RandomAccessReader): Map<string, Placed> {
  const source = reader.description;
  const placed = header.tensors.map((tensor): Placed => {
    const encoding = encodingOfGgmlType(tensor.type);
    if (encoding === undefined) {
      throw new UnsupportedModelError(source, `tensor ${tensor.name} has encoding ${ggmlTypeName(tensor.type)}, which is not supported`);
    }
    const shape = tensor.dimensions.toReversed();
    const row = tensor.dimensions[0] as number;
    const byteLength = encodedByteLength(encoding, row) === undefined ? undefined : encodedByteLength(encoding, elementCount(shape));
    if (byteLength === undefined)
      throw new WeightFormatError(source, `tensor ${tensor.name}: rows of ${row} are not whole ${encoding} blocks`);
    const offset = header.dataOffset + tensor.offset;
    if (offset + byteLength > reader.byteLength) {
      throw new WeightFormatError(source, `tensor ${tensor.name} ends at byte ${offset + byteLength}, the file has ${reader.byteLength}`);
    }
    return { name: nameFromGguf(tensor.name), shape, encoding, byteLength, offset };
  });
  let end = header.dataOffset;
  let before = "the header";
  for (const tensor of placed.toSorted((a, b) => a.offset - b.offset)) {
    if (tensor.offset < end) throw new WeightFormatError(source, `tensor ${tensor.name} overlaps ${before}`);
    end = tensor.offset + tensor.byteLength;
    before = tensor.name;
  }
  const tensors = new Map<string, Placed>();
  for (const tensor of placed) {
    if (tensors.has(tensor.name)) throw new WeightFormatError(source, `two tensors stand for ${tensor.name}`);
    tensors.set(tensor.name, tensor);
  }
  return tensors;
}

/**
 * Opens a GGUF file (version 2 or 3) of a Llama or Qwen2 model. Tensors keep their blocks; see `dequantize` and
 * `toGroupedQuantization`. The reader is closed with the source.
 * @throws WeightFormatError if the file is cut short or breaks the format
 * @throws UnsupportedModelError for another architecture, or block types and features this package does not have
 */
export async function openGguf(reader: RandomAccessReader): Promise<GgufSource> {
  const source = reader.description;
  const header = await readGgufHeader(reader);
  const tensors = placeTensors(header, reader);
  const readPlaced = (tensor: Placed): Promise<Uint8Array> => reader.read(tensor.offset, tensor.byteLength);
  const factors = tensors.get(ROPE_FACTORS);
  let ropeFactors: Float32Array | undefined;
  if (factors !== undefined) {
    if (factors.encoding !== "float32" || factors.shape.length !== 1 || factors.byteLength > 1 << 18) {
      throw new WeightFormatError(source, `${ROPE_FACTORS} is not a short list of float32`);
    }
    ropeFactors = dequantize("float32", await readPlaced(factors), elementCount(factors.shape));
    tensors.delete(ROPE_FACTORS);
  }
  const config = configurationFromGguf(header, source, ropeFactors);
  checkWeights(config, tensors, source);
  return {
    config,
    descriptors: tensors,
    metadata: header.metadata,
    async read(name) {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new WeightFormatError(source, `there is no tensor ${name}`);
      return await readPlaced(tensor);
    },
    async close() {
      await reader.close();
    },
  };
}

/** Opens a GGUF file by path (Node). Errors as `openGguf`, and RandomAccessError if the file cannot be opened. */
export async function openGgufFile(path: string): Promise<GgufSource> {
  const reader = await readerFromFile(path);
  try {
    return await openGguf(reader);
  } catch (error) {
    await reader.close();
    throw error;
  }
}
