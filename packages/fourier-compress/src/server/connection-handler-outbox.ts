import type { Connection } from "../transport/connection.ts";

/** Frames on their way to one client. Pushing never waits; who reads from the client looks at how much is there, and stops reading. */
export class Outbox {
  readonly #connection: Pick<Connection, "send">;
  readonly #onFailure: (error: unknown) => void;
  readonly #onSent: (bytes: number) => void;
  #frames: Uint8Array[] = [];
  #bytes = 0;
  #isSending = false;
  #isEnded = false;
  #began = 0;
  #idle: (() => void)[] = [];

  constructor(connection: Pick<Connection, "send">, { onSent, onFailure }: {
    /** After each frame that was handed over. */
    readonly onSent: (bytes: number) => void;
    /** The connection takes no more; once. */
    readonly onFailure: (error: unknown) => void;
  }) {
    this.#connection = connection;
    this.#onSent = onSent;
    this.#onFailure = onFailure;
  }

  /** Bytes not handed over yet, those of the frame being sent included. */
  get bytes(): number {
    return this.#bytes;
  }

  get frames(): number {
    return this.#frames.length;
  }

  /** Milliseconds for which the connection has not taken the frame that it was given. */
  stalledFor(now: number): number {
    return this.#isSending ? now - this.#began : 0;
  }

  push(frame: Uint8Array): void {
    if (this.#isEnded) return;
    this.#frames.push(frame);
    this.#bytes += frame.length;
    if (!this.#isSending) void this.#send();
  }

  /** Resolves when all is sent, or nothing more will be. */
  async flushed(): Promise<void> {
    if (this.#isSending) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Forgets what was not sent. */
  end(): void {
    this.#isEnded = true;
    this.#frames = [];
    this.#bytes = 0;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    try {
      for (let frame = this.#frames[0]; frame !== undefined; frame = this.#frames[0]) {
        this.#began = performance.now();
        await this.#connection.send(frame);
        if (this.#isEnded) return;
        this.#frames.shift();
        this.#bytes -= frame.length;
        this.#onSent(frame.length);
      }
    } catch (error) {
      this.end();
      this.#onFailure(error);
    } finally {
      this.#isSending = false;
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }
}
