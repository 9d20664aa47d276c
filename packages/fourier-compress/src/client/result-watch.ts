import { pause } from "./reconnection.ts";

/** What a watch asks and tells. */
interface Watched {
  /** When the oldest frame without result was sent, by `performance.now()`; Infinity without one. */
  oldest(): number;
  overdue(reason: string): void;
}

/** Tells when a result is overdue: the network may have gone without a word. Runs between `begin` and `end`. */
export class ResultWatch {
  readonly #timeout: number;
  readonly #watched: Watched;
  #running: AbortController | undefined;

  /** @param timeout milliseconds */
  constructor(timeout: number, watched: Watched) {
    this.#timeout = timeout;
    this.#watched = watched;
  }

  begin(): void {
    if (this.#running === undefined) void this.#run((this.#running = new AbortController()));
  }

  end(): void {
    this.#running?.abort();
    this.#running = undefined;
  }

  async #run({ signal }: AbortController): Promise<void> {
    for (;;) {
      // From now on where nothing has been sent yet, on this connection.
      const since = Math.min(this.#watched.oldest(), performance.now());
      await pause(Math.max(1, since + this.#timeout - performance.now()), signal);
      if (signal.aborted) return;
      if (performance.now() - this.#watched.oldest() >= this.#timeout) {
        this.#watched.overdue(`no result within ${this.#timeout / 1000} seconds`);
      }
    }
  }
}
