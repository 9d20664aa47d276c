import { z } from "zod";

const count = z.int().min(0);
const identity = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const hash = z.string().regex(/^[0-9a-f]{1,64}$/);
const milliseconds = z.number().min(0);

/** A worker asks for a place. */
const helloSchema = z.object({
  kind: z.literal("hello"),
  id: identity,
  address: z.string().min(1).max(256),
  pid: count,
  hostname: z.string().max(256),
  /** The slot it would like, "p0s1": its launcher's choice. */
  wanted: z.string().max(16).optional(),
  /** SHA-256 of the job it was started with: workers of another job are refused. */
  jobHash: hash,
});

/** It holds what its hosts' places ask for, and begins. */
const settledSchema = z.object({
  kind: z.literal("settled"),
  epoch: count,
  transfers: z.array(z.object({ stage: count, donor: identity, bytes: count, milliseconds })).max(4096),
  milliseconds,
});

/** It has the averaged gradient of a step and could take it. */
const voteSchema = z.object({
  kind: z.literal("vote"),
  epoch: count,
  step: count,
  stages: z.array(
    z.object({
      stage: count,
      /** Of the averaged gradient; null when it is not finite. */
      squaredNorm: z.number().min(0).nullable(),
      gradientHash: hash,
      /** Of weights and moments before the step. */
      stateHash: hash.optional(),
    }),
  ).max(4096),
  /** Sum over its microbatches of the mean loss, where the head is. */
  loss: z.object({ sum: z.number(), microbatches: count }).optional(),
  /** Microbatches whose tokens it read, and a hash of them: the ledger of what was trained on. */
  batches: z.array(z.object({ microbatch: count, hash })).max(65536),
  timings: z.object({
    /** Whole step so far. */
    step: milliseconds,
    /** Computing. */
    busy: milliseconds,
    /** Waiting for peers. */
    waiting: milliseconds,
    allReduce: milliseconds,
  }),
  memory: z.object({ tensorBytes: count, peakTensorBytes: count }).optional(),
  /** Captured energy of the projections by block, 0 to 1. */
  energy: z.array(z.object({ block: count, matrix: z.string().max(32), energy: z.number() })).max(65536).optional(),
});

/** Something is wrong that the leader has to answer with another epoch. */
const troubleSchema = z.object({
  kind: z.literal("trouble"),
  epoch: count,
  trouble: z.enum(["link", "corruption", "transfer", "load", "failure"]),
  /** The member it is about. */
  peer: identity.optional(),
  detail: z.string().max(1024),
});

/** What it does at the moment; sent when a wait is long, so that a hang has a name. */
const progressSchema = z.object({
  kind: z.literal("progress"),
  epoch: count,
  step: count,
  activity: z.string().max(128),
  waitingFor: identity.optional(),
});

/** One stage's part of a checkpoint is on disk. */
const shardSchema = z.object({
  kind: z.literal("shard"),
  step: count,
  stage: count,
  file: z.string().max(256),
  sha256: hash,
  bytes: count,
  /** Stages' hosts were degraded when it was written. */
  degraded: z.boolean(),
});

const leavingSchema = z.object({ kind: z.literal("leaving"), reason: z.string().max(256) });

/** What workers tell the leader. */
export const workerReportSchema = z.discriminatedUnion("kind", [
  helloSchema, settledSchema, voteSchema, troubleSchema, progressSchema, shardSchema, leavingSchema,
]);

export type WorkerReport = z.infer<typeof workerReportSchema>;
export type Hello = z.infer<typeof helloSchema>;
export type Vote = z.infer<typeof voteSchema>;
export type Settled = z.infer<typeof settledSchema>;
export type Trouble = z.infer<typeof troubleSchema>;
export type Shard = z.infer<typeof shardSchema>;

/** What the leader, or a chaos tool through it, tells one worker. */
export const workerCommandSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("fault"),
    fault: z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("cut"), peer: identity.optional() }),
      z.object({ kind: z.literal("slow"), delayMilliseconds: milliseconds, durationMilliseconds: milliseconds }),
      z.object({ kind: z.literal("corrupt"), frames: count }),
    ]),
  }),
  /** Ends the process as if by kill -9; honoured only where faults are allowed. */
  z.object({ kind: z.literal("kill") }),
  /** Refused: the reason is final. */
  z.object({ kind: z.literal("refused"), reason: z.string().max(1024) }),
]);

export type WorkerCommand = z.infer<typeof workerCommandSchema>;
