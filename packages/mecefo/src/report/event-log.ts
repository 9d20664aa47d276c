import { createReadStream } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { FormatError } from "../errors.ts";
import { runEventSchema, type RunEvent } from "../membership/run-event.ts";

/** An event is on its way to the disk this many milliseconds after it was written, at the latest. */
const FLUSH_INTERVAL = 200;
/** Bytes that are kept back until then. */
const FLUSH_BYTES = 1 << 18;
/** A step event of 65,536 microbatches with their hashes stays under it. */
const MAXIMUM_LINE_BYTES = 1 << 24;
const MAXIMUM_LOG_BYTES = 1 << 30;
/** A write that failed (a full disk) is tried again after so many milliseconds. */
const RETRY_INTERVAL = 1000;
/** Characters that are kept meanwhile; beyond them the run cannot be told of any more. */
const LARGEST_BACKLOG = 1 << 26;
const NEWLINE = 0x0a;

/** What `JSON.parse` and the schema say of a line. */
function parseLine(line: Buffer): { readonly event: RunEvent } | { readonly problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(line.toString("utf8"));
  } catch (error) {
    return { problem: (error as Error).message };
  }
  const parsed = runEventSchema.safeParse(value);
  if (parsed.success) return { event: parsed.data };
  return { problem: parsed.error.issues.slice(0, 3).map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ") };
}

/**
 * Writes a run's log, events.jsonl: one event a line, only ever at the end. A process that is killed leaves at most its last line broken,
 * which the next `open` of the file mends. What cannot be written, as on a full disk, is kept and tried again: a run does not end for it.
 */
export class EventLog {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #onFailure: ((failure: Error) => void) | undefined;
  /** Bytes of whole lines in the file: what a failed write left behind them is taken away. */
  #size: number;
  #lines: string[] = [];
  #bytes = 0;
  /** Lines whose write failed. */
  #unwritten = "";
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #isClosed = false;

  private constructor(path: string, file: FileHandle, size: number, onFailure: ((failure: Error) => void) | undefined) {
    this.path = path;
    this.#file = file;
    this.#size = size;
    this.#onFailure = onFailure;
  }

  /**
   * Opens a log, or begins one. A last line that a kill cut off is taken away, so that what is added begins a line of its own.
   * @param onFailure called when a write fails that did not before
   */
  static async open(path: string, onFailure?: (failure: Error) => void): Promise<EventLog> {
    const file = await open(path, "a+");
    try {
      await mendLastLine(path, file);
      const { size } = await file.stat();
      return new EventLog(path, file, size, onFailure);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * Adds an event; it is on disk after `flush`, `close`, or 200 ms, anything but steps at once.
   * @throws FormatError when the event could not be read back, or when too much has waited for a disk that takes nothing
   */
  write(event: RunEvent): void {
    if (this.#isClosed) throw new FormatError(this.path, `the log is closed, and a "${event.kind}" event came after`);
    if (this.#unwritten.length + this.#bytes > LARGEST_BACKLOG) throw this.#failed();
    const line = JSON.stringify(event);
    const read = parseLine(Buffer.from(line));
    if ("problem" in read) throw new FormatError(this.path, `a "${event.kind}" event could not be read back: ${read.problem}`);
    this.#lines.push(line);
    this.#bytes += line.length;
    // Steps come many a second; what is rarer ought to outlive a kill, a checkpoint's line above all.
    if (this.#failure === undefined && (event.kind !== "step" || this.#bytes >= FLUSH_BYTES)) this.#start();
    else this.#timer ??= setTimeout(() => this.#start(), this.#failure === undefined ? FLUSH_INTERVAL : RETRY_INTERVAL);
  }

  /**
   * Resolves when everything written so far is with the operating system: it outlives this process then. @throws FormatError if it is not
   */
  async flush(): Promise<void> {
    this.#start();
    await this.#writing;
    if (this.#failure !== undefined) throw this.#failed();
  }

  #failed(): FormatError {
    return new FormatError(this.path, `its last events could not be written: ${this.#failure?.message}`, { cause: this.#failure });
  }

  /** Flushes and closes. A second call does nothing. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.flush();
    } finally {
      clearTimeout(this.#timer);
      await this.#file.close();
    }
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lines.length === 0 && this.#unwritten === "") return;
    const text = this.#lines.map((line) => `${line}\n`).join("");
    this.#lines = [];
    this.#bytes = 0;
    // One after another: lines keep their order, and never mix.
    this.#writing = this.#writing.then(async () => {
      this.#unwritten += text;
      try {
        await this.#file.appendFile(this.#unwritten);
        this.#size += Buffer.byteLength(this.#unwritten);
        this.#unwritten = "";
        this.#failure = undefined;
      } catch (error) {
        await this.#file.truncate(this.#size).catch(() => undefined); // the next open mends what is left
        this.#fail(error as Error);
      }
    });
  }

  #fail(failure: Error): void {
    const isNew = this.#failure === undefined;
    this.#failure = failure;
    if (this.#isClosed) return;
    this.#timer ??= setTimeout(() => this.#start(), RETRY_INTERVAL);
    if (isNew) this.#onFailure?.(failure);
  }
}

/** Ends the last line of a log that a killed process left open: with a newline when it is whole, otherwise by taking it away. */
async function mendLastLine(path: string, file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  let tail = Buffer.alloc(0);
  let from = size;
  while (from > 0 && !tail.includes(NEWLINE)) {
    if (tail.length > MAXIMUM_LINE_BYTES) throw new FormatError(path, `its last line is longer than ${MAXIMUM_LINE_BYTES} bytes`);
    const chunk = Buffer.alloc(Math.min(from, 1 << 16));
    from -= chunk.length;
    await file.read(chunk, 0, chunk.length, from);
    tail = Buffer.concat([chunk, tail]);
  }
  const last = tail.subarray(tail.lastIndexOf(NEWLINE) + 1);
  if (last.length === 0) return;
  if ("event" in parseLine(last)) await file.appendFile("\n");
  else await file.truncate(size - last.length);
}

/** A last line that a kill cut off. */
export interface BrokenLastLine {
  /** From 1. */
  readonly line: number;
  readonly bytes: number;
}

/** Bounds of a log that is read. */
export interface ReadEventsOptions {
  /** Default: 16 MiB. */
  readonly maximumLineBytes?: number;
  /** Of the whole log. Default: 1 GiB. */
  readonly maximumBytes?: number;
}

/**
 * Reads a run's log event by event, with one line in memory; returns the last line when it was cut off.
 * @throws FormatError naming the line that is no event, or longer than it may be
 */
export async function* streamEvents(
  path: string, { maximumLineBytes = MAXIMUM_LINE_BYTES, maximumBytes = MAXIMUM_LOG_BYTES }: ReadEventsOptions = {},
): AsyncGenerator<RunEvent, BrokenLastLine | undefined> {
  let pieces: Buffer[] = [];
  let pending = 0;
  let line = 1;
  let total = 0;
  const take = (piece: Buffer): void => {
    pending += piece.length;
    if (pending > maximumLineBytes) throw new FormatError(path, `line ${line} is longer than ${maximumLineBytes} bytes`);
    if (piece.length > 0) pieces.push(piece);
  };
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    total += chunk.length;
    if (total > maximumBytes) throw new FormatError(path, `more than ${maximumBytes} bytes; raise maximumBytes to read it all the same`);
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      take(chunk.subarray(start, end));
      const read = parseLine(Buffer.concat(pieces));
      if ("problem" in read) throw new FormatError(path, `line ${line} is no event: ${read.problem}`);
      yield read.event;
      pieces = [];
      pending = 0;
      line++;
      start = end + 1;
    }
    take(chunk.subarray(start));
  }
  if (pending === 0) return undefined;
  // Only what has no newline can have been cut off; it may be whole up to the newline.
  const read = parseLine(Buffer.concat(pieces));
  if ("problem" in read) return { line, bytes: pending };
  yield read.event;
  return undefined;
}

/** A log, read whole. */
export interface EventLogContents {
  readonly events: readonly RunEvent[];
  readonly brokenLastLine?: BrokenLastLine;
}

/** Reads a run's log whole. @throws FormatError as `streamEvents` does */
export async function readEvents(path: string, options: ReadEventsOptions = {}): Promise<EventLogContents> {
  const events: RunEvent[] = [];
  const stream = streamEvents(path, options);
  for (;;) {
    const next = await stream.next();
    if (next.done === true) return next.value === undefined ? { events } : { events, brokenLastLine: next.value };
    events.push(next.value);
  }
}
