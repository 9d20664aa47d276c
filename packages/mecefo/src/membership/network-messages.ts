import { LinkError, MembershipError, type MecefoError } from "../errors.ts";
import { fromErrorRecord, toErrorRecord, type ErrorRecord } from "../transport/thread-messages.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { WorkerCommand, WorkerReport } from "./worker-report.ts";

/** What the main thread tells the membership in the network thread. */
export type MembershipRequest =
  | { readonly kind: "report"; readonly report: WorkerReport }
  | { readonly kind: "close" };

/** What the membership in the network thread tells the main thread. */
export type MembershipNotice =
  | { readonly kind: "ready" }
  | { readonly kind: "unusable"; readonly error: ErrorRecord }
  | { readonly kind: "state"; readonly state: ClusterState }
  | { readonly kind: "command"; readonly command: WorkerCommand }
  | { readonly kind: "closed" };

/** Takes an error of a control plane apart for the main thread. */
export function toMembershipErrorRecord(error: unknown): ErrorRecord {
  return toErrorRecord(error);
}

/** The typed error that the network thread took apart. */
export function fromMembershipErrorRecord(record: ErrorRecord): MecefoError {
  if (record.name === "MembershipError") return new MembershipError(record.message);
  if (record.name === "LinkError" && record.peer !== undefined) return new LinkError(record.peer, record.message);
  return fromErrorRecord(record);
}
