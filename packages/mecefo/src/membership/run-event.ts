import { z } from "zod";
import { epochCauses, type EpochCause } from "./cluster-state.ts";
import type { CapturedEnergy } from "../approximation/projection-store.ts";

/** An epoch began: who is there from now on. Slots as "p0s1". */
export interface EpochEvent {
  readonly kind: "epoch";
  readonly at: number;
  readonly epoch: number;
  readonly step: number;
  readonly cause: EpochCause;
  readonly reason: string;
  readonly live: readonly string[];
  /** Process ids of the live workers, in the order of `live`. */
  readonly pids: readonly number[];
  readonly healthy: boolean;
  /** N(l), by stage. */
  readonly mixerPipelines: readonly (readonly number[])[];
  /** Pipelines that do no passes. */
  readonly lostPipelines: readonly number[];
}

/** A step was taken. */
export interface StepEvent {
  readonly kind: "step";
  readonly at: number;
  readonly epoch: number;
  readonly step: number;
  readonly loss: number | null;
  readonly gradientNorm: number | null;
  readonly tokens: number;
  /** Since the step before, or the beginning of the epoch's training. */
  readonly milliseconds: number;
  /** The gradient was not finite: no update. */
  readonly skipped: boolean;
  /** The ledger: each microbatch of the global batch, with the hash of its tokens. */
  readonly batches: readonly { readonly microbatch: number; readonly hash: string }[];
  /** Hash of each stage's weights and moments before the step: equal in all replicas, or the step would not have been taken. */
  readonly stateHashes: readonly { readonly stage: number; readonly hash: string; readonly replicas: number }[];
  /** Milliseconds that each worker computed, waited, and took over the all-reduce. */
  readonly busy: readonly { readonly slot: string; readonly busy: number; readonly waiting: number; readonly allReduce: number }[];
  readonly energy?: readonly CapturedEnergy[] | undefined;
}

/** Training went on after an epoch's beginning: everybody has what it hosts. */
export interface RecoveryEvent {
  readonly kind: "recovery";
  readonly at: number;
  readonly epoch: number;
  readonly step: number;
  readonly cause: EpochCause;
  readonly reason: string;
  /** From the moment that the leader learnt of the cause until the last worker had settled. */
  readonly milliseconds: number;
  readonly bytes: number;
  readonly transfers: readonly {
    readonly slot: string; readonly stage: number; readonly donor: string; readonly bytes: number; readonly milliseconds: number;
  }[];
}

/** What happened in a run, as its leader saw it; one line of events.jsonl. `at` is milliseconds since 1970. */
export type RunEvent =
  | EpochEvent
  | StepEvent
  | RecoveryEvent
  /** A fault that was brought about on purpose. */
  | { readonly kind: "fault"; readonly at: number; readonly fault: string; readonly slot: string; readonly detail: string }
  /** Something worth a line that changes nothing. */
  | { readonly kind: "note"; readonly at: number; readonly text: string }
  | { readonly kind: "checkpoint"; readonly at: number; readonly step: number; readonly folder: string; readonly degraded: boolean }
  | { readonly kind: "finished"; readonly at: number; readonly step: number }
  | { readonly kind: "failed"; readonly at: number; readonly step: number; readonly reason: string };

const count = z.int().min(0);
const milliseconds = z.number().min(0);
const at = z.number();
const slot = z.string().max(16);
const cause = z.enum(epochCauses as [EpochCause, ...EpochCause[]]);

/** Reads a line of a run's log. */
export const runEventSchema: z.ZodType<RunEvent> = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("epoch"), at, epoch: count, step: count, cause, reason: z.string(), live: z.array(slot), pids: z.array(count),
    healthy: z.boolean(), mixerPipelines: z.array(z.array(count)), lostPipelines: z.array(count),
  }),
  z.object({
    kind: z.literal("step"), at, epoch: count, step: count, loss: z.number().nullable(), gradientNorm: z.number().nullable(), tokens: count,
    milliseconds, skipped: z.boolean(),
    batches: z.array(z.object({ microbatch: count, hash: z.string() })),
    stateHashes: z.array(z.object({ stage: count, hash: z.string(), replicas: count })),
    busy: z.array(z.object({ slot, busy: milliseconds, waiting: milliseconds, allReduce: milliseconds })),
    energy: z.array(z.object({ block: count, matrix: z.string(), energy: z.number() })).optional(),
  }),
  z.object({
    kind: z.literal("recovery"), at, epoch: count, step: count, cause, reason: z.string(), milliseconds, bytes: count,
    transfers: z.array(z.object({ slot, stage: count, donor: slot, bytes: count, milliseconds })),
  }),
  z.object({ kind: z.literal("fault"), at, fault: z.string(), slot, detail: z.string() }),
  z.object({ kind: z.literal("note"), at, text: z.string() }),
  z.object({ kind: z.literal("checkpoint"), at, step: count, folder: z.string(), degraded: z.boolean() }),
  z.object({ kind: z.literal("finished"), at, step: count }),
  z.object({ kind: z.literal("failed"), at, step: count, reason: z.string() }),
]);
