import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { jobSchema, type Job } from "../../job/job.ts";
import { runEventSchema, type RunEvent } from "../run-event.ts";
import { clusterStateSchema, type ClusterState } from "../cluster-state.ts";
import { workerCommandSchema, workerReportSchema, type WorkerCommand, type WorkerReport } from "../worker-report.ts";

/** Raised when messages change: others are refused. */
export const controlProtocolVersion = 1;

/** What a connection is for: a worker's reports, or looking on. */
export type ControlRole = "worker" | "observer";

/** Proof that the client knows the token; it asks for the same of the coordinator. */
export interface ControlAnswer {
  readonly kind: "answer";
  readonly version: number;
  readonly role: ControlRole;
  /** A worker's member id. */
  readonly id?: string | undefined;
  readonly nonce: string;
  readonly proof: string;
}

/** What a client sends. */
export type ClientMessage =
  | ControlAnswer
  /** Asks for the job. */
  | { readonly kind: "job" }
  /** A worker takes part from now on; `seen` is the last state it saw over an earlier connection, `jobHash` the ticket it has. */
  | { readonly kind: "join"; readonly seen?: ClusterState | undefined; readonly jobHash?: string | undefined }
  | { readonly kind: "report"; readonly report: WorkerReport }
  | { readonly kind: "heartbeat" }
  /** An observer's command to a worker; `request` comes back with the answer. */
  | { readonly kind: "command"; readonly request: number; readonly to: string; readonly command: WorkerCommand }
  /** An observer asks for the run's end, in order. */
  | { readonly kind: "stop"; readonly request: number };

/** What a coordinator sends. */
export type CoordinatorMessage =
  | { readonly kind: "challenge"; readonly version: number; readonly nonce: string }
  | { readonly kind: "welcome"; readonly proof: string }
  | { readonly kind: "refuse"; readonly reason: string }
  | { readonly kind: "job"; readonly job: Job }
  | { readonly kind: "state"; readonly state: ClusterState }
  | { readonly kind: "command"; readonly command: WorkerCommand }
  | { readonly kind: "event"; readonly event: RunEvent }
  | { readonly kind: "commanded"; readonly request: number; readonly delivered: boolean }
  /** Nothing, so that a client can tell a quiet coordinator from one that cannot be reached. */
  | { readonly kind: "heartbeat" };

const count = z.int().min(0);
const identity = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);
const hexadecimal = z.string().regex(/^[0-9a-f]{64}$/);

/** Reads what a client sent. */
export const clientMessageSchema: z.ZodType<ClientMessage> = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("answer"), version: count, role: z.enum(["worker", "observer"]), id: identity.optional(), nonce: hexadecimal,
    proof: hexadecimal,
  }),
  z.object({ kind: z.literal("job") }),
  z.object({ kind: z.literal("join"), seen: clusterStateSchema.optional(), jobHash: z.string().max(64).optional() }),
  z.object({ kind: z.literal("report"), report: workerReportSchema }),
  z.object({ kind: z.literal("heartbeat") }),
  z.object({ kind: z.literal("command"), request: count, to: identity, command: workerCommandSchema }),
  z.object({ kind: z.literal("stop"), request: count }),
]);

/** Reads what a coordinator sent. */
export const coordinatorMessageSchema: z.ZodType<CoordinatorMessage> = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("challenge"), version: count, nonce: hexadecimal }),
  z.object({ kind: z.literal("welcome"), proof: hexadecimal }),
  z.object({ kind: z.literal("refuse"), reason: z.string().max(1024) }),
  z.object({ kind: z.literal("job"), job: jobSchema }),
  z.object({ kind: z.literal("state"), state: clusterStateSchema }),
  z.object({ kind: z.literal("command"), command: workerCommandSchema }),
  z.object({ kind: z.literal("event"), event: runEventSchema }),
  z.object({ kind: z.literal("commanded"), request: count, delivered: z.boolean() }),
  z.object({ kind: z.literal("heartbeat") }),
]);

/** 256 random bits, never used again. */
export function makeNonce(): string {
  return randomBytes(32).toString("hex");
}

/** What both sides mix into their proofs: whoever repeats an old one has other nonces. */
export interface HandshakeFacts {
  readonly coordinatorNonce: string;
  readonly clientNonce: string;
  readonly role: ControlRole;
  readonly id?: string | undefined;
}

/** HMAC-SHA-256 of the handshake under the token, from one side's view: one side's proof cannot be played back as the other's. */
export function proveToken(token: string, side: "client" | "coordinator", facts: HandshakeFacts): string {
  const { coordinatorNonce, clientNonce, role, id = "" } = facts;
  const text = ["mecefo", controlProtocolVersion, side, coordinatorNonce, clientNonce, role, id].join("\n");
  return createHmac("sha256", token).update(text).digest("hex");
}

/** Compares proofs in a time that tells nothing. */
export function isSameProof(a: string, b: string): boolean {
  const first = Buffer.from(a);
  const second = Buffer.from(b);
  return first.length === second.length && timingSafeEqual(first, second);
}
