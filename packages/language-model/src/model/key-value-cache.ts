import { assign, keep, zeros, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { ContextLengthError, MissingPartError } from "../errors.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";

/** Size and place of a cache. */
export interface KeyValueCacheOptions {
  /** Tokens it can hold. Default: the model's maxPositionEmbeddings. */
  readonly capacity?: number;
  /** Sequences side by side. Default 1. */
  readonly batch?: number;
  /** Blocks it serves: from inclusive, to exclusive. Default: all. */
  readonly blockRange?: readonly [from: number, to: number];
  /** Default "cpu". */
  readonly device?: DeviceName;
}

/**
 * Keys and values of the tokens seen so far, for each block [batch, keyValueHeads, capacity, headDim]. Memory is taken once; `truncate`
 * goes back to an earlier token, so that a shared prefix is computed once.
 */
export class KeyValueCache {
  readonly capacity: number;
  readonly batch: number;
  readonly #from: number;
  readonly #keys: Tensor[];
  readonly #values: Tensor[];
  #length = 0;

  /** @throws RangeError unless capacity and batch are positive integers */
  constructor(config: ModelConfiguration, options: KeyValueCacheOptions = {}) {
    const { capacity = config.maxPositionEmbeddings, batch = 1, blockRange, device = "cpu" } = options;
    const [from, to] = blockRange ?? [0, config.numHiddenLayers];
    for (const [name, value] of Object.entries({ capacity, batch })) {
      if (!Number.isInteger(value) || value < 1) throw new RangeError(`KeyValueCache: ${name} ${value}; use an integer >= 1`);
    }
    this.capacity = capacity;
    this.batch = batch;
    this.#from = from;
    const shape = [batch, config.numKeyValueHeads, capacity, config.headDim];
    const make = (): Tensor[] => Array.from({ length: to - from }, () => keep(zeros(shape, { device })));
    this.#keys = make();
    this.#values = make();
  }

  /** Tokens held. */
  get length(): number {
    return this.#length;
  }

  /** Bytes in memory. */
  get byteLength(): number {
    return [...this.#keys, ...this.#values].reduce((total, part) => total + part.size * 4, 0);
  }

  /**
   * Writes the keys and values of new tokens, [batch, keyValueHeads, tokens, headDim], after those held, and returns views of all of them.
   * Every block appends before `advance` counts the tokens once.
   * @throws ContextLengthError when they do not fit, MissingPartError for a block that the cache does not serve
   */
  append(block: number, keys: Tensor, values: Tensor): { readonly keys: Tensor; readonly values: Tensor } {
    const end = this.#length + keys.shape[2]!;
    this.reserve(keys.shape[2]!);
    const [allKeys, allValues] = [this.#keys[block - this.#from], this.#values[block - this.#from]];
    if (allKeys === undefined || allValues === undefined) {
      throw new MissingPartError(`the cache of block ${block}`, "make the cache with a blockRange that covers it");
    }
    assign(allKeys, keys, null, null, [this.#length, end]);
    assign(allValues, values, null, null, [this.#length, end]);
    return { keys: allKeys.slice(null, null, [0, end]), values: allValues.slice(null, null, [0, end]) };
  }

  /** @throws ContextLengthError unless `tokens` more fit */
  reserve(tokens: number): void {
    if (this.#length + tokens > this.capacity) throw new ContextLengthError(this.#length + tokens, this.capacity);
  }

  /** Counts tokens that all blocks have appended. */
  advance(tokens: number): void {
    this.reserve(tokens);
    this.#length += tokens;
  }

  /** Forgets all but the first `length` tokens. */
  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.#length) {
      throw new RangeError(`truncate: length ${length} is not between 0 and ${this.#length}`);
    }
    this.#length = length;
  }

  /** Frees the memory. */
  dispose(): void {
    for (const part of [...this.#keys, ...this.#values]) part.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
