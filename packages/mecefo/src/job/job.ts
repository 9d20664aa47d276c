import { z } from "zod";
import { timeoutsSchema } from "../membership/timeouts.ts";

const size = z.int().min(1).max(1 << 24);
const share = z.number().min(0).max(1);

/** A model given by its configuration, or by a module that makes its stages. */
const modelSchema = z.discriminatedUnion("kind", [
  /** language-model's configuration, as `parseModelConfiguration` reads it. */
  z.object({ kind: z.literal("decoder"), configuration: z.unknown() }),
  /** A module whose default export is a `StageFactory`: other mixers, other models. */
  z.object({ kind: z.literal("module"), path: z.string().min(1).max(1024) }),
]);

/** Names of the strategies, the peers' among them. */
export const strategyNames = ["mecefo", "naive", "drop-replica", "checkpoint-restart", "none"] as const;

/** How failures are answered. */
export type StrategyName = (typeof strategyNames)[number];

/** Everything that the course of a training run depends on. Workers of one run have the same one; its hash is their ticket. */
export const jobSchema = z.strictObject({
  formatVersion: z.literal(1),
  /** Name of the run. */
  name: z.string().regex(/^[A-Za-z0-9_-]{1,48}$/),
  model: modelSchema,
  data: z.object({
    /** Holds tokens.bin and tokenizer.json, made by `prepareData`; every worker can read it. */
    folder: z.string().min(1).max(1024),
    /** Of tokens.bin. */
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  grid: z.object({ pipelines: size.max(4096), stages: size.max(4096) }),
  /** Microbatches of each pipeline in a step. */
  microbatches: size.max(4096),
  /** Sequences of a microbatch. */
  microbatchSize: size.max(4096),
  sequenceLength: size.max(1 << 20),
  steps: size,
  seed: z.int().min(0),
  optimizer: z.strictObject({
    learningRate: z.number().positive(),
    warmupSteps: z.int().min(0),
    /** Of the peak, at the end of the cosine. */
    finalLearningRateScale: share,
    betas: z.tuple([share, share]),
    epsilon: z.number().positive(),
    weightDecay: z.number().min(0),
    maximumGradientNorm: z.number().positive(),
  }),
  strategy: z.enum(strategyNames),
  techniques: z.strictObject({
    skipMixerBackward: z.boolean(), recomputeFeedForward: z.boolean(), lowRankWeightGradients: z.boolean(),
  }),
  projection: z.strictObject({
    basis: z.enum(["weight", "activation", "gradient"]),
    rank: z.number().positive().optional(),
    refreshInterval: size,
  }),
  /** Stages that one worker may host, its own included. */
  maximumChain: size.max(4096),
  /** What becomes of the microbatches of a pipeline that cannot run: the others take them over, or they are left out of the step. */
  lostPipeline: z.enum(["reroute", "drop"]),
  /** When no pipeline would compute a mixer's gradient: one does it exactly all the same, or the update is left out. */
  emptyMixer: z.enum(["exact", "skip"]),
  checkpoint: z.strictObject({ folder: z.string().min(1).max(1024), every: size, keep: size }).optional(),
  /** How hidden states travel: "float32", "float16", or a module whose default export is an ActivationCodec. */
  codec: z.string().min(1).max(1024),
  /** Hash the state of every replica every so many steps; 0: never. */
  hashEvery: z.int().min(0),
  /** CPU threads of each worker. */
  threads: size.max(1024),
  timeouts: timeoutsSchema,
});

/** A run's specification. */
export type Job = z.infer<typeof jobSchema>;
