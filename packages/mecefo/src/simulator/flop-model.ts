import { allTechniques, type Techniques } from "../approximation/stage-mode.ts";
import { SettingsError } from "../errors.ts";
import { partitionBlocks } from "../grid/stage-partition.ts";
import type { CostProfile } from "./cost-profile.ts";
import { stageCosts } from "./stage-costs.ts";

/** What the floating-point operations of a Llama-style model depend on; language-model's `ModelConfiguration` is one. */
export interface ModelShape {
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly vocabularySize: number;
  /** Default: as many keys and values as queries. */
  readonly numAttentionHeads?: number;
  readonly numKeyValueHeads?: number;
}

/** The machine, as far as costs are not counted but assumed. */
export interface MachineAssumptions {
  /** Of one node, reached in training. */
  readonly flopsPerSecond: number;
  /** Of the above, reached by the decomposition of matrices. */
  readonly decompositionEfficiency: number;
  readonly linkBytesPerSecond: number;
  readonly stateBytesPerSecond: number;
  readonly detectionSeconds: number;
  readonly settlingSeconds: number;
  readonly checkpoint: {
    readonly everySeconds: number; readonly writeSeconds: number; readonly bytesPerSecond: number; readonly restartSeconds: number;
  };
}

/** Settings of `costsOfModel`. */
export interface FlopModelSettings {
  readonly name: string;
  readonly model: ModelShape;
  readonly stages: number;
  /** Pipelines, for the all-reduce. */
  readonly pipelines: number;
  readonly sequenceLength: number;
  /** Sequences of a microbatch. */
  readonly microbatchSize: number;
  readonly microbatches: number;
  readonly machine: MachineAssumptions;
  /** Default: all. */
  readonly techniques?: Techniques;
  /** r over hidden size; the paper does not say it. Default 1/4. */
  readonly rankShare?: number;
  /** Default 100. */
  readonly refreshInterval?: number;
}

/** Multiply-adds count two. Forward, one token. */
function blockFlops({ hiddenSize: h, intermediateSize, numAttentionHeads = 1, numKeyValueHeads = 1 }: ModelShape, sequenceLength: number): {
  mixer: number; feedForward: number;
} {
  const projections = 4 * h * h * (1 + numKeyValueHeads / numAttentionHeads);
  return { mixer: projections + 4 * sequenceLength * h, feedForward: 6 * h * intermediateSize };
}

function blockParameters({ hiddenSize: h, intermediateSize, numAttentionHeads = 1, numKeyValueHeads = 1 }: ModelShape): number {
  return 2 * h * h * (1 + numKeyValueHeads / numAttentionHeads) + 3 * h * intermediateSize;
}

/**
 * Cost of low-rank weight gradients (Gyᵀ (x V1)) V1ᵀ over the exact ones': (2brn + 2brm + 2rmn) / 2bmn, the same for all three matrices of
 * a SwiGLU.
 * @param rank r @param tokens b, for which the product with V1ᵀ is done once
 */
export function lowRankShare({ hiddenSize, intermediateSize }: ModelShape, rank: number, tokens: number): number {
  return rank / hiddenSize + rank / intermediateSize + rank / tokens;
}

/** Bytes a parameter has as state: 32-bit weight and two moments, and the 16-bit copy that is computed with. */
const STATE_BYTES = 14;
/** Of 16-bit gradients and activations. */
const SENT_BYTES = 2;

/**
 * Costs counted in floating-point operations (spec §1.7), all of them at one rate: what FLOPs alone explain. Low-rank weight gradients are
 * summed over a step's microbatches before their product with V1ᵀ. Weights are decomposed through
 * the smaller Gram matrix: 2mn² + 9n³ (m ≥ n) for each of three matrices a block.
 * @throws SettingsError if the blocks do not make the stages
 */
export function costsOfModel(settings: FlopModelSettings): CostProfile {
  const { model, stages, pipelines, sequenceLength, microbatchSize, microbatches, machine, techniques = allTechniques } = settings;
  const { hiddenSize: h, intermediateSize, vocabularySize } = model;
  const rankShare = settings.rankShare ?? 0.25;
  if (!(rankShare > 0 && rankShare <= 1)) throw new SettingsError(`rank share ${rankShare}; use a number above 0, at most 1`);
  const tokens = sequenceLength * microbatchSize;
  const block = blockFlops(model, sequenceLength);
  const share = lowRankShare(model, rankShare * h, tokens * microbatches);
  const secondsOf = (flopsPerToken: number): number => (flopsPerToken * tokens) / machine.flopsPerSecond;
  const partition = partitionBlocks(model.numHiddenLayers, stages);
  const blocksPerStage = model.numHiddenLayers / stages;
  const parameters = blocksPerStage * blockParameters(model);
  const narrow = Math.min(h, intermediateSize);
  const decomposition = 3 * (2 * Math.max(h, intermediateSize) * narrow ** 2 + 9 * narrow ** 3);
  return {
    formatVersion: 1,
    name: settings.name,
    basis: `floating-point operations at ${(machine.flopsPerSecond / 1e12).toPrecision(4)} TFLOP/s a node, ` +
      `rank ${rankShare} of hidden size, ${microbatches} microbatches a pipeline`,
    tokensPerMicrobatch: tokens,
    microbatches,
    stages: partition.map(([from, to], stage) =>
      stageCosts({
        mixerForward: secondsOf((to - from) * block.mixer),
        feedForwardForward: secondsOf((to - from) * block.feedForward),
        otherForward: stage === stages - 1 ? secondsOf(2 * h * vocabularySize) : 0,
      }, techniques, share),
    ),
    linkSeconds: (SENT_BYTES * tokens * h) / machine.linkBytesPerSecond,
    updateSeconds: (SENT_BYTES * parameters * 2 * (pipelines - 1)) / pipelines / machine.linkBytesPerSecond,
    projection: {
      seconds: techniques.lowRankWeightGradients
        ? (blocksPerStage * decomposition) / (machine.flopsPerSecond * machine.decompositionEfficiency)
        : 0,
      refreshInterval: settings.refreshInterval ?? 100,
    },
    state: { bytes: STATE_BYTES * parameters, bytesPerSecond: machine.stateBytesPerSecond },
    detectionSeconds: machine.detectionSeconds,
    settlingSeconds: machine.settlingSeconds,
    checkpoint: {
      everySeconds: machine.checkpoint.everySeconds,
      writeSeconds: machine.checkpoint.writeSeconds,
      restoreSeconds: (STATE_BYTES * parameters) / machine.checkpoint.bytesPerSecond,
      restartSeconds: machine.checkpoint.restartSeconds,
    },
  };
}
