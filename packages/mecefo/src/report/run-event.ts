import { z } from "zod";
import { epochCauses } from "../membership/cluster-state.ts";

const count = z.int().min(0);
const milliseconds = z.number().min(0);
const at = z.number();
const slot = z.string().max(16);

const schemas = [
  /** An epoch began: who is there from now on. Slots as "p0s1". */
  z.object({
    kind: z.literal("epoch"), at, epoch: count, step: count, cause: z.enum(epochCauses), reason: z.string(),
    live: z.array(slot), healthy: z.boolean(), mixerPipelines: z.array(z.array(count)), lostPipelines: z.array(count),
  }),
  /** A step was taken. */
  z.object({
    kind: z.literal("step"), at, epoch: count, step: count, loss: z.number().nullable(), gradientNorm: z.number().nullable(), tokens: count,
    milliseconds, skipped: z.boolean(),
    /** The ledger: each microbatch of the global batch with the hash of its tokens. */
    batches: z.array(z.object({ microbatch: count, hash: z.string() })),
    /** Hash of each stage's weights and moments before the step: equal in all replicas, or the step would not have been taken. */
    stateHashes: z.array(z.object({ stage: count, hash: z.string(), replicas: count })),
    /** Milliseconds that each worker computed, waited, and took over the all-reduce. */
    busy: z.array(z.object({ slot, busy: milliseconds, waiting: milliseconds, allReduce: milliseconds })),
    energy: z.array(z.object({ block: count, matrix: z.string(), energy: z.number() })).optional(),
  }),
  /** Training went on after an epoch's beginning: everybody has what it hosts. */
  z.object({
    kind: z.literal("recovery"), at, epoch: count, step: count, cause: z.enum(epochCauses), reason: z.string(),
    /** From the moment that the leader learnt of the cause until the last worker had settled. */
    milliseconds, bytes: count,
    transfers: z.array(z.object({ slot, stage: count, donor: slot, bytes: count, milliseconds })),
  }),
  /** A fault that was brought about on purpose. */
  z.object({ kind: z.literal("fault"), at, fault: z.string(), slot, detail: z.string() }),
  /** Something worth a line that changes nothing. */
  z.object({ kind: z.literal("note"), at, text: z.string() }),
  z.object({ kind: z.literal("checkpoint"), at, step: count, folder: z.string(), degraded: z.boolean() }),
  z.object({ kind: z.literal("finished"), at, step: count }),
  z.object({ kind: z.literal("failed"), at, step: count, reason: z.string() }),
] as const;

/** One line of a run's log (events.jsonl). */
export const runEventSchema = z.discriminatedUnion("kind", schemas);

/** What happened in a run, as its leader saw it. `at` is milliseconds since 1970. */
export type RunEvent = z.infer<typeof runEventSchema>;
