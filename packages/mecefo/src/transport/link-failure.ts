/**
 * Why a link failed. What `Transport.onLinkFailure` says begins with it, followed by ": " and the cause in words.
 *
 * - `closed`: the connection was closed or reset, mostly because the peer's process ended
 * - `left`: the peer said goodbye
 * - `corruption`: bytes came that are no valid frame, a checksum mismatch for one
 * - `unreachable`: no connection could be made in time
 * - `refused`: the peer, or this worker, would not have the other: a stranger, another token, another version, a member of the past
 * - `overflow`: more came than anybody claimed
 */
export type LinkFailureKind = "closed" | "left" | "corruption" | "unreachable" | "refused" | "overflow";

const kinds: ReadonlySet<string> = new Set<LinkFailureKind>(["closed", "left", "corruption", "unreachable", "refused", "overflow"]);

/** The cause as a link failure is told: "corruption: checksum mismatch in …". */
export function linkFailureCause(kind: LinkFailureKind, detail: string): string {
  return `${kind}: ${detail}`;
}

/** What kind of failure a cause tells of. */
export function linkFailureKind(cause: string): LinkFailureKind {
  const kind = /^([a-z]+): /.exec(cause)?.[1];
  return kind !== undefined && kinds.has(kind) ? (kind as LinkFailureKind) : "closed";
}
