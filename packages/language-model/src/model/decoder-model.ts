import { itemSize, Linear, Module, RmsNorm, tidy, type DeviceName, type Parameter, type Tensor } from "@frugal/tensor-core";
import { ContextLengthError, LanguageModelError, MissingPartError, SettingsError } from "../errors.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";
import { DecoderBlock, plainParameter, requiredWeight, type WeightProvider } from "./decoder-block.ts";
import { KeyValueCache, type KeyValueCacheOptions } from "./key-value-cache.ts";
import { checkPackedSequences, packedPositions } from "./packed-sequences.ts";
import { RotaryTable } from "./rotary-table.ts";
import { forwardStages, type BlockContext, type ForwardOptions, type StagedModel } from "./staged-model.ts";
import { TokenEmbedding } from "./token-embedding.ts";

/** Which parts of a model to hold, for pipelines and split execution. */
export interface ModelParts {
  /** Blocks from inclusive, to exclusive. Default: all. */
  readonly blocks?: readonly [from: number, to: number];
  /** Default true. */
  readonly embedding?: boolean;
  /** The final norm and output head. Default true. */
  readonly head?: boolean;
}

/** The run of blocks that `parts` ask for. @throws SettingsError when the model does not have it */
export function blockRangeOf(config: ModelConfiguration, parts: ModelParts): readonly [from: number, to: number] {
  const { blocks: [from, to] = [0, config.numHiddenLayers] } = parts;
  if (Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= config.numHiddenLayers) return [from, to];
  throw new SettingsError(`blocks ${from} to ${to} are not within the ${config.numHiddenLayers} blocks of the model`);
}

/** A Llama or Qwen2 decoder, or some of its stages. */
export class DecoderModel extends Module implements StagedModel {
  readonly config: ModelConfiguration;
  readonly device: DeviceName;
  readonly blockRange: readonly [from: number, to: number];
  readonly embedding: TokenEmbedding | undefined;
  readonly blocks: readonly DecoderBlock[];
  readonly norm: RmsNorm | undefined;
  /** Absent without head, and where the head is the embedding matrix. */
  readonly output: Linear | undefined;
  /** The embedding matrix as output head, where it is held for the head alone (the last stage of a pipeline). */
  readonly headEmbedding: TokenEmbedding | undefined;
  readonly #rotary: RotaryTable;

  /** From weights by Hugging Face name; see `loadModel` and `createModel`. */
  constructor(
    config: ModelConfiguration,
    weights: WeightProvider,
    { device = "cpu", parts = {} }: { readonly device?: DeviceName; readonly parts?: ModelParts } = {},
  ) {
    super();
    const { embedding = true, head = true } = parts;
    const [from, to] = blockRangeOf(config, parts);
    this.config = config;
    this.device = device;
    this.blockRange = [from, to];
    this.#rotary = new RotaryTable(config, device);
    const tied = head && config.tieWordEmbeddings;
    const table = embedding || tied ? new TokenEmbedding(requiredWeight(weights, "model.embed_tokens.weight")) : undefined;
    this.embedding = embedding ? table : undefined;
    this.headEmbedding = tied && !embedding ? table : undefined;
    this.blocks = Array.from({ length: to - from }, (_, i) => new DecoderBlock(config, from + i, weights, this.#rotary));
    this.norm = head ? new RmsNorm({ weight: plainParameter(weights, "model.norm.weight"), epsilon: config.rmsNormEps }) : undefined;
    this.output = head && !tied ? new Linear({ weight: requiredWeight(weights, "lm_head.weight") }) : undefined;
  }

  get hiddenSize(): number {
    return this.config.hiddenSize;
  }

  get vocabularySize(): number {
    return this.config.vocabularySize;
  }

  get blockCount(): number {
    return this.config.numHiddenLayers;
  }

  get tiedHead(): boolean {
    return this.config.tieWordEmbeddings;
  }

  embeddingParameters(): Parameter[] {
    return this.embedding?.parameters() ?? [];
  }

  headParameters(): Parameter[] {
    if (this.norm === undefined) return [];
    const matrix = this.output ?? this.headEmbedding ?? this.embedding;
    return [...this.norm.parameters(), ...(matrix?.parameters() ?? [])];
  }

  block(index: number): DecoderBlock {
    const block = this.blocks[index - this.blockRange[0]];
    if (block === undefined) {
      const [from, to] = this.blockRange;
      throw new MissingPartError(`block ${index}`, `this model holds blocks ${from} to ${to} (exclusive) of ${this.blockCount}`);
    }
    return block;
  }

  embed(ids: Tensor): Tensor {
    if (this.embedding === undefined) throw new MissingPartError("the embedding", "load the model with parts.embedding");
    const { embedding } = this;
    return tidy(() => embedding.forward(ids));
  }

  forwardBlocks(hidden: Tensor, from: number, to: number, context: BlockContext = {}): Tensor {
    const { sequences } = context;
    if (sequences === undefined) this.#checkPlace(hidden.shape[1]!, context);
    else checkPackedSequences(hidden, context, this.config.maxPositionEmbeddings);
    return tidy(() => {
      const known = sequences ? { sequences, packedPositions: packedPositions(sequences, this.device) } : context;
      let current = hidden;
      for (let index = from; index < to; index++) {
        const block = this.block(index);
        // Each block frees its temporaries and its input at once; what the backward pass needs is kept by the tape.
        const next = tidy(() => block.feedForwardHalf(block.mixerHalf(current, known)));
        if (current !== hidden && current !== next) current.dispose();
        current = next;
      }
      return current;
    });
  }

  /** @throws ContextLengthError LanguageModelError before anything is computed */
  #checkPlace(tokens: number, { cache, positionOffset = cache?.length ?? 0 }: BlockContext): void {
    if (cache !== undefined && positionOffset !== cache.length) {
      const fix = "truncate it, or leave positionOffset out";
      throw new LanguageModelError(`positionOffset ${positionOffset} is not where the cache ends (${cache.length}); ${fix}`);
    }
    cache?.reserve(tokens);
    const end = positionOffset + tokens;
    if (end > this.config.maxPositionEmbeddings) throw new ContextLengthError(end, this.config.maxPositionEmbeddings);
  }

  head(hidden: Tensor): Tensor {
    if (this.norm === undefined) throw new MissingPartError("the output head", "load the model with parts.head");
    const { norm } = this;
    return tidy(() => {
      const normalized = norm.forward(hidden);
      return this.output?.forward(normalized) ?? (this.headEmbedding ?? this.embedding)!.logits(normalized);
    });
  }

  forward(ids: Tensor, options: ForwardOptions = {}): Tensor {
    return forwardStages(this, ids, options);
  }

  /** A cache for this model's blocks, or some of them, on its device. */
  createCache(options: Omit<KeyValueCacheOptions, "device"> = {}): KeyValueCache {
    return new KeyValueCache(this.config, { blockRange: this.blockRange, ...options, device: this.device });
  }

  /** Number of weights, quantised ones included. */
  get parameterCount(): number {
    let count = 0;
    for (const parameter of this.parameters()) count += parameter.size;
    for (const weight of this.quantizedWeights()) count += weight.shape[0] * weight.shape[1];
    return count;
  }

  /** Bytes the weights take in memory. */
  get weightBytes(): number {
    let bytes = 0;
    for (const parameter of this.parameters()) bytes += parameter.size * itemSize(parameter.dtype);
    for (const weight of this.quantizedWeights()) bytes += weight.byteLength;
    return bytes;
  }

  override dispose(): void {
    super.dispose();
    this.#rotary.dispose();
  }
}
