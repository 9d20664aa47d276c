import { readerFromFile, type RandomAccessReader } from "@frugal/tensor-core";
import { WeightFormatError } from "../errors.ts";
import { checkWeights } from "./expected-weights.ts";
import { parseModelConfiguration, type ModelConfiguration } from "./model-configuration.ts";
import { elementCount, type WeightDescriptor, type WeightSource } from "./weight-source.ts";

const HEADER_BYTES = 28;

/** A model of thousands of layers is not a llama2.c file; the bound keeps the table of tensors small. */
const LARGEST_LAYER_COUNT = 1024;

interface Placed extends WeightDescriptor {
  readonly offset: number;
}

function readConfiguration(header: Uint8Array, source: string): ModelConfiguration {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const field = (index: number): number => view.getInt32(index * 4, true);
  const [hiddenSize, intermediateSize, layers, heads, keyValueHeads] = [field(0), field(1), field(2), field(3), field(4)];
  if (layers > LARGEST_LAYER_COUNT) throw new WeightFormatError(source, `${layers} layers, at most ${LARGEST_LAYER_COUNT} are read`);
  return parseModelConfiguration(
    {
      architecture: "llama",
      // A negative vocabulary size is how version 0 says that the output head is stored apart.
      vocabularySize: Math.abs(field(5)),
      hiddenSize,
      intermediateSize,
      numHiddenLayers: layers,
      numAttentionHeads: heads,
      numKeyValueHeads: keyValueHeads,
      headDim: heads > 0 ? hiddenSize / heads : 0,
      maxPositionEmbeddings: field(6),
      rmsNormEps: 1e-5,
      ropeTheta: 10000,
      ropeLayout: "interleaved",
      tieWordEmbeddings: field(5) > 0,
      attentionBias: false,
      attentionOutputBias: false,
      hiddenAct: "silu",
      bosTokenId: 1,
      // Models trained with llama2.c put the begin token between documents, and its own loop stops there.
      eosTokenIds: [2, 1],
    },
    source,
  );
}

function placeTensors(config: ModelConfiguration): { tensors: Map<string, Placed>; byteLength: number } {
  const { hiddenSize, intermediateSize, numHiddenLayers, headDim } = config;
  const queries = config.numAttentionHeads * headDim;
  const keys = config.numKeyValueHeads * headDim;
  const tensors = new Map<string, Placed>();
  let offset = HEADER_BYTES;
  const place = (name: string, shape: readonly number[]): void => {
    const byteLength = elementCount(shape) * 4;
    tensors.set(name, { name, shape, encoding: "float32", byteLength, offset });
    offset += byteLength;
  };
  const placeLayers = (name: string, shape: readonly number[]): void => {
    for (let layer = 0; layer < numHiddenLayers; layer++) place(`model.layers.${layer}.${name}`, shape);
  };
  place("model.embed_tokens.weight", [config.vocabularySize, hiddenSize]);
  placeLayers("input_layernorm.weight", [hiddenSize]);
  placeLayers("self_attn.q_proj.weight", [queries, hiddenSize]);
  placeLayers("self_attn.k_proj.weight", [keys, hiddenSize]);
  placeLayers("self_attn.v_proj.weight", [keys, hiddenSize]);
  placeLayers("self_attn.o_proj.weight", [hiddenSize, queries]);
  placeLayers("post_attention_layernorm.weight", [hiddenSize]);
  placeLayers("mlp.gate_proj.weight", [intermediateSize, hiddenSize]);
  placeLayers("mlp.down_proj.weight", [hiddenSize, intermediateSize]);
  placeLayers("mlp.up_proj.weight", [intermediateSize, hiddenSize]);
  place("model.norm.weight", [hiddenSize]);
  // Cosines and sines of the rotary embedding: the model computes its own.
  offset += config.maxPositionEmbeddings * headDim * 4;
  if (!config.tieWordEmbeddings) place("lm_head.weight", [config.vocabularySize, hiddenSize]);
  return { tensors, byteLength: offset };
}

/**
 * Opens weights in the llama2.c version 0 layout: seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size,
 * seq_len), then float32 tensors, each stacked over layers. The reader is closed with the source.
 * @throws WeightFormatError if the header is not plausible or the file is not exactly as long as the header says
 */
export async function openLlama2c(reader: RandomAccessReader): Promise<WeightSource> {
  const source = reader.description;
  if (reader.byteLength < HEADER_BYTES) {
    throw new WeightFormatError(source, `${reader.byteLength} bytes are too few for a llama2.c header of ${HEADER_BYTES}`);
  }
  const config = readConfiguration(await reader.read(0, HEADER_BYTES), source);
  const { tensors, byteLength } = placeTensors(config);
  if (reader.byteLength !== byteLength) {
    throw new WeightFormatError(source, `the llama2.c header calls for ${byteLength} bytes, the file has ${reader.byteLength}`);
  }
  checkWeights(config, tensors, source);
  return {
    config,
    descriptors: tensors,
    async read(name) {
      const tensor = tensors.get(name);
      if (tensor === undefined) throw new WeightFormatError(source, `there is no tensor ${name}`);
      return await reader.read(tensor.offset, tensor.byteLength);
    },
    async close() {
      await reader.close();
    },
  };
}

/** Opens a llama2.c `.bin` file (Node). Errors as `openLlama2c`, and RandomAccessError if the file cannot be opened. */
export async function openLlama2cFile(path: string): Promise<WeightSource> {
  const reader = await readerFromFile(path);
  try {
    return await openLlama2c(reader);
  } catch (error) {
    await reader.close();
    throw error;
  }
}
