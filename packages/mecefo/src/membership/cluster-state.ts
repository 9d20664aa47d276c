import { z } from "zod";

const count = z.int().min(0);
const identity = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const slot = z.object({ pipeline: count.max(4095), stage: count.max(4095) });

const memberSchema = z.object({
  /** Another one whenever a process joins: whoever was taken for dead and comes back is somebody else. */
  id: identity,
  slot,
  /** Where its transport listens. */
  address: z.string().min(1).max(256),
  pid: count,
  hostname: z.string().max(256),
  /** Stages whose weights and moments it holds, as of the state's step. */
  holdings: z.array(count.max(4095)).max(4096),
});

/** A worker that takes part. */
export type Member = z.infer<typeof memberSchema>;

const loadSchema = z.discriminatedUnion("from", [
  /** The weights that the job's seed gives. */
  z.object({ from: z.literal("seed") }),
  z.object({ from: z.literal("checkpoint"), folder: z.string().min(1).max(1024) }),
]);

const decisionSchema = z.object({
  epoch: count,
  step: count,
  /** Squared norm of the whole averaged gradient, for clipping; not finite as null: the step is skipped then. */
  squaredNorm: z.number().min(0).nullable(),
});

/** A step that everybody takes: once it is written here, it is taken, whoever dies. */
export type Decision = z.infer<typeof decisionSchema>;

/** Why an epoch began. */
export const epochCauses = [
  "formed", "joined", "killed", "stopped", "left", "link", "corruption", "straggler", "transfer", "divergence", "stage-lost", "requested",
] as const;

/** The one record that says who trains what: changed by its leader only, by compare-and-set. */
export const clusterStateSchema: z.ZodType<ClusterState> = z.object({
  formatVersion: z.literal(1),
  job: identity,
  /** Rises with every change of members, or when a step has to be begun again. 0 while the first members gather. */
  epoch: count,
  phase: z.enum(["forming", "training", "finished", "failed"]),
  /** The step to be taken next, from 0. */
  step: count,
  members: z.array(memberSchema).max(4096),
  decision: decisionSchema.optional(),
  load: loadSchema.optional(),
  cause: z.enum(epochCauses),
  /** Cause in words, with names. */
  reason: z.string().max(1024),
});

/** The cluster as its leader sees it. */
export interface ClusterState {
  readonly formatVersion: 1;
  readonly job: string;
  readonly epoch: number;
  readonly phase: "forming" | "training" | "finished" | "failed";
  readonly step: number;
  /** In the order of their slots. */
  readonly members: readonly Member[];
  /** The last step taken. */
  readonly decision?: Decision | undefined;
  /** Set while this and all earlier epochs since it was set have taken no step: everybody begins from there instead of from a peer. */
  readonly load?: z.infer<typeof loadSchema> | undefined;
  readonly cause: (typeof epochCauses)[number];
  readonly reason: string;
}
