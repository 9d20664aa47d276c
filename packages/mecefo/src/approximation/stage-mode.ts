/** What the right singular vectors that weight gradients are projected on are taken from. */
export type ProjectionBasis = "weight" | "activation" | "gradient";

/** Technique III: weight gradients of the feed-forward's matrices through r right singular vectors (paper §3.3, Eq. 2). */
export interface ProjectionSettings {
  /**
   * `weight` is the paper's. Of activations (x xᵀ of the layer's inputs) or of the exact gradient are offered beside it. Default "weight".
   */
  readonly basis: ProjectionBasis;
  /**
   * r: a number of vectors, or a share of the layer's inputs in (0, 1). Default: a quarter of the inputs, at least 32. At most the inputs.
   */
  readonly rank?: number | undefined;
  /** τ: degraded steps between two decompositions. Default 100. */
  readonly refreshInterval: number;
}

/** What a worker with double work leaves out, each on its own. All false is plain neighbour-do-both. */
export interface Techniques {
  /** Technique I: the mixer's backward pass is skipped. */
  readonly skipMixerBackward: boolean;
  /** Technique II: only the feed-forward's input is kept, the rest is computed again. */
  readonly recomputeFeedForward: boolean;
  /** Technique III. */
  readonly lowRankWeightGradients: boolean;
}

/** How a stage runs: `techniques` absent = ordinary forward and backward. */
export interface StageMode {
  readonly techniques?: Techniques | undefined;
  /** In a degraded stage: the mixer's backward pass is done all the same, because no other pipeline does it (N(l) would be empty). */
  readonly exactMixer?: boolean;
}

/** MeCeFO, whole. */
export const allTechniques: Techniques = { skipMixerBackward: true, recomputeFeedForward: true, lowRankWeightGradients: true };

/** Plain neighbour-do-both. */
export const noTechniques: Techniques = { skipMixerBackward: false, recomputeFeedForward: false, lowRankWeightGradients: false };
