import type { StagedModel } from "@frugal/language-model";

/** Which part of a model to make. */
export interface StageParts {
  /** From inclusive, to exclusive. */
  readonly blocks: readonly [from: number, to: number];
  readonly embedding: boolean;
  readonly head: boolean;
}

/** Makes the stages of a model: what a model has to give to be trained here. */
export interface StageFactory {
  readonly blockCount: number;
  readonly vocabularySize: number;
  /** Longest sequence. */
  readonly maximumSequenceLength: number;
  /** Whether head and embedding are one matrix (their gradients are summed across the stages that hold them). */
  readonly tiedHead: boolean;
  /**
   * A part with the weights that the seed gives it. The weights of a part are those it has in the whole: a stage made in another process,
   * or for another partition, begins with the same bits.
   */
  create(parts: StageParts, seed: number): StagedModel;
  /** Name of a parameter in the whole model, from its path in a part: what checkpoints go by. Default: blocks renumbered, else the path. */
  parameterName?(path: string, parts: StageParts): string;
}
