import { OutOfMemoryError } from "../../errors.ts";

/** Anything that commands fill: a tensor's memory, or the staging copy behind a read. */
export interface BatchOutput {
  /** Why the contents do not exist. */
  failure: Error | undefined;
}

/** What one command works on. */
export interface RecordedCommand {
  readonly arrays: readonly BatchOutput[];
  /**
   * One letter an array: r reads, w writes (and may read). A write from the host, which is a command by itself, is W when it fills the
   * whole array and P when only a part.
   */
  readonly access: string;
  /** The program, when it is one. */
  readonly pipeline?: { readonly failure: Error | undefined } | undefined;
}

/** One submitted batch. */
export interface BatchRecord {
  /** In order. */
  readonly commands: readonly RecordedCommand[];
  /** Settle once resources made for the batch, and refused, carry their `failure`. */
  readonly verdicts: readonly Promise<void>[];
  /** The first error the GPU reported for the commands; never rejects. */
  readonly error: Promise<Error | undefined>;
}

/** Errors kept for `takeUnreported`. */
const maximumUnreported = 16;

/**
 * Errors of a GPU arrive after the fact. A batch with an error is dropped whole, so nothing that its commands should have written exists,
 * nor does what later commands computed from that. This follows batches, and the commands in them, in order and marks exactly those arrays.
 */
export class FailureTracker {
  #settled: Promise<void> = Promise.resolve();
  #unreported: Error[] = [];

  /** Follows a batch; resolves once its outputs, and those of all earlier ones, are marked. */
  track(batch: BatchRecord): Promise<void> {
    this.#settled = this.#settled.then(async () => {
      await Promise.all(batch.verdicts);
      const error = await batch.error;
      judge(batch.commands, error, (failure) => this.note(failure));
    });
    return this.#settled;
  }

  /** Resolves when all batches so far are judged. */
  settled(): Promise<void> {
    return this.#settled;
  }

  /** Remembers an error until somebody is told. */
  note(error: Error): void {
    if (this.#unreported.length < maximumUnreported && !this.#unreported.includes(error)) this.#unreported.push(error);
  }

  /** Somebody was told. */
  forget(error: Error): void {
    this.#unreported = this.#unreported.filter((other) => other !== error);
  }

  /** The first error that nobody was told of; afterwards there is none. */
  takeUnreported(): Error | undefined {
    const [first] = this.#unreported;
    this.#unreported = [];
    return first;
  }
}

function judge(commands: readonly RecordedCommand[], error: Error | undefined, note: (error: Error) => void): void {
  // A refused resource fails each command that uses it, which says less than why it was refused.
  const cause = error === undefined ? undefined : (commands.map(ownFailure).find((failure) => failure !== undefined) ?? error);
  if (cause !== undefined) note(cause);
  for (const command of commands) {
    const { arrays, access } = command;
    if (access === "W" || access === "P") {
      // Not part of what the GPU drops, but of what it finds no memory for.
      if (error instanceof OutOfMemoryError) arrays[0]!.failure ??= cause;
      else if (access === "W") arrays[0]!.failure = undefined;
      continue;
    }
    const failure = ownFailure(command) ?? cause;
    if (failure === undefined) continue;
    for (const [i, array] of arrays.entries()) if (access[i] === "w") array.failure ??= failure;
  }
}

function ownFailure({ pipeline, arrays }: RecordedCommand): Error | undefined {
  if (pipeline?.failure !== undefined) return pipeline.failure;
  for (const { failure } of arrays) if (failure !== undefined) return failure;
  return undefined;
}
