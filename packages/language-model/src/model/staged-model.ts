import { tidy, type DeviceName, type Linear, type Module, type Parameter, type RmsNorm, type Tensor } from "@frugal/tensor-core";
import type { DecoderCache } from "./decoder-cache.ts";
import type { PackedSequence } from "./packed-sequences.ts";

/** What blocks know besides the hidden states. */
export interface BlockContext {
  /** Position of the first token. Default: the cache's length, 0 without one. With a cache it can only be the cache's length. */
  readonly positionOffset?: number;
  /** What the blocks remember of earlier tokens; they add theirs. Inference only. */
  readonly cache?: DecoderCache | undefined;
  /**
   * Sequences packed into one: hidden is [1, Σ tokens, hiddenSize], the rows of one sequence after those of another, each with a cache of
   * its own. What looks at rows alone runs once for all of them, the mixer sequence by sequence; prompts and single tokens may be mixed.
   * Instead of `cache` and `positionOffset`. The caller advances the caches once all blocks have run. Inference only.
   */
  readonly sequences?: readonly PackedSequence[] | undefined;
  /** With `sequences`, each row's position, int32 [Σ tokens]: `forwardBlocks` makes it once for all blocks. Default: from the caches. */
  readonly packedPositions?: Tensor | undefined;
}

/** The linear layers of down(silu(gate(x)) · up(x)). */
export interface GatedFeedForward extends Module {
  /** [intermediateSize, hiddenSize]. */
  readonly gate: Linear;
  /** [intermediateSize, hiddenSize]. */
  readonly up: Linear;
  /** [hiddenSize, intermediateSize]. */
  readonly down: Linear;
}

/**
 * A residual block in two halves: h = x + mixer(norm(x)), y = h + feedForward(norm(h)). The halves are separate so that training can treat
 * them differently (MeCeFO skips the mixer's backward pass and approximates the feed-forward's), and so that another mixer can take the
 * place of attention.
 */
export interface StagedBlock extends Module {
  /** The norm that `feedForwardHalf` begins with. */
  readonly feedForwardNorm: RmsNorm;
  /** What follows it. */
  readonly feedForward: GatedFeedForward;
  /** x + mixer(norm(x)): [batch, sequence, hiddenSize] in and out. */
  mixerHalf(hidden: Tensor, context?: BlockContext): Tensor;
  /** h + feedForward(norm(h)). */
  feedForwardHalf(hidden: Tensor): Tensor;
  /** Parameters of the mixer half, its norm included. */
  mixerParameters(): Parameter[];
  /** Parameters of the feed-forward half, its norm included. */
  feedForwardParameters(): Parameter[];
}

/** Options of `StagedModel.forward`. */
export interface ForwardOptions {
  /** The ids follow its tokens, and are counted in it. Inference only. */
  readonly cache?: DecoderCache | undefined;
  /** Logits for the last position alone: [batch, 1, vocabularySize]. Default false. */
  readonly lastOnly?: boolean;
}

/**
 * A decoder cut at block boundaries: embedding, a run of blocks, output head. What training, generation, pipelines, split inference and
 * distillation are written against. A model may hold only some of its blocks (`blockRange`), and lack the embedding or the head.
 */
export interface StagedModel extends Module {
  readonly device: DeviceName;
  readonly config: {
    /** Tokens that a sequence may have; Infinity where positions do not end. */
    readonly maxPositionEmbeddings: number;
    /** Tokens that end generation. */
    readonly eosTokenIds: readonly number[];
  };
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  /** Blocks of the whole model. */
  readonly blockCount: number;
  /** The blocks held here: from inclusive, to exclusive. */
  readonly blockRange: readonly [from: number, to: number];
  /**
   * Whether the output head of the whole model is its embedding matrix. A model that holds both has one parameter, whose gradient is the
   * sum of both uses. Where embedding and head are on separate stages, each has a parameter of its own: their gradients have to be summed
   * across the stages before both are updated, or the copies drift apart.
   */
  readonly tiedHead: boolean;
  /** Block by its place in the whole model. @throws MissingPartError when it is not held here */
  block(index: number): StagedBlock;
  /** ids int32 [batch, sequence] → hidden states [batch, sequence, hiddenSize]. @throws MissingPartError without embedding */
  embed(ids: Tensor): Tensor;
  /**
   * Blocks from (inclusive) to (exclusive) on hidden states.
   * @throws MissingPartError when one is not held here, ContextLengthError past the model's positions or the cache's capacity,
   * LanguageModelError for a positionOffset other than the cache's length, or sequences that do not add up to the hidden states' rows.
   * What does not fit is refused before any block runs, and no cache's length changes: callers `advance`.
   */
  forwardBlocks(hidden: Tensor, from: number, to: number, context?: BlockContext): Tensor;
  /** Hidden states [..., hiddenSize] → logits [..., vocabularySize]. @throws MissingPartError without head */
  head(hidden: Tensor): Tensor;
  /** All of it: ids int32 [batch, sequence] → logits [batch, sequence, vocabularySize]. `forwardStages` does it from the parts. */
  forward(ids: Tensor, options?: ForwardOptions): Tensor;
  /** A cache for the blocks held here, or a run of them (from inclusive, to exclusive): a model may serve more than that, never less. */
  createCache(options?: {
    readonly capacity?: number; readonly batch?: number; readonly blockRange?: readonly [from: number, to: number];
  }): DecoderCache;
  /** The embedding's parameters; none where it is not held or quantised. */
  embeddingParameters(): Parameter[];
  /** Those of the final norm and the output head, a tied matrix included; none where it is not held. */
  headParameters(): Parameter[];
}

/** `StagedModel.forward` put together from embedding, blocks and head, for models to implement it with. */
export function forwardStages(
  model: Pick<StagedModel, "embed" | "forwardBlocks" | "head" | "blockCount">, ids: Tensor,
  { cache, lastOnly = false }: ForwardOptions = {},
): Tensor {
  return tidy(() => {
    let hidden = model.forwardBlocks(model.embed(ids), 0, model.blockCount, { cache });
    cache?.advance(ids.shape[1]!);
    if (lastOnly) hidden = hidden.slice(null, [-1, null]);
    return model.head(hidden);
  });
}
