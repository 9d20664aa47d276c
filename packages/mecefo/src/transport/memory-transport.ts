import { SettingsError } from "../errors.ts";
import { FrameReader } from "./frame-reader.ts";
import type { FrameSink } from "./frame-queue.ts";
import { encodeControlFrame } from "./frame.ts";
import { linkFailureCause } from "./link-failure.ts";
import { LinkTable } from "./link-table.ts";
import type { Link, LinkDriver, TransportLimits } from "./link-table.ts";
import type { MessageTag, Peer, ReceivedMessage, Transport, TransportFault, TransportStatistics } from "./transport.ts";

/** Where memory transports of one cluster find each other. One hub is one network. */
export class MemoryHub {
  /** The transports by address. */
  readonly transports: Map<string, MemoryTransport> = new Map();
}

/** Settings of a transport within one process. */
export interface MemoryTransportOptions extends TransportLimits {
  readonly hub: MemoryHub;
  /** This worker's member id. */
  readonly id: string;
  /** Attempts to make a link end after so many milliseconds. Default 3000. */
  readonly linkTimeout?: number;
}

/**
 * The transport within one process, for tests and in-process workers: the same frames, epochs, faults and failures as over sockets, copied
 * from one transport into the other a turn of the event loop later.
 * @throws SettingsError when the hub has a transport of this id
 */
export function createMemoryTransport(options: MemoryTransportOptions): MemoryTransport {
  return new MemoryTransport(options);
}

/** One direction of a link: bytes that one transport writes and the other reads. */
class Pipe implements FrameSink {
  readonly #reader: FrameReader;
  readonly #onError: (error: Error) => void;
  readonly #pending: { readonly bytes: Uint8Array; readonly done: (() => void) | undefined }[] = [];
  #scheduled = false;
  paused = false;
  closed = false;

  constructor(reader: FrameReader, onError: (error: Error) => void) {
    this.#reader = reader;
    this.#onError = onError;
  }

  write(header: Uint8Array, payload: Uint8Array, written: () => void): void {
    this.#pending.push({ bytes: header, done: undefined }, { bytes: payload, done: written });
    this.schedule();
  }

  close(): void {
    this.closed = true;
    this.#reader.dispose();
  }

  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (!this.closed && !this.paused && this.#pending.length > 0) {
      const { bytes, done } = this.#pending.shift()!;
      try {
        this.#reader.push(bytes);
      } catch (error) {
        this.#onError(error as Error);
        return;
      }
      done?.();
    }
  }
}

/** See `createMemoryTransport`. */
export class MemoryTransport implements Transport, LinkDriver {
  readonly address: string;
  readonly #id: string;
  readonly #hub: MemoryHub;
  readonly #linkTimeout: number;
  readonly #table: LinkTable;
  /** What this transport reads from, by peer. */
  readonly #incoming = new Map<string, Pipe>();
  readonly #outgoing = new Map<string, Pipe>();
  readonly #opening = new Map<string, NodeJS.Timeout>();

  constructor(options: MemoryTransportOptions) {
    this.#id = options.id;
    this.#hub = options.hub;
    this.#linkTimeout = options.linkTimeout ?? 3000;
    this.address = `memory:${options.id}`;
    this.#table = new LinkTable(this, options);
    if (this.#hub.transports.has(this.address)) throw new SettingsError(`the memory hub has a transport "${options.id}" already`);
    this.#hub.transports.set(this.address, this);
  }

  send(to: Peer, tag: MessageTag, payload: Uint8Array): Promise<void> {
    return this.#table.send(to, tag, payload);
  }

  onMessage(listener: (message: ReceivedMessage) => void): void {
    this.#table.onMessage(listener);
  }

  onLinkFailure(listener: (peer: string, cause: string) => void): void {
    this.#table.onLinkFailure(listener);
  }

  release(message: ReceivedMessage): void {
    this.#table.release(message);
  }

  beginEpoch(epoch: number, peers: readonly Peer[]): void {
    this.#table.beginEpoch(epoch, peers);
  }

  inject(fault: TransportFault): void {
    this.#table.inject(fault);
  }

  statistics(): TransportStatistics {
    return this.#table.statistics();
  }

  close(): Promise<void> {
    const farewell = encodeControlFrame("bye", Math.max(0, this.#table.epoch));
    for (const pipe of this.#outgoing.values()) pipe.write(farewell, new Uint8Array(0), () => {});
    return new Promise((resolve) => {
      // The farewells are read in the next turn.
      setImmediate(() => {
        this.destroy();
        resolve();
      });
    });
  }

  /** Ends at once and without farewell, like a process that is killed. */
  destroy(): void {
    this.#hub.transports.delete(this.address);
    this.#table.close();
  }

  /** @internal The other side closed these connections. */
  hangUp(id: string, pipes: readonly (Pipe | undefined)[]): void {
    const link = this.#table.link(id);
    if (link === undefined) return;
    if ([this.#incoming.get(id), this.#outgoing.get(id)].some((pipe) => pipe !== undefined && pipes.includes(pipe))) {
      this.#table.fail(link, linkFailureCause("closed", "the peer closed the connection"));
    }
  }

  /** @internal A peer wants to send: what it can write to, unless it is a stranger or the link failed. */
  accept(id: string, epoch: number): Pipe | undefined {
    const link = this.#table.link(id);
    if (link === undefined || link.failedEpoch >= epoch || link.failure !== undefined || this.#table.closed) return undefined;
    this.#incoming.get(id)?.close();
    const reader = new FrameReader(this.#table.pool, this.#table.maximumPayloadBytes, (header, payload) => {
      this.#table.receive(link, header, payload);
    });
    const pipe = new Pipe(reader, (error) => {
      this.#table.fail(link, linkFailureCause("corruption", error.message));
    });
    this.#incoming.set(id, pipe);
    return pipe;
  }

  open(link: Link): void {
    const { id, address } = link.peer;
    if (this.#outgoing.has(id) || this.#opening.has(id)) return;
    const deadline = performance.now() + this.#linkTimeout;
    const attempt = (): void => {
      this.#opening.delete(id);
      const pipe = this.#hub.transports.get(address)?.accept(this.#id, this.#table.epoch);
      if (pipe !== undefined) {
        this.#outgoing.set(id, pipe);
        link.queue.attach(pipe);
      } else if (performance.now() > deadline) {
        this.#table.fail(link, linkFailureCause("unreachable", `no connection to ${address} within ${this.#linkTimeout} ms`));
      } else {
        this.#opening.set(id, setTimeout(attempt, 5));
      }
    };
    attempt();
  }

  disconnect(link: Link): void {
    const { id, address } = link.peer;
    clearTimeout(this.#opening.get(id));
    this.#opening.delete(id);
    const pipes = [this.#incoming.get(id), this.#outgoing.get(id)];
    for (const pipe of pipes) pipe?.close();
    this.#incoming.delete(id);
    this.#outgoing.delete(id);
    setImmediate(() => this.#hub.transports.get(address)?.hangUp(this.#id, pipes));
  }

  setPaused(link: Link, paused: boolean): void {
    const pipe = this.#incoming.get(link.peer.id);
    if (pipe === undefined) return;
    pipe.paused = paused;
    if (!paused) pipe.schedule();
  }
}
