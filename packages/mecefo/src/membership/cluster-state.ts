import { z } from "zod";
import type { Slot } from "../grid/grid.ts";

/** A worker that takes part. */
export interface Member {
  /** Another one whenever a process joins: whoever was taken for dead and comes back is somebody else. */
  readonly id: string;
  readonly slot: Slot;
  /** Where its transport listens. */
  readonly address: string;
  readonly pid: number;
  readonly hostname: string;
  /** Stages whose weights and moments it holds, as of the state's step, when the epoch began. */
  readonly holdings: readonly number[];
}

/** A step that everybody takes: once it is written into the state, it is taken, whoever dies. */
export interface Decision {
  readonly epoch: number;
  readonly step: number;
  /** Squared norm of the whole averaged gradient, for clipping; null when it is not finite: the step is skipped then. */
  readonly squaredNorm: number | null;
}

/** Where a stage begins when no peer has it: the weights that the job's seed gives, or a checkpoint. */
export type LoadSource = { readonly from: "seed" } | { readonly from: "checkpoint"; readonly folder: string };

/** Where training goes back to. */
export interface RestorePoint {
  readonly load: LoadSource;
  readonly step: number;
}

/** Why an epoch began. */
export type EpochCause =
  | "formed" | "joined" | "killed" | "stopped" | "left" | "link" | "corruption" | "straggler" | "transfer" | "divergence" | "stage-lost"
  | "requested";

/** All causes. */
export const epochCauses: readonly EpochCause[] = [
  "formed", "joined", "killed", "stopped", "left", "link", "corruption", "straggler", "transfer", "divergence", "stage-lost", "requested",
];

/** The cluster as its leader sees it: the one record that says who trains what. */
export interface ClusterState {
  readonly formatVersion: 1;
  readonly job: string;
  /** Rises with every change of members, or when a step has to be begun again. 0 while the first members gather. */
  readonly epoch: number;
  readonly phase: "forming" | "training" | "finished" | "failed";
  /** The step to be taken next, from 0. */
  readonly step: number;
  /**
   * The step that is not taken any more: the job's last plus one, or an earlier one after a request to stop. A checkpoint is written there.
   */
  readonly stopAt: number;
  /** In the order of their slots. */
  readonly members: readonly Member[];
  /** The last step taken. */
  readonly decision?: Decision | undefined;
  /** Set until the first step after it was set is taken: everybody begins from there instead of from a peer. */
  readonly load?: LoadSource | undefined;
  readonly cause: EpochCause;
  /** The cause in words, with names. */
  readonly reason: string;
}

const count = z.int().min(0);
const identity = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const stage = count.max(4095);

/** Reads a state that another process wrote. */
export const clusterStateSchema: z.ZodType<ClusterState> = z.object({
  formatVersion: z.literal(1),
  job: identity,
  epoch: count,
  phase: z.enum(["forming", "training", "finished", "failed"]),
  step: count,
  stopAt: count,
  members: z.array(z.object({
    id: identity,
    slot: z.object({ pipeline: stage, stage }),
    address: z.string().min(1).max(256),
    pid: count,
    hostname: z.string().max(256),
    holdings: z.array(stage).max(4096),
  })).max(4096),
  decision: z.object({ epoch: count, step: count, squaredNorm: z.number().min(0).nullable() }).optional(),
  load: z.discriminatedUnion("from", [
    z.object({ from: z.literal("seed") }),
    z.object({ from: z.literal("checkpoint"), folder: z.string().min(1).max(1024) }),
  ]).optional(),
  cause: z.enum(epochCauses as [EpochCause, ...EpochCause[]]),
  reason: z.string().max(2048),
});
