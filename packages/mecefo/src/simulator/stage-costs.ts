import { allTechniques, type Techniques } from "../approximation/stage-mode.ts";

/** Seconds of one microbatch in one stage. */
export interface StageCosts {
  /** Of a worker that hosts this stage alone. */
  readonly forward: number;
  readonly backward: number;
  /** In a worker that hosts more than one stage, under the techniques that are on. */
  readonly degradedForward: number;
  readonly degradedBackward: number;
  /** The same where this worker has to give the mixer's exact gradient, because no other pipeline does. */
  readonly exactMixerBackward: number;
}

/** Seconds of one microbatch's forward pass through the parts of one stage: a and f of the cost model. */
export interface StageParts {
  readonly mixerForward: number;
  readonly feedForwardForward: number;
  /** Embedding or head; twice as long in backward, degraded or not. */
  readonly otherForward?: number;
}

/**
 * The cost model: a backward pass takes twice its forward, half for the input's gradient and half for the weights'. A degraded stage leaves
 * the mixer's backward out (I), computes the feed-forward again (II, + f), and gets its weight gradients for a share of f (III).
 * @param lowRankShare what a low-rank weight gradient costs, over the exact one's f; of no effect without technique III
 */
export function stageCosts(
  { mixerForward, feedForwardForward, otherForward = 0 }: StageParts, techniques: Techniques = allTechniques, lowRankShare = 0,
): StageCosts {
  const forward = mixerForward + feedForwardForward + otherForward;
  const mixerBackward = 2 * mixerForward;
  const feedForwardDegraded = feedForwardForward *
    (1 + (techniques.recomputeFeedForward ? 1 : 0) + (techniques.lowRankWeightGradients ? lowRankShare : 1));
  const exactMixerBackward = mixerBackward + feedForwardDegraded + 2 * otherForward;
  return {
    forward,
    backward: 2 * forward,
    degradedForward: forward,
    degradedBackward: exactMixerBackward - (techniques.skipMixerBackward ? mixerBackward : 0),
    exactMixerBackward,
  };
}

/** What a worker with two such stages takes, over what it takes with one when all are healthy (2 = twice as long). */
export function doubleWorkFactor({ forward, backward, degradedForward, degradedBackward }: StageCosts): number {
  return (2 * (degradedForward + degradedBackward)) / (forward + backward);
}
