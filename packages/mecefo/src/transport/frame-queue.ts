import { EpochEndedError } from "../errors.ts";
import type { FaultInjector } from "./fault-injector.ts";
import { encodeMessageHeader } from "./frame.ts";
import type { MessageTag } from "./transport.ts";

/** Where a link's frames are written to. `written` is called once, when neither array is referred to any more. */
export interface FrameSink {
  write(header: Uint8Array, payload: Uint8Array, written: (error?: Error | null) => void): void;
}

interface OutgoingFrame {
  readonly tag: MessageTag;
  readonly payload: Uint8Array;
  readonly notBefore: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** So many bytes are handed to the sink at once; what waits here can still be withdrawn when its epoch ends. */
const LARGEST_WINDOW = 8 * 1024 * 1024;

/** The frames that wait to be sent to one peer, in order. */
export class FrameQueue {
  readonly #faults: FaultInjector;
  readonly #onWritten: (bytes: number) => void;
  readonly #waiting: OutgoingFrame[] = [];
  readonly #writing = new Set<OutgoingFrame>();
  #writingBytes = 0;
  #sink: FrameSink | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastEpoch = -1;

  constructor(faults: FaultInjector, onWritten: (bytes: number) => void) {
    this.#faults = faults;
    this.#onWritten = onWritten;
  }

  /** The newest epoch that a frame was written for; -1 before any. */
  get lastEpoch(): number {
    return this.#lastEpoch;
  }

  /** Adds a frame. Resolves when it was written. */
  push(tag: MessageTag, payload: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ tag, payload, notBefore: this.#faults.notBefore(), resolve, reject });
      this.#pump();
    });
  }

  /** Frames are written to this sink from now on. */
  attach(sink: FrameSink): void {
    this.#sink = sink;
    this.#pump();
  }

  /** Withdraws the frames of epochs before this one that were not begun yet. */
  dropBefore(epoch: number): void {
    const kept = this.#waiting.filter(({ tag, reject }) => {
      if (tag.epoch < epoch) reject(new EpochEndedError(tag.epoch));
      return tag.epoch >= epoch;
    });
    this.#waiting.splice(0, Infinity, ...kept);
  }

  /** The link is gone: whatever was not written fails. Another sink may be attached later. */
  fail(error: Error): void {
    this.#sink = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const { reject } of [...this.#writing, ...this.#waiting.splice(0)]) reject(error);
    this.#writing.clear();
    this.#writingBytes = 0;
  }

  #pump(): void {
    while (this.#sink !== undefined && this.#waiting.length > 0 && this.#timer === undefined) {
      const frame = this.#waiting[0]!;
      if (this.#writing.size > 0 && this.#writingBytes + frame.payload.byteLength > LARGEST_WINDOW) return;
      const wait = frame.notBefore - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => {
          this.#timer = undefined;
          this.#pump();
        }, Math.ceil(wait));
        return;
      }
      this.#waiting.shift();
      this.#write(this.#sink, frame);
    }
  }

  #write(sink: FrameSink, frame: OutgoingFrame): void {
    this.#writing.add(frame);
    this.#writingBytes += frame.payload.byteLength;
    this.#lastEpoch = frame.tag.epoch;
    const [header, payload] = this.#faults.mangle(encodeMessageHeader(frame.tag, frame.payload), frame.payload);
    sink.write(header, payload, (error) => {
      // After `fail` everything was rejected; the window then counts another sink's frames.
      if (!this.#writing.delete(frame)) return;
      this.#writingBytes -= frame.payload.byteLength;
      if (error) {
        frame.reject(error);
        return;
      }
      this.#onWritten(header.byteLength + payload.byteLength);
      frame.resolve();
      this.#pump();
    });
  }
}
