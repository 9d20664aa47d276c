import {
  add, concatenate, Linear, Module, QuantizedTensor, RmsNorm, rotaryEmbedding, scaledDotProductAttention, swiglu,
  type Parameter, type Tensor,
} from "@frugal/tensor-core";
import { LanguageModelError, WeightFormatError } from "../errors.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";
import type { DecoderCache } from "./decoder-cache.ts";
import { KeyValueState } from "./key-value-cache.ts";
import { packedEnd, packedPositions } from "./packed-sequences.ts";
import type { RotaryTable } from "./rotary-table.ts";
import type { BlockContext, GatedFeedForward, StagedBlock } from "./staged-model.ts";

/** Gives the weight of a Hugging Face name; `undefined` where the model has none (absent biases). */
export type WeightProvider = (name: string) => Parameter | QuantizedTensor | undefined;

/** A weight that has to be there. @throws WeightFormatError */
export function requiredWeight(weights: WeightProvider, name: string): Parameter | QuantizedTensor {
  const weight = weights(name);
  if (weight === undefined) throw new WeightFormatError("weights", `tensor ${name} is missing`);
  return weight;
}

/** A weight that has to be there in plain floats (norms and biases). @throws WeightFormatError */
export function plainParameter(weights: WeightProvider, name: string): Parameter {
  const weight = requiredWeight(weights, name);
  if (weight instanceof QuantizedTensor) throw new WeightFormatError("weights", `tensor ${name} is in groups, it has to be plain floats`);
  return weight;
}

function linearOf(weights: WeightProvider, name: string, hasBias: boolean): Linear {
  const bias = hasBias ? plainParameter(weights, `${name}.bias`) : undefined;
  return new Linear({ weight: requiredWeight(weights, `${name}.weight`), bias });
}

/** Grouped-query self-attention with rotary positions. */
export class Attention extends Module {
  readonly query: Linear;
  readonly key: Linear;
  readonly value: Linear;
  readonly output: Linear;
  readonly #config: ModelConfiguration;
  readonly #rotary: RotaryTable;
  readonly #index: number;

  constructor(config: ModelConfiguration, index: number, weights: WeightProvider, rotary: RotaryTable) {
    super();
    const prefix = `model.layers.${index}.self_attn`;
    this.query = linearOf(weights, `${prefix}.q_proj`, config.attentionBias);
    this.key = linearOf(weights, `${prefix}.k_proj`, config.attentionBias);
    this.value = linearOf(weights, `${prefix}.v_proj`, config.attentionBias);
    this.output = linearOf(weights, `${prefix}.o_proj`, config.attentionOutputBias);
    this.#config = config;
    this.#rotary = rotary;
    this.#index = index;
  }

  /**
   * [batch, sequence, hiddenSize] → the same. Tokens see themselves and what came before, the cache included; packed sequences see nothing
   * of each other.
   */
  forward(input: Tensor, { cache, positionOffset = cache?.length ?? 0, sequences, packedPositions: given }: BlockContext = {}): Tensor {
    const { numAttentionHeads, numKeyValueHeads, headDim, ropeLayout: layout } = this.#config;
    const [batch, rows] = input.shape as readonly [number, number, number];
    const { cosine, sine } = this.#rotary.anglesFor(sequences ? packedEnd(sequences) : positionOffset + rows);
    const places = sequences ? { positions: given ?? packedPositions(sequences, input.device) } : { positionOffset };
    const heads = (projected: Tensor, count: number): Tensor => projected.reshape([batch, rows, count, headDim]);
    const rotated = (split: Tensor): Tensor => rotaryEmbedding(split, cosine, sine, { ...places, layout });
    const query = rotated(heads(this.query.forward(input), numAttentionHeads));
    const keys = rotated(heads(this.key.forward(input), numKeyValueHeads));
    const values = heads(this.value.forward(input), numKeyValueHeads);
    let mixed: Tensor;
    if (sequences === undefined) mixed = this.#mix(query, keys, values, cache);
    else {
      let from = 0;
      const parts = sequences.map((sequence) => {
        const part = [from, (from += sequence.tokens)] as const;
        const [q, k, v] = [query, keys, values].map((packed) => packed.slice(null, part)) as [Tensor, Tensor, Tensor];
        return this.#mix(q, k, v, sequence.cache);
      });
      mixed = parts.length === 1 ? parts[0]! : concatenate(parts, 1);
    }
    return this.output.forward(mixed.reshape([batch, rows, numAttentionHeads * headDim]));
  }

  /** Attention of rotated queries to keys, those in the cache included: [batch, sequence, heads, headDim] in and out. */
  #mix(query: Tensor, newKeys: Tensor, newValues: Tensor, cache: DecoderCache | undefined): Tensor {
    const byHead = (split: Tensor): Tensor => split.permute([0, 2, 1, 3]);
    let [keys, values] = [byHead(newKeys), byHead(newValues)];
    if (cache !== undefined) {
      const state = cache.blockState(this.#index);
      if (!(state instanceof KeyValueState)) {
        const fix = "make it with this model's createCache()";
        throw new LanguageModelError(`the cache holds no keys and values for block ${this.#index}; ${fix}`);
      }
      ({ keys, values } = state.append(cache.length, keys, values));
    }
    return byHead(scaledDotProductAttention(byHead(query), keys, values, { causal: true }));
  }
}

/** SwiGLU feed-forward: down(silu(gate(x)) · up(x)). */
export class FeedForward extends Module implements GatedFeedForward {
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;

  constructor(index: number, weights: WeightProvider) {
    super();
    const prefix = `model.layers.${index}.mlp`;
    this.gate = linearOf(weights, `${prefix}.gate_proj`, false);
    this.up = linearOf(weights, `${prefix}.up_proj`, false);
    this.down = linearOf(weights, `${prefix}.down_proj`, false);
  }

  /** [..., hiddenSize] → the same. */
  forward(input: Tensor): Tensor {
    return this.down.forward(swiglu(this.gate.forward(input), this.up.forward(input)));
  }
}

/** One pre-norm decoder block of Llama or Qwen2. */
export class DecoderBlock extends Module implements StagedBlock {
  readonly attentionNorm: RmsNorm;
  readonly attention: Attention;
  readonly feedForwardNorm: RmsNorm;
  readonly feedForward: FeedForward;

  constructor(config: ModelConfiguration, index: number, weights: WeightProvider, rotary: RotaryTable) {
    super();
    const prefix = `model.layers.${index}`;
    const epsilon = config.rmsNormEps;
    this.attentionNorm = new RmsNorm({ weight: plainParameter(weights, `${prefix}.input_layernorm.weight`), epsilon });
    this.attention = new Attention(config, index, weights, rotary);
    this.feedForwardNorm = new RmsNorm({ weight: plainParameter(weights, `${prefix}.post_attention_layernorm.weight`), epsilon });
    this.feedForward = new FeedForward(index, weights);
  }

  mixerHalf(hidden: Tensor, context?: BlockContext): Tensor {
    return add(hidden, this.attention.forward(this.attentionNorm.forward(hidden), context));
  }

  feedForwardHalf(hidden: Tensor): Tensor {
    return add(hidden, this.feedForward.forward(this.feedForwardNorm.forward(hidden)));
  }

  mixerParameters(): Parameter[] {
    return [...this.attentionNorm.parameters(), ...this.attention.parameters()];
  }

  feedForwardParameters(): Parameter[] {
    return [...this.feedForwardNorm.parameters(), ...this.feedForward.parameters()];
  }
}
