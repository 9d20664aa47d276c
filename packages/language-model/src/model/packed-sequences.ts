import { tensor, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { ContextLengthError, LanguageModelError, SettingsError } from "../errors.ts";
import type { DecoderCache } from "./decoder-cache.ts";
import type { BlockContext } from "./staged-model.ts";

/** Rows of one sequence among those of others. */
export interface PackedSequence {
  /** What the sequence's earlier tokens left, with batch 1; its length is the position of the first row. */
  readonly cache: DecoderCache;
  /** Rows of this sequence, at least 1. */
  readonly tokens: number;
}

/** Where each row of packed sequences stands in its own sequence: int32 [Σ tokens]. */
export function packedPositions(sequences: readonly PackedSequence[], device: DeviceName): Tensor {
  const positions = new Int32Array(sequences.reduce((total, { tokens }) => total + tokens, 0));
  let row = 0;
  for (const { cache, tokens } of sequences) for (let i = 0; i < tokens; i++) positions[row++] = cache.length + i;
  return tensor(positions, [positions.length], { device });
}

/** Rows that a context's positions have to reach to: the end of its longest sequence. */
export function packedEnd(sequences: readonly PackedSequence[]): number {
  return sequences.reduce((end, { cache, tokens }) => Math.max(end, cache.length + tokens), 0);
}

/**
 * Checks packed sequences before anything is computed, so that a failure leaves every cache as it was.
 * @throws SettingsError for tokens that are no integer >= 1, LanguageModelError when the rows do not add up to the hidden states', two
 * sequences share a cache, or a context has a cache or an offset beside them; ContextLengthError where one does not fit into its cache or
 * the model's positions
 */
export function checkPackedSequences(hidden: Tensor, context: BlockContext, maxPositionEmbeddings: number): void {
  const { sequences = [], cache, positionOffset } = context;
  if (cache !== undefined || positionOffset !== undefined) {
    throw new LanguageModelError("packed sequences have their own caches and positions; leave cache and positionOffset out");
  }
  let rows = 0;
  for (const { tokens } of sequences) {
    if (!Number.isInteger(tokens) || tokens < 1) throw new SettingsError(`a packed sequence of ${tokens} tokens; use an integer >= 1`);
    rows += tokens;
  }
  if (sequences.length === 0 || hidden.shape[0] !== 1 || hidden.shape[1] !== rows) {
    const got = `[${hidden.shape.join(", ")}]`;
    throw new LanguageModelError(`${sequences.length} packed sequences of ${rows} tokens need hidden states [1, ${rows}, …], got ${got}`);
  }
  if (new Set(sequences.map((sequence) => sequence.cache)).size !== sequences.length) {
    throw new LanguageModelError("two packed sequences share a cache; fork it, or send their tokens as one sequence");
  }
  for (const sequence of sequences) sequence.cache.reserve(sequence.tokens);
  const end = packedEnd(sequences);
  if (end > maxPositionEmbeddings) throw new ContextLengthError(end, maxPositionEmbeddings);
}
