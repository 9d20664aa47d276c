import type { MessagePort } from "node:worker_threads";
import { EpochEndedError, FrameError, LinkError, MecefoError } from "../errors.ts";
import { BufferPool } from "./buffer-pool.ts";
import { defaultMaximumPayloadBytes } from "./frame.ts";
import { fromErrorRecord, readStatistics, statisticsBytes } from "./thread-messages.ts";
import type { TransportNotice, TransportRequest } from "./thread-messages.ts";
import type { MessageTag, Peer, ReceivedMessage, Transport, TransportFault, TransportStatistics } from "./transport.ts";

/** What a threaded transport is made of: the network thread that runs it (`startNetworkThread`), and its port to it. */
export interface ThreadedTransportOptions {
  readonly port: MessagePort;
  /** Has to be what the thread's transport was told. */
  readonly maximumPayloadBytes?: number;
}

/**
 * The main thread's side of a socket transport that runs in the network thread (`serveTransport`), where kernels on the main thread cannot
 * hold it up. Payloads that arrive are transferred, not copied, and go back by `release`. Payloads that are sent are copied once, before
 * `send` returns, into a buffer that is transferred and comes back for reuse; those that lie in shared memory are not copied, but written
 * from there.
 * @throws SettingsError when the thread's transport could not be made
 */
export async function createThreadedTransport(options: ThreadedTransportOptions): Promise<ThreadedTransport> {
  const { port } = options;
  const notice = await new Promise<TransportNotice>((resolve, reject) => {
    const onClose = (): void => {
      reject(new MecefoError("the network thread ended before its transport was ready"));
    };
    port.once("close", onClose);
    port.once("message", (first: TransportNotice) => {
      port.off("close", onClose);
      resolve(first);
    });
  });
  if (notice.kind === "unusable") throw fromErrorRecord(notice.error);
  if (notice.kind !== "ready") throw new MecefoError(`the network thread began with "${notice.kind}"`);
  return new ThreadedTransport(options, notice.address, notice.statistics);
}

interface PendingSend {
  readonly to: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** See `createThreadedTransport`. */
export class ThreadedTransport implements Transport {
  readonly address: string;
  readonly #port: MessagePort;
  readonly #maximumPayloadBytes: number;
  readonly #statistics: Float64Array;
  readonly #pool = new BufferPool();
  readonly #sends = new Map<number, PendingSend>();
  readonly #numbers = new WeakMap<ReceivedMessage, number>();
  readonly #failureListeners: ((peer: string, cause: string) => void)[] = [];
  #listener: ((message: ReceivedMessage) => void) | undefined;
  #sent = 0;
  #epoch = -1;
  #over: string | undefined;

  constructor(options: ThreadedTransportOptions, address: string, statistics: SharedArrayBuffer = new SharedArrayBuffer(statisticsBytes)) {
    this.address = address;
    this.#port = options.port;
    this.#maximumPayloadBytes = options.maximumPayloadBytes ?? defaultMaximumPayloadBytes;
    this.#statistics = new Float64Array(statistics);
    this.#port.on("message", (notice: TransportNotice) => {
      this.#receive(notice);
    });
    this.#port.on("close", () => {
      this.#end("the network thread has ended");
    });
  }

  async send(to: Peer, tag: MessageTag, payload: Uint8Array): Promise<void> {
    if (this.#over !== undefined) throw new LinkError(to.id, this.#over);
    if (tag.epoch < this.#epoch) throw new EpochEndedError(tag.epoch);
    if (payload.byteLength > this.#maximumPayloadBytes) {
      throw new FrameError(`${tag.kind} payload of ${payload.byteLength} bytes, over the limit of ${this.#maximumPayloadBytes}`);
    }
    const number = this.#sent++;
    if (payload.buffer instanceof SharedArrayBuffer) {
      this.#post({ kind: "send", number, to, tag, payload });
    } else {
      const copy = this.#pool.take(payload.byteLength);
      copy.set(payload);
      this.#post({ kind: "send", number, to, tag, payload: copy }, [copy.buffer]);
    }
    await new Promise<void>((resolve, reject) => {
      this.#sends.set(number, { to: to.id, resolve, reject });
    });
  }

  onMessage(listener: (message: ReceivedMessage) => void): void {
    this.#listener = listener;
  }

  onLinkFailure(listener: (peer: string, cause: string) => void): void {
    this.#failureListeners.push(listener);
  }

  release(message: ReceivedMessage): void {
    const number = this.#numbers.get(message);
    if (number === undefined || this.#over !== undefined) return;
    this.#numbers.delete(message);
    const { buffer } = message.payload;
    this.#post({ kind: "release", number, buffer }, [buffer]);
  }

  beginEpoch(epoch: number, peers: readonly Peer[]): void {
    if (epoch < this.#epoch) throw new MecefoError(`epoch ${epoch} cannot begin after epoch ${this.#epoch}`);
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#post({ kind: "beginEpoch", epoch, peers: peers.map(({ id, address }) => ({ id, address })) });
  }

  inject(fault: TransportFault): void {
    this.#post({ kind: "inject", fault });
  }

  statistics(): TransportStatistics {
    return readStatistics(this.#statistics);
  }

  async close(): Promise<void> {
    if (this.#over !== undefined) return;
    const closed = new Promise<void>((resolve) => {
      this.#port.once("close", resolve);
    });
    this.#post({ kind: "close" });
    await closed;
  }

  #post(request: TransportRequest, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(request, transfer);
  }

  #receive(notice: TransportNotice): void {
    switch (notice.kind) {
      case "message": {
        const message: ReceivedMessage = { from: notice.from, tag: notice.tag, payload: notice.payload };
        this.#numbers.set(message, notice.number);
        // It was on its way when the epoch ended.
        if (notice.tag.epoch < this.#epoch || this.#listener === undefined) this.release(message);
        else this.#listener(message);
        break;
      }
      case "sent": {
        if (notice.buffer !== undefined) this.#pool.give(notice.buffer);
        const send = this.#sends.get(notice.number);
        this.#sends.delete(notice.number);
        if (notice.error === undefined) send?.resolve();
        else send?.reject(fromErrorRecord(notice.error));
        break;
      }
      case "linkFailure":
        if (notice.epoch < this.#epoch) break;
        for (const listener of this.#failureListeners) listener(notice.peer, notice.cause);
        break;
      case "closed":
        this.#end("the transport is closed");
        break;
      case "ready":
      case "unusable":
        throw new MecefoError(`the network thread sent "${notice.kind}" twice`);
    }
  }

  #end(why: string): void {
    this.#over ??= why;
    for (const { to, reject } of this.#sends.values()) reject(new LinkError(to, this.#over));
    this.#sends.clear();
  }
}
