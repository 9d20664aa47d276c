import { z } from "zod";
import { FormatError, SettingsError } from "../errors.ts";
import type { StageCosts } from "./stage-costs.ts";

/** What everything takes: measured, or of a model. All times in seconds. */
export interface CostProfile {
  readonly formatVersion: 1;
  readonly name: string;
  /** What the figures rest on, in a sentence. */
  readonly basis: string;
  /** Tokens of a microbatch. */
  readonly tokensPerMicrobatch: number;
  /** Microbatches of a pipeline in a step. */
  readonly microbatches: number;
  /** Of each stage in order; a single one stands for all. */
  readonly stages: readonly StageCosts[];
  /** Sending one microbatch's activations, or their gradients, to the next host. */
  readonly linkSeconds: number;
  /** All-reduce and optimizer at the end of a step, for each stage that a worker hosts. */
  readonly updateSeconds: number;
  /** Technique III: decomposing the weights of one stage, and the steps between two decompositions. */
  readonly projection: { readonly seconds: number; readonly refreshInterval: number };
  /** A stage's weights and moments, fetched from a live peer. */
  readonly state: { readonly bytes: number; readonly bytesPerSecond: number };
  /** From a death until it is noticed. */
  readonly detectionSeconds: number;
  /** From there until everybody is ready under the new assignment, without the fetching of state. */
  readonly settlingSeconds: number;
  readonly checkpoint: {
    /** Training time between two checkpoints. */
    readonly everySeconds: number;
    /** For which training stands still. */
    readonly writeSeconds: number;
    /** Reading it, all workers at once. */
    readonly restoreSeconds: number;
    /** Starting all processes again. */
    readonly restartSeconds: number;
  };
}

const seconds = z.number().min(0).max(1e9);
const positive = z.number().positive().max(1e18);
const count = z.int().min(1).max(1 << 24);

/** Reads a profile, such as the benchmark writes. */
export const costProfileSchema: z.ZodType<CostProfile> = z.strictObject({
  formatVersion: z.literal(1),
  name: z.string().min(1).max(128),
  basis: z.string().max(2048),
  tokensPerMicrobatch: count,
  microbatches: count.max(4096),
  stages: z.array(z.strictObject({
    forward: seconds.positive(), backward: seconds.positive(), degradedForward: seconds.positive(), degradedBackward: seconds.positive(),
    exactMixerBackward: seconds.positive(),
  })).min(1).max(4096),
  linkSeconds: seconds,
  updateSeconds: seconds,
  projection: z.strictObject({ seconds, refreshInterval: count }),
  state: z.strictObject({ bytes: z.number().min(0).max(1e18), bytesPerSecond: positive }),
  detectionSeconds: seconds,
  settlingSeconds: seconds,
  checkpoint: z.strictObject({ everySeconds: seconds.positive(), writeSeconds: seconds, restoreSeconds: seconds, restartSeconds: seconds }),
});

/** Longest profile that is read: 4096 stages are about a megabyte. */
const LONGEST_TEXT = 1 << 22;

/** @param source name of the file, for messages @throws FormatError */
export function parseCostProfile(text: string, source: string): CostProfile {
  if (text.length > LONGEST_TEXT) throw new FormatError(source, `${text.length} characters; a cost profile has at most ${LONGEST_TEXT}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(source, "is not JSON", { cause: error });
  }
  const result = costProfileSchema.safeParse(value);
  if (!result.success) throw new FormatError(source, `is no cost profile: ${z.prettifyError(result.error)}`);
  return result.data;
}

/** The costs of each stage of a grid. @throws SettingsError if the profile is of another number of stages */
export function stagesOfProfile(profile: CostProfile, stages: number): readonly StageCosts[] {
  if (profile.stages.length === stages) return profile.stages;
  if (profile.stages.length === 1) return Array.from({ length: stages }, () => profile.stages[0]!);
  throw new SettingsError(`costs ${profile.name} are of ${profile.stages.length} stages, the grid has ${stages}`);
}
