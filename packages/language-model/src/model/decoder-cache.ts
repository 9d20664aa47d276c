/** What one block remembers of earlier tokens: keys and values, or the state of a recurrence. Its mixer knows which. */
export interface BlockState {
  /** Bytes in memory. */
  readonly byteLength: number;
  dispose(): void;
}

/**
 * What a decoder remembers between calls. Blocks of any kind keep a state of their own in it, found by their place in the whole model;
 * the tokens are counted once for all of them.
 */
export interface DecoderCache {
  /** Tokens held. */
  readonly length: number;
  /** Tokens that fit; Infinity for states that do not grow. */
  readonly capacity: number;
  /** Bytes in memory, of all blocks. */
  readonly byteLength: number;
  /** The state of a block. @throws MissingPartError when the cache does not serve it */
  blockState(block: number): BlockState;
  /** @throws ContextLengthError unless `tokens` more fit */
  reserve(tokens: number): void;
  /** Counts tokens that all blocks have taken in. */
  advance(tokens: number): void;
  /**
   * Forgets all but the first `length` tokens.
   * @throws SettingsError for a length outside 0 … `length`, or one that this kind of state cannot go back to
   */
  truncate(length: number): void;
  /**
   * An independent copy of the first `length` tokens, for another sequence that begins with them; it takes memory for what it holds and
   * is disposed of on its own. Between forwards: tokens that are not advanced yet are not copied.
   * @param length default: all
   * @param options.capacity tokens that fit into the copy. Default: as many as here
   * @throws SettingsError for a length outside 0 … `length` or one that this kind of state cannot go back to, or too small a capacity
   */
  fork(length?: number, options?: { readonly capacity?: number }): DecoderCache;
  dispose(): void;
}
