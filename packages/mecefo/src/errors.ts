/** Every error this package throws on purpose, so that callers can tell them apart by `instanceof`. */

/** Base of this package's errors. */
export class MecefoError extends Error {
  override readonly name: string = "MecefoError";
}

/** A setting outside its range: of a job, a grid, a strategy, a simulation. */
export class SettingsError extends MecefoError {
  override readonly name = "SettingsError";
}

/** A job, data folder or message that breaks its format; `source` is the file or sender. */
export class FormatError extends MecefoError {
  override readonly name = "FormatError";
  readonly source: string;

  constructor(source: string, detail: string, options?: ErrorOptions) {
    super(`${source}: ${detail}`, options);
    this.source = source;
  }
}

/** Bytes on a connection that are no frame: bad magic, version, length or checksum. The connection is closed after it. */
export class FrameError extends MecefoError {
  override readonly name = "FrameError";
}

/** A connection to a peer that broke, could not be made, or refused us. */
export class LinkError extends MecefoError {
  override readonly name = "LinkError";
  /** Identity of the peer. */
  readonly peer: string;

  constructor(peer: string, detail: string, options?: ErrorOptions) {
    super(`link to ${peer}: ${detail}`, options);
    this.peer = peer;
  }
}

/** What a worker waited for belongs to an epoch that is over: the step is begun again under the new one. */
export class EpochEndedError extends MecefoError {
  override readonly name = "EpochEndedError";
  readonly epoch: number;

  constructor(epoch: number) {
    super(`epoch ${epoch} is over`);
    this.epoch = epoch;
  }
}

/** The coordinator or registry refused: a job of another name or settings, a full grid, a second coordinator. */
export class MembershipError extends MecefoError {
  override readonly name = "MembershipError";
}

/** This worker is no member any more: others took it for dead. What it holds is stale; it joins again as a new member. */
export class EvictedError extends MecefoError {
  override readonly name = "EvictedError";
}

/** State of a stage that did not arrive as it was sent: another step, another length, another checksum. */
export class StateTransferError extends MecefoError {
  override readonly name = "StateTransferError";
  /** Identity of the donor to blame, where it is known. */
  readonly peer: string | undefined;

  constructor(message: string, { peer, ...options }: ErrorOptions & { readonly peer?: string } = {}) {
    super(message, options);
    this.peer = peer;
  }
}

/** A checkpoint that is missing, damaged, of another version, or of another job. */
export class CheckpointError extends MecefoError {
  override readonly name = "CheckpointError";
}

/** No live worker holds some stage, and there is no checkpoint to go back to. */
export class StageLostError extends MecefoError {
  override readonly name = "StageLostError";
  readonly stages: readonly number[];

  constructor(stages: readonly number[], detail: string) {
    super(`stage ${stages.join(", ")} was lost in every pipeline: ${detail}`);
    this.stages = stages;
  }
}

/** Replicas of a stage that ought to be equal are not, and no majority says which is right. */
export class DivergenceError extends MecefoError {
  override readonly name = "DivergenceError";
}
