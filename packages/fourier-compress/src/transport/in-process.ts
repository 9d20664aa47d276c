import { ConnectionError } from "../errors.ts";
import type { SplitServer } from "../server/split-server-options.ts";
import type { Connection, Transport } from "./connection.ts";
import { FrameQueue } from "./frame-queue.ts";

/** Settings of `inProcessTransport` and `connectionPair`. */
export interface InProcessOptions {
  /** Bytes that may wait at the other end before `send` waits. Default 1 MiB. */
  readonly highWaterMark?: number;
}

/** One direction: a queue at its end, and whoever waits for room in it. */
class Pipe {
  readonly queue: FrameQueue = new FrameQueue(() => this.#release());
  readonly #highWaterMark: number;
  #waiting: (() => void)[] = [];

  constructor(highWaterMark: number) {
    this.#highWaterMark = highWaterMark;
  }

  async send(frame: Uint8Array): Promise<void> {
    if (this.queue.ended) throw new ConnectionError("the connection has ended");
    this.queue.push(frame);
    while (this.queue.bytes > this.#highWaterMark) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      if (this.queue.ended) throw new ConnectionError("the connection ended while a frame waited for its reader");
    }
  }

  /** The writer has gone: what it sent can still be read. */
  endOfWriter(): void {
    this.queue.end();
    this.#release(true);
  }

  /** The reader has gone. */
  endOfReader(): void {
    this.queue.discard();
    this.#release(true);
  }

  #release(always: boolean = false): void {
    if (!always && this.queue.bytes > this.#highWaterMark) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Two connections, each the other's other end. Frames are handed over without a copy. */
export function connectionPair({ highWaterMark = 1 << 20 }: InProcessOptions = {}): readonly [client: Connection, server: Connection] {
  const upward = new Pipe(highWaterMark);
  const downward = new Pipe(highWaterMark);
  const end = (incoming: Pipe, outgoing: Pipe): Connection => ({
    peer: "in-process",
    send: (frame) => outgoing.send(frame),
    receive: () => incoming.queue.receive(),
    close() {
      outgoing.endOfWriter();
      incoming.endOfReader();
    },
  });
  return [end(downward, upward), end(upward, downward)];
}

/** Connects to a server in the same process: for tests, and for a device and a server that are one machine. */
export function inProcessTransport(server: Pick<SplitServer, "accept">, options: InProcessOptions = {}): Transport {
  return async ({ signal } = {}) => {
    if (signal?.aborted) throw new ConnectionError("connecting was aborted", { cause: signal.reason });
    const [client, other] = connectionPair(options);
    void server.accept(other).finally(() => other.close());
    return client;
  };
}
