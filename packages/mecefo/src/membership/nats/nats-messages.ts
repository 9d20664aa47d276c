import type { Msg } from "@nats-io/transport-node";
import { z } from "zod";
import { clusterStateSchema, type ClusterState } from "../cluster-state.ts";
import { workerCommandSchema, workerReportSchema, type WorkerCommand, type WorkerReport } from "../worker-report.ts";
import type { LeaderBeat } from "./nats-election.ts";

const identity = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const count = z.int().min(0);

/** A worker's report as it goes through NATS. */
export const natsReportSchema: z.ZodType<{ from: string; report: WorkerReport }> = z.object({ from: identity, report: workerReportSchema });

/** A state that was written, with its revision. */
export const natsStateSchema: z.ZodType<{ revision: number; state: ClusterState }> = z.object({
  revision: count, state: clusterStateSchema,
});

/** A leader's sign of life. */
export const natsBeatSchema: z.ZodType<LeaderBeat> = z.object({ id: identity, term: count, revision: count, resigned: z.boolean() });

/** A command. */
export const natsCommandSchema: z.ZodType<WorkerCommand> = workerCommandSchema;

/** A worker's process that has ended. */
export const natsExitSchema: z.ZodType<{ id: string; how: string }> = z.object({ id: identity, how: z.string().max(256) });

/** A member id. */
export const natsIdentitySchema: z.ZodType<string> = identity;

/** Reads a message; undefined: it breaks its format. */
export function readNatsMessage<Value>(message: Msg, schema: z.ZodType<Value>): Value | undefined {
  try {
    return schema.parse(message.json());
  } catch (error) {
    if (error instanceof z.ZodError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
