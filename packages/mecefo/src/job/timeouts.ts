import { z } from "zod";

/** Names of the limits in time; `timeoutDefaults` says what each means. */
export type TimeoutName =
  | "heartbeatInterval"
  | "suspicionFloor"
  | "suspicionCeiling"
  | "suspicionDeviations"
  | "reconnectGrace"
  | "linkEstablishment"
  | "stepFactor"
  | "stepFloor"
  | "stepCeiling"
  | "transferStall"
  | "settling"
  | "forming"
  | "leaderLease";

/** The table of timeouts, all of them. */
export type Timeouts = { readonly [Name in TimeoutName]: number };

/**
 * The limits in time that can be set, in milliseconds, in one table; the README says which are fixed. Each is shorter than what depends on it:
 * heartbeat < suspicion < eviction < forming, link < step, stalled transfer < settling.
 */
export const timeoutDefaults: Timeouts = {
  /** Between two heartbeats of a worker, sent by its network thread. */
  heartbeatInterval: 100,
  /**
   * A worker is not suspected earlier than this after its last heartbeat. The limit is median + k·MAD of its intervals (spec: k·MAD, floor
   * 1 s).
   */
  suspicionFloor: 1000,
  /** A worker that was silent for this long is evicted, whatever its intervals were before. */
  suspicionCeiling: 5000,
  /** k above: how many median absolute deviations an interval may exceed the median by. */
  suspicionDeviations: 20,
  /** A closed control connection may be made again within this before its worker is evicted. */
  reconnectGrace: 300,
  /** Making a link to a peer, all attempts together. */
  linkEstablishment: 3000,
  /**
   * A step may take this much longer than the median of the last steps (factor, not milliseconds) before whoever everybody waits for is
   * evicted.
   */
  stepFactor: 10,
  /** … but no shorter than this. */
  stepFloor: 5000,
  /** … and no longer than this. */
  stepCeiling: 600_000,
  /** A fetch of a stage's state without a byte of progress. */
  transferStall: 10_000,
  /** Loading weights or a checkpoint at the beginning of an epoch, and fetching from peers, all together. */
  settling: 300_000,
  /** Waiting for the first complete grid. */
  forming: 120_000,
  /** NATS: a leader that has not renewed its lock for this long is replaced. */
  leaderLease: 2000,
};


/** Reads overrides. */
export const timeoutsSchema: z.ZodType<Partial<Timeouts>> = z.partialRecord(
  z.enum(Object.keys(timeoutDefaults) as [TimeoutName, ...TimeoutName[]]), z.number().positive().max(86_400_000),
).refine((given) => {
  const { heartbeatInterval, suspicionFloor, suspicionCeiling } = { ...timeoutDefaults, ...given };
  return heartbeatInterval < Math.min(suspicionFloor, suspicionCeiling);
}, { error: "heartbeatInterval has to be shorter than suspicionFloor and suspicionCeiling, or everybody is suspected at all times" });
