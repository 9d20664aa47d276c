/** Every error this package throws on purpose, so that callers can tell them apart by `instanceof`. */

/** Base of this package's errors. */
export class FourierCompressError extends Error {
  override readonly name: string = "FourierCompressError";
}

/** A setting outside its range: of a codec, a mode, a client, a server, a simulation. */
export class SettingsError extends FourierCompressError {
  override readonly name = "SettingsError";
}

/**
 * Bytes that are no message of the codec that should read them: truncated, inconsistent or hostile. Nothing large was allocated for
 * them.
 */
export class CodecMessageError extends FourierCompressError {
  override readonly name = "CodecMessageError";
  /** Name of the codec. */
  readonly codec: string;

  constructor(codec: string, detail: string, options?: ErrorOptions) {
    super(`${codec} codec: ${detail}`, options);
    this.codec = codec;
  }
}

/** A target that a codec cannot reach: fewer bytes than its message takes at the least, or an error below its arithmetic's. */
export class CodecTargetError extends FourierCompressError {
  override readonly name = "CodecTargetError";
}

/** A codec table that breaks its format, does not match its hash, or belongs to another model or block. */
export class CodecTableError extends FourierCompressError {
  override readonly name = "CodecTableError";
}

/** Bytes on a connection that are no frame: bad magic, version, length or checksum. The connection is closed after it. */
export class FrameError extends FourierCompressError {
  override readonly name = "FrameError";
}

/** What a server answers when it refuses: `code` says why, for programs. */
export class RemoteError extends FourierCompressError {
  override readonly name = "RemoteError";
  /** One of the codes of `ErrorMessage`. */
  readonly code: string;

  constructor(code: string, detail: string) {
    super(`the server refused (${code}): ${detail}`);
    this.code = code;
  }
}

/** A connection that ended, or could not be made, and was not to be resumed any more. */
export class ConnectionError extends FourierCompressError {
  override readonly name = "ConnectionError";
}

/**
 * A session that the server does not hold any more (it expired, or the server began anew), and that cannot be rebuilt because its messages
 * were not all kept; or one that another client takes up again and again.
 */
export class SessionLostError extends FourierCompressError {
  override readonly name = "SessionLostError";
}

/** A journal of a generation that breaks its format, or belongs to another model, split, codec or table. */
export class SessionJournalError extends FourierCompressError {
  override readonly name = "SessionJournalError";
}

/** Input files of the evaluation that break their format: activation folders, question sets, token files. */
export class EvaluationDataError extends FourierCompressError {
  override readonly name = "EvaluationDataError";
}
