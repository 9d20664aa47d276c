import { FourierCompressError } from "../errors.ts";

interface Receiver {
  readonly resolve: (frame: Uint8Array | undefined) => void;
  readonly reject: (error: Error) => void;
}

/** Frames that have arrived before they were asked for, the one receiver that waits for the next, and how it all ended. */
export class FrameQueue {
  readonly #onTaken: (() => void) | undefined;
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #receiver: Receiver | undefined;
  #end: { readonly error: Error | undefined } | undefined;

  /** @param onTaken told whenever a frame that waited was taken */
  constructor(onTaken?: () => void) {
    this.#onTaken = onTaken;
  }

  /** Bytes of the frames that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** True from `end` or `discard` on, although frames may still wait. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  /** A frame that arrived; ignored after the end. */
  push(frame: Uint8Array): void {
    if (this.#end !== undefined) return;
    const receiver = this.#receiver;
    if (receiver !== undefined) {
      this.#receiver = undefined;
      receiver.resolve(frame);
      return;
    }
    this.#frames.push(frame);
    this.#bytes += frame.length;
  }

  /** Nothing more will arrive. Frames that wait are still handed out, then the error, or undefined without one. The first call counts. */
  end(error?: Error): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    const receiver = this.#receiver;
    this.#receiver = undefined;
    if (receiver === undefined) return;
    if (error === undefined) receiver.resolve(undefined);
    else receiver.reject(error);
  }

  /** Ends without an error, and forgets the frames that wait. */
  discard(): void {
    this.#frames = [];
    this.#bytes = 0;
    if (this.#end !== undefined) this.#end = { error: undefined };
    this.end();
  }

  /** See `Connection.receive`. */
  async receive(): Promise<Uint8Array | undefined> {
    const frame = this.#frames.shift();
    if (frame !== undefined) {
      this.#bytes -= frame.length;
      this.#onTaken?.();
      return frame;
    }
    if (this.#end !== undefined) {
      if (this.#end.error !== undefined) throw this.#end.error;
      return undefined;
    }
    if (this.#receiver !== undefined) throw new FourierCompressError("receive was called again before the frame before it had come");
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject };
    });
  }
}
