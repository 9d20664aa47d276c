import type { Module, Parameter, Tensor } from "@frugal/tensor-core";
import type { KeyValueCache } from "./key-value-cache.ts";

/** What blocks know besides the hidden states. */
export interface BlockContext {
  /** Position of the first token. Default: the cache's length, 0 without one. */
  readonly positionOffset?: number;
  /** Keys and values of earlier tokens; the blocks add theirs. Inference only. */
  readonly cache?: KeyValueCache | undefined;
}

/**
 * A residual block in two halves: h = x + mixer(norm(x)), y = h + feedForward(norm(h)). The halves are separate so that training can treat
 * them differently (MeCeFO skips the mixer's backward pass and approximates the feed-forward's), and so that another mixer can take the
 * place of attention.
 */
export interface StagedBlock extends Module {
  /** x + mixer(norm(x)): [batch, sequence, hiddenSize] in and out. */
  mixerHalf(hidden: Tensor, context?: BlockContext): Tensor;
  /** h + feedForward(norm(h)). */
  feedForwardHalf(hidden: Tensor): Tensor;
  /** Parameters of the mixer half, its norm included. */
  mixerParameters(): Parameter[];
  /** Parameters of the feed-forward half, its norm included. */
  feedForwardParameters(): Parameter[];
}

/**
 * A decoder cut at block boundaries: embedding, a run of blocks, output head. What pipeline training, split inference and distillation are
 * written against. A model may hold only some of its blocks (`blockRange`), and lack the embedding or the head.
 */
export interface StagedModel extends Module {
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  /** Blocks of the whole model. */
  readonly blockCount: number;
  /** The blocks held here: from inclusive, to exclusive. */
  readonly blockRange: readonly [from: number, to: number];
  /** Block by its place in the whole model. @throws MissingPartError when it is not held here */
  block(index: number): StagedBlock;
  /** ids int32 [batch, sequence] → hidden states [batch, sequence, hiddenSize]. @throws MissingPartError without embedding */
  embed(ids: Tensor): Tensor;
  /** Blocks from (inclusive) to (exclusive) on hidden states. @throws MissingPartError when one is not held here */
  forwardBlocks(hidden: Tensor, from: number, to: number, context?: BlockContext): Tensor;
  /** Hidden states [..., hiddenSize] → logits [..., vocabularySize]. @throws MissingPartError without head */
  head(hidden: Tensor): Tensor;
}
