import { z } from "zod";
import type { ProjectionSettings } from "../approximation/stage-mode.ts";
import type { AssignmentSettings } from "../grid/assignment.ts";
import { strategyNames, type StrategyName } from "../grid/strategy.ts";
import { timeoutsSchema, type Timeouts } from "./timeouts.ts";

/** AdamW with warm-up and a cosine, and clipping of the averaged gradient. */
export interface OptimizerSettings {
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** Of the peak, at the end of the cosine. */
  readonly finalLearningRateScale: number;
  readonly betas: readonly [beta1: number, beta2: number];
  readonly epsilon: number;
  /** On matrices, not on norms and biases. */
  readonly weightDecay: number;
  readonly maximumGradientNorm: number;
}

/** A model given by its configuration, or by a module that makes its stages. */
export type JobModel =
  /** language-model's configuration, as `parseModelConfiguration` reads it. */
  | { readonly kind: "decoder"; readonly configuration?: unknown }
  /** A module whose default export is a `StageFactory`: other mixers, other models. */
  | { readonly kind: "module"; readonly path: string };

/** Everything that the course of a training run depends on. Workers of one run have the same one; its hash is their ticket. */
export interface Job extends AssignmentSettings {
  readonly formatVersion: 1;
  /** Name of the run. */
  readonly name: string;
  readonly model: JobModel;
  /** `folder` holds tokens.bin and tokenizer.json, made by `prepareData`, where every worker can read it; SHA-256 of tokens.bin. */
  readonly data: { readonly folder: string; readonly sha256: string };
  /** Sequences of a microbatch. */
  readonly microbatchSize: number;
  readonly sequenceLength: number;
  readonly steps: number;
  readonly seed: number;
  readonly optimizer: OptimizerSettings;
  readonly projection: ProjectionSettings;
  /** Where checkpoints are written, every how many steps, and how many are kept. */
  readonly checkpoint?: { readonly folder: string; readonly every: number; readonly keep: number } | undefined;
  /** How hidden states travel: "float32", "float16", or the path of a module whose default export is an ActivationCodec. */
  readonly codec: string;
  /** Hash the state of every replica every so many steps; 0: never. */
  readonly hashEvery: number;
  /** CPU threads of each worker. */
  readonly threads: number;
  /** Overrides of `timeoutDefaults`. */
  readonly timeouts: Partial<Timeouts>;
}

const size = z.int().min(1).max(1 << 24);
const share = z.number().min(0).max(1);
const path = z.string().min(1).max(1024);

/** Reads a job's model. */
export const jobModelSchema: z.ZodType<JobModel> = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("decoder"), configuration: z.unknown() }),
  z.object({ kind: z.literal("module"), path }),
]);

/** Reads the settings of an optimizer. */
export const optimizerSettingsSchema: z.ZodType<OptimizerSettings> = z.strictObject({
  learningRate: z.number().positive(),
  warmupSteps: z.int().min(0),
  finalLearningRateScale: share,
  betas: z.tuple([share, share]),
  epsilon: z.number().positive(),
  weightDecay: z.number().min(0),
  maximumGradientNorm: z.number().positive(),
});

/** Reads a job. */
export const jobSchema: z.ZodType<Job> = z.strictObject({
  formatVersion: z.literal(1),
  name: z.string().regex(/^[A-Za-z0-9_-]{1,48}$/),
  model: jobModelSchema,
  data: z.strictObject({ folder: path, sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  grid: z.strictObject({ pipelines: size.max(4096), stages: size.max(4096) }),
  microbatches: size.max(4096),
  microbatchSize: size.max(4096),
  sequenceLength: size.max(1 << 20),
  steps: size,
  seed: z.int().min(0),
  optimizer: optimizerSettingsSchema,
  strategy: z.enum(strategyNames as [StrategyName, ...StrategyName[]]),
  techniques: z.strictObject({
    skipMixerBackward: z.boolean(), recomputeFeedForward: z.boolean(), lowRankWeightGradients: z.boolean(),
  }),
  projection: z.strictObject({
    basis: z.enum(["weight", "activation", "gradient"]),
    rank: z.number().positive().optional(),
    refreshInterval: size,
  }),
  maximumChain: size.max(4096),
  lostPipeline: z.enum(["reroute", "drop"]),
  sharing: z.enum(["balanced", "even"]),
  emptyMixer: z.enum(["exact", "skip"]),
  checkpoint: z.strictObject({ folder: path, every: size, keep: size }).optional(),
  codec: path,
  hashEvery: z.int().min(0),
  threads: size.max(1024),
  timeouts: timeoutsSchema,
});
