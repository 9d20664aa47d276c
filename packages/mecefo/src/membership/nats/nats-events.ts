import { setTimeout as sleep } from "node:timers/promises";
import { JetStreamApiError } from "@nats-io/jetstream";
import { runEventSchema, type RunEvent } from "../run-event.ts";
import type { NatsLink } from "./nats-link.ts";
import type { NatsStore } from "./nats-store.ts";

/** nats-server accepts 1 MiB by default. */
const LARGEST_EVENT = 1_000_000;
/** Events that wait for a cluster without a quorum; the oldest are dropped after that. */
const MOST_WAITING = 50_000;
const MESSAGE_NOT_FOUND = 10037;

/** Writes a leader's events into the job's stream, in order, each once, however often it has to try. */
export class NatsEventWriter {
  readonly #store: NatsStore;
  readonly #link: NatsLink;
  readonly #writer: string;
  readonly #waiting: { readonly id: string; readonly text: string }[] = [];
  #count = 0;
  #writing = false;
  #closed = false;

  constructor(store: NatsStore, link: NatsLink, writer: string) {
    this.#store = store;
    this.#link = link;
    this.#writer = writer;
  }

  write(event: RunEvent): void {
    let text = JSON.stringify(event);
    const bytes = Buffer.byteLength(text);
    if (bytes > LARGEST_EVENT) {
      text = JSON.stringify({ kind: "note", at: event.at, text: `a "${event.kind}" event of ${bytes} bytes is too large for NATS` });
    }
    this.#waiting.push({ id: `${this.#writer}.${this.#count++}`, text });
    if (this.#waiting.length > MOST_WAITING) this.#waiting.shift();
    if (!this.#writing) void this.#drain();
  }

  /** Resolves when all is written, or after `limit` milliseconds. */
  async close(limit = 2000): Promise<void> {
    const deadline = performance.now() + limit;
    while (this.#writing && performance.now() < deadline) await sleep(10);
    this.#closed = true;
  }

  async #drain(): Promise<void> {
    this.#writing = true;
    while (!this.#closed && !this.#link.connection.isClosed()) {
      const next = this.#waiting[0];
      if (next === undefined) break;
      try {
        // The id lets the stream drop what it already has, where only the answer was lost.
        await this.#store.client.publish(this.#store.names.event, next.text, { msgID: next.id, timeout: 1000 });
        if (this.#waiting[0] === next) this.#waiting.shift();
      } catch {
        await sleep(50);
      }
    }
    this.#writing = false;
  }
}

/** Reads a job's events from the stream, each in turn and once: those from now on. */
export class NatsEventReader {
  readonly #store: NatsStore;
  readonly #link: NatsLink;
  readonly #told: (event: RunEvent) => void;
  #next = 0;
  #wake: () => void = () => undefined;
  #closed = false;

  constructor(store: NatsStore, link: NatsLink, told: (event: RunEvent) => void) {
    this.#store = store;
    this.#link = link;
    this.#told = told;
  }

  /** Finds the end of the stream: resolves when every later event will be told. */
  async start(): Promise<void> {
    const { streams, names } = this.#store;
    this.#next = (await streams.streams.info(names.eventStream)).state.last_seq + 1;
    const subscription = this.#link.connection.subscribe(names.event, { callback: () => this.#wake() });
    void this.#follow().finally(() => subscription.unsubscribe());
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async #follow(): Promise<void> {
    while (!this.#closed && !this.#link.connection.isClosed()) {
      let more = false;
      try {
        more = await this.#readNext();
      } catch {
        await sleep(100); // no quorum at the moment
      }
      if (!more) await this.#rest(500);
    }
  }

  async #readNext(): Promise<boolean> {
    const { streams, names } = this.#store;
    try {
      const message = await streams.streams.getMessage(names.eventStream, { seq: this.#next });
      if (message !== null) {
        this.#next++;
        if (!this.#closed) this.#tell(message.data);
        return true;
      }
    } catch (error) {
      if (!(error instanceof JetStreamApiError) || error.code !== MESSAGE_NOT_FOUND) throw error;
    }
    // Not written yet, or dropped because there are too many.
    const { state } = await streams.streams.info(names.eventStream);
    if (state.first_seq <= this.#next || state.first_seq > state.last_seq) return false;
    this.#next = state.first_seq;
    return true;
  }

  #tell(data: Uint8Array): void {
    let value: unknown;
    try {
      value = JSON.parse(Buffer.from(data).toString("utf8"));
    } catch {
      value = undefined;
    }
    const parsed = runEventSchema.safeParse(value);
    this.#told(parsed.success ? parsed.data : { kind: "note", at: Date.now(), text: `event ${this.#next - 1} in NATS breaks its format` });
  }

  async #rest(limit: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limit);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
  }
}
