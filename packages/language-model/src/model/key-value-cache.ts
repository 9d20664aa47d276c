import { assign, GradientError, keep, ShapeError, tidy, zeros, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { ContextLengthError, LanguageModelError, MissingPartError, SettingsError } from "../errors.ts";
import type { ModelConfiguration } from "../weights/model-configuration.ts";
import type { BlockState, DecoderCache } from "./decoder-cache.ts";

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
  /** Tokens that memory is taken for at first; it doubles from there. Default 256, or the capacity where it is less. */
  readonly initialTokens?: number;
}

/** Memory doubles from here, so that a long context costs only what is used of it. */
const FIRST_TOKENS = 256;

/** Copies take memory in steps of so many tokens. */
const FORK_TOKENS = 16;

/** Keys and values of one block, [batch, keyValueHeads, tokens, headDim], in memory that grows with the tokens. */
export class KeyValueState implements BlockState {
  readonly #shapeFor: (tokens: number) => readonly number[];
  readonly #capacity: number;
  readonly #device: DeviceName;
  #keys: Tensor;
  #values: Tensor;

  constructor({ batch, heads, headDim, capacity, device, initialTokens = FIRST_TOKENS }: {
    readonly batch: number; readonly heads: number; readonly headDim: number; readonly capacity: number; readonly device: DeviceName;
    readonly initialTokens?: number;
  }) {
    this.#shapeFor = (tokens) => [batch, heads, tokens, headDim];
    this.#capacity = capacity;
    this.#device = device;
    [this.#keys, this.#values] = this.#allocate(Math.min(capacity, initialTokens));
  }

  /** Both or none, where memory ends between them. */
  #allocate(tokens: number): [keys: Tensor, values: Tensor] {
    const one = (): Tensor => zeros(this.#shapeFor(tokens), { device: this.#device });
    return keep(tidy((): [Tensor, Tensor] => [one(), one()]));
  }

  get byteLength(): number {
    return (this.#keys.size + this.#values.size) * 4;
  }

  /**
   * Writes the keys and values of new tokens, [batch, keyValueHeads, tokens, headDim], after the first `held`, and returns views of all.
   * @throws ContextLengthError when they do not fit, ShapeError for another batch, LanguageModelError while they are being differentiated
   */
  append(held: number, keys: Tensor, values: Tensor): { readonly keys: Tensor; readonly values: Tensor } {
    const tokens = keys.shape[2]!;
    const end = held + tokens;
    if (end > this.#capacity) throw new ContextLengthError(end, this.#capacity);
    const expected = this.#shapeFor(tokens).join(", ");
    if (keys.shape.join(", ") !== expected || values.shape.join(", ") !== expected) {
      const got = `[${keys.shape.join(", ")}] and [${values.shape.join(", ")}]`;
      throw new ShapeError(`the cache takes keys and values [${expected}], got ${got}`);
    }
    this.#grow(held, end);
    try {
      assign(this.#keys, keys, null, null, [held, end]);
      assign(this.#values, values, null, null, [held, end]);
    } catch (cause) {
      if (!(cause instanceof GradientError)) throw cause;
      const fix = "leave it out of what is differentiated";
      throw new LanguageModelError(`a cache is for inference: gradients do not flow through it; ${fix}`, { cause });
    }
    return { keys: this.#keys.slice(null, null, [0, end]), values: this.#values.slice(null, null, [0, end]) };
  }

  #grow(held: number, needed: number): void {
    const present = this.#keys.shape[2]!;
    if (needed <= present) return;
    const tokens = Math.min(this.#capacity, Math.max(needed, 2 * present));
    const [keys, values] = this.#allocate(tokens);
    this.#copyTo(keys, values, held);
    this.dispose();
    [this.#keys, this.#values] = [keys, values];
  }

  #copyTo(keys: Tensor, values: Tensor, held: number): void {
    if (held === 0) return;
    tidy(() => {
      assign(keys, this.#keys.slice(null, null, [0, held]), null, null, [0, held]);
      assign(values, this.#values.slice(null, null, [0, held]), null, null, [0, held]);
    });
  }

  /** Writes the first `held` tokens into a state of the same sizes that has memory for them. */
  copyTo(other: KeyValueState, held: number): void {
    this.#copyTo(other.#keys, other.#values, held);
  }

  dispose(): void {
    this.#keys.dispose();
    this.#values.dispose();
  }
}

/**
 * Keys and values of the tokens seen so far, for each block. Memory grows with the tokens, up to the capacity; `truncate` goes back to an
 * earlier token, so that a shared prefix is computed once.
 */
export class KeyValueCache implements DecoderCache {
  readonly capacity: number;
  readonly batch: number;
  readonly #config: ModelConfiguration;
  readonly #options: KeyValueCacheOptions;
  readonly #from: number;
  readonly #states: KeyValueState[] = [];
  #length = 0;

  /** @throws SettingsError unless capacity, batch and initialTokens are positive integers */
  constructor(config: ModelConfiguration, options: KeyValueCacheOptions = {}) {
    const { capacity = config.maxPositionEmbeddings, batch = 1, blockRange, device = "cpu", initialTokens = FIRST_TOKENS } = options;
    const [from, to] = blockRange ?? [0, config.numHiddenLayers];
    for (const [name, value] of Object.entries({ capacity, batch, initialTokens })) {
      if (!Number.isInteger(value) || value < 1) throw new SettingsError(`KeyValueCache: ${name} ${value}; use an integer >= 1`);
    }
    this.capacity = capacity;
    this.batch = batch;
    this.#config = config;
    this.#options = options;
    this.#from = from;
    const sizes = { batch, heads: config.numKeyValueHeads, headDim: config.headDim, capacity, device, initialTokens };
    try {
      for (let block = from; block < to; block++) this.#states.push(new KeyValueState(sizes));
    } catch (cause) {
      this.dispose();
      throw cause;
    }
  }

  get length(): number {
    return this.#length;
  }

  get byteLength(): number {
    return this.#states.reduce((total, state) => total + state.byteLength, 0);
  }

  blockState(block: number): KeyValueState {
    const state = this.#states[block - this.#from];
    if (state === undefined) throw new MissingPartError(`the cache of block ${block}`, "make the cache with a blockRange that covers it");
    return state;
  }

  /**
   * Writes the keys and values of a block's new tokens, [batch, keyValueHeads, tokens, headDim], after those held, and returns views of
   * all of them. Every block appends before `advance` counts the tokens once.
   * @throws ContextLengthError when they do not fit, MissingPartError for a block that the cache does not serve, ShapeError for another
   * batch, LanguageModelError while they are being differentiated
   */
  append(block: number, keys: Tensor, values: Tensor): { readonly keys: Tensor; readonly values: Tensor } {
    return this.blockState(block).append(this.#length, keys, values);
  }

  reserve(tokens: number): void {
    if (this.#length + tokens > this.capacity) throw new ContextLengthError(this.#length + tokens, this.capacity);
  }

  advance(tokens: number): void {
    this.reserve(tokens);
    this.#length += tokens;
  }

  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.#length) {
      throw new SettingsError(`truncate: length ${length} is not between 0 and ${this.#length}`);
    }
    this.#length = length;
  }

  fork(length: number = this.#length, { capacity = this.capacity }: { readonly capacity?: number } = {}): KeyValueCache {
    if (!Number.isInteger(length) || length < 0 || length > this.#length) {
      throw new SettingsError(`fork: length ${length} is not between 0 and ${this.#length}`);
    }
    if (!Number.isInteger(capacity) || capacity < Math.max(1, length)) {
      throw new SettingsError(`fork: capacity ${capacity}; use an integer >= ${Math.max(1, length)}`);
    }
    const initialTokens = Math.max(1, Math.ceil(length / FORK_TOKENS)) * FORK_TOKENS;
    const copy = new KeyValueCache(this.#config, { ...this.#options, capacity, initialTokens });
    this.#states.forEach((state, index) => state.copyTo(copy.#states[index]!, length));
    copy.#length = length;
    return copy;
  }

  /** Frees the memory. */
  dispose(): void {
    for (const state of this.#states) state.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
