import { z } from "zod";
import type { CapturedEnergy } from "../approximation/projection-store.ts";
import type { TransportFault } from "../transport/transport.ts";

/** A worker asks for a place. */
export interface Hello {
  readonly kind: "hello";
  readonly id: string;
  readonly address: string;
  readonly pid: number;
  readonly hostname: string;
  /** The slot it would like, "p0s1": its launcher's choice. */
  readonly wanted?: string | undefined;
  /** SHA-256 of the job it was started with: workers of another job are refused. */
  readonly jobHash: string;
}

/** A worker holds what its place asks for, and begins the epoch's first step. */
export interface Settled {
  readonly kind: "settled";
  readonly epoch: number;
  readonly transfers: readonly { readonly stage: number; readonly donor: string; readonly bytes: number; readonly milliseconds: number }[];
  readonly milliseconds: number;
}

/** A worker has the averaged gradient of a step and could take it. */
export interface Vote {
  readonly kind: "vote";
  readonly epoch: number;
  readonly step: number;
  readonly stages: readonly StageVote[];
  /** Sum over its microbatches of the mean loss, where the head is. */
  readonly loss?: { readonly sum: number; readonly microbatches: number } | undefined;
  /** Microbatches whose tokens it read, with a hash of them: the ledger of what was trained on. From hosts of stage 0. */
  readonly batches: readonly { readonly microbatch: number; readonly hash: string }[];
  readonly timings: StepTimings;
  readonly memory?: { readonly tensorBytes: number; readonly peakTensorBytes: number } | undefined;
  /** Energy that the projections captured, 0 to 1. */
  readonly energy?: readonly CapturedEnergy[] | undefined;
}

/** A vote's part about one stage. */
export interface StageVote {
  readonly stage: number;
  /** Of the averaged gradient; null when it is not finite. */
  readonly squaredNorm: number | null;
  readonly gradientHash: string;
  /** Of weights and moments before the step. */
  readonly stateHash?: string | undefined;
}

/** Milliseconds of a step. */
export interface StepTimings {
  /** All of it, up to the vote. */
  readonly step: number;
  /** Computing. */
  readonly busy: number;
  /** Waiting for peers' activations and gradients. */
  readonly waiting: number;
  readonly allReduce: number;
}

/** Something is wrong that the leader has to answer with another epoch. */
export interface Trouble {
  readonly kind: "trouble";
  readonly epoch: number;
  readonly trouble: "link" | "corruption" | "transfer" | "load" | "checkpoint" | "failure";
  /** The member it is about. */
  readonly peer?: string | undefined;
  readonly detail: string;
}

/** What a worker does at the moment; sent when a wait is long, so that a hang has a name. */
export interface ProgressReport {
  readonly kind: "progress";
  readonly epoch: number;
  readonly step: number;
  readonly activity: string;
  readonly waitingFor?: string | undefined;
}

/** One stage's part of a checkpoint is on disk. */
export interface Shard {
  readonly kind: "shard";
  readonly step: number;
  readonly stage: number;
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Whether any worker was degraded when it was written. */
  readonly degraded: boolean;
}

/** A worker ends on purpose. */
export interface Leaving {
  readonly kind: "leaving";
  readonly reason: string;
}

/** What workers tell the leader. */
export type WorkerReport = Hello | Settled | Vote | Trouble | ProgressReport | Shard | Leaving;

const count = z.int().min(0);
const identity = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const hash = z.string().regex(/^[0-9a-f]{1,64}$/);
const milliseconds = z.number().min(0);

/** Reads a report that another process wrote. */
export const workerReportSchema: z.ZodType<WorkerReport> = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("hello"), id: identity, address: z.string().min(1).max(256), pid: count, hostname: z.string().max(256),
    wanted: z.string().max(16).optional(), jobHash: hash,
  }),
  z.object({
    kind: z.literal("settled"), epoch: count, milliseconds,
    transfers: z.array(z.object({ stage: count, donor: identity, bytes: count, milliseconds })).max(4096),
  }),
  z.object({
    kind: z.literal("vote"), epoch: count, step: count,
    stages: z.array(z.object({
      stage: count, squaredNorm: z.number().min(0).nullable(), gradientHash: hash, stateHash: hash.optional(),
    })).max(4096),
    loss: z.object({ sum: z.number(), microbatches: count }).optional(),
    batches: z.array(z.object({ microbatch: count, hash })).max(65536),
    timings: z.object({ step: milliseconds, busy: milliseconds, waiting: milliseconds, allReduce: milliseconds }),
    memory: z.object({ tensorBytes: count, peakTensorBytes: count }).optional(),
    energy: z.array(z.object({ block: count, matrix: z.string().max(32), energy: z.number() })).max(65536).optional(),
  }),
  z.object({
    kind: z.literal("trouble"), epoch: count, trouble: z.enum(["link", "corruption", "transfer", "load", "checkpoint", "failure"]),
    peer: identity.optional(), detail: z.string().max(1024),
  }),
  z.object({
    kind: z.literal("progress"), epoch: count, step: count, activity: z.string().max(128), waitingFor: identity.optional(),
  }),
  z.object({
    kind: z.literal("shard"), step: count, stage: count, file: z.string().max(256), sha256: hash, bytes: count, degraded: z.boolean(),
  }),
  z.object({ kind: z.literal("leaving"), reason: z.string().max(256) }),
]);

/** What the leader, or a chaos tool through it, tells one worker. */
export type WorkerCommand =
  /** A fault to bring about; honoured only where faults are allowed. */
  | { readonly kind: "fault"; readonly fault: TransportFault }
  /** Ends the process as if by kill -9; honoured only where faults are allowed. */
  | { readonly kind: "kill" }
  /** The worker may not take part: final. */
  | { readonly kind: "refused"; readonly reason: string };

/** Reads a command that another process wrote. */
export const workerCommandSchema: z.ZodType<WorkerCommand> = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("fault"),
    fault: z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("cut"), peer: identity.optional() }),
      z.object({ kind: z.literal("slow"), delayMilliseconds: milliseconds, durationMilliseconds: milliseconds }),
      z.object({ kind: z.literal("corrupt"), frames: count }),
    ]),
  }),
  z.object({ kind: z.literal("kill") }),
  z.object({ kind: z.literal("refused"), reason: z.string().max(1024) }),
]);
