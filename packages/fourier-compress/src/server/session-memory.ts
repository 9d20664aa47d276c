import type { DecoderCache, StagedModel } from "@frugal/language-model";

/** Caches for the sessions of one split, and what they will take. */
export class SessionMemory {
  readonly #seed: DecoderCache;
  readonly #baseBytes: number;
  readonly #tokenBytes: number;

  /** For the blocks from `splitBlock` to the last. Holds memory for one token until `dispose`. */
  constructor(model: StagedModel, splitBlock: number) {
    const blockRange = [splitBlock, model.blockCount] as const;
    this.#seed = model.createCache({ capacity: 1, blockRange });
    // States that do not grow take as much for two tokens as for one.
    const two = model.createCache({ capacity: 2, blockRange });
    this.#tokenBytes = two.byteLength - this.#seed.byteLength;
    this.#baseBytes = this.#seed.byteLength - this.#tokenBytes;
    two.dispose();
  }

  /** An empty cache, which takes little memory until it is used: copies begin small, fresh caches with hundreds of tokens. */
  createCache(capacity: number): DecoderCache {
    return this.#seed.fork(0, { capacity });
  }

  /** Bytes that so many tokens take in a cache that is grown to exactly them. */
  bytesOf(tokens: number): number {
    return this.#baseBytes + this.#tokenBytes * tokens;
  }

  /** Upper bound of the bytes that `cache` takes once it holds `tokens`: caches double, up to their capacity. */
  bytesAfter(cache: DecoderCache, tokens: number): number {
    const present = cache.byteLength;
    const needed = this.bytesOf(tokens);
    return needed <= present ? present : Math.min(this.bytesOf(cache.capacity), Math.max(needed, 2 * present));
  }

  dispose(): void {
    this.#seed.dispose();
  }
}
