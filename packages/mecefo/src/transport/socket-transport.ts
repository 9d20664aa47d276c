import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { SettingsError } from "../errors.ts";
import { acceptConnection } from "./accept-connection.ts";
import { DialledConnection } from "./dial.ts";
import type { FrameSink } from "./frame-queue.ts";
import { encodeControlFrame } from "./frame.ts";
import type { Hello } from "./handshake.ts";
import { linkFailureCause } from "./link-failure.ts";
import { LinkTable } from "./link-table.ts";
import type { Link, LinkDriver, TransportLimits } from "./link-table.ts";
import { formatAddress, parseAddress } from "./listen-address.ts";
import type { MessageTag, Peer, ReceivedMessage, Transport, TransportFault, TransportStatistics } from "./transport.ts";

/** Settings of a transport over sockets: plain data, so that they can be sent to a thread. */
export interface SocketTransportOptions extends TransportLimits {
  /** This worker's member id: letters, digits, "_" and "-", at most 64. */
  readonly id: string;
  /** "unix:/path" or "tcp://host:port"; port 0 takes a free one. */
  readonly listen: string;
  /** Host that peers reach this worker by, where it listens on another address: needed with "tcp://0.0.0.0:…". */
  readonly advertise?: string;
  /** The job's secret: whoever does not know it is turned away. */
  readonly token: string;
  /** Making a connection, all attempts and the handshake together. Default 3000 (`Timeouts.linkEstablishment`). */
  readonly linkTimeout?: number;
  /** A peer may begin an epoch so much later than this worker before its silence counts as a failed link. Default 30,000. */
  readonly epochLag?: number;
}

/** Connections that wait for this worker to learn of their epoch, at most. */
const MOST_HELD = 256;
/** Connections in total, strangers' included. */
const MOST_CONNECTIONS = 8192;
const FAREWELL_MILLISECONDS = 500;

/**
 * Listens, and gives a transport over Unix sockets or TCP.
 *
 * **Connections.** Whoever dials, reads; whoever listens, writes: `node:net` can receive into one's own memory (`onread`) only where a
 * connection was dialled, and that is the fastest way to read (twice "data" events). The first `send` to a peer dials it, which invites the
 * peer to dial back; the frames then go over the connection that the peer dialled. So each link is two connections, and the end of either
 * ends both.
 *
 * **Epochs.** A peer that learnt of an epoch earlier dials before this worker knows of it: its connection is held (a bounded number) until
 * `beginEpoch` names it, and since it can only read, there are no early frames to keep. A worker that is no peer in an epoch that this one
 * knows is turned away. Links that work are kept from epoch to epoch.
 *
 * **Memory.** Payloads are received straight into pooled buffers, each an ArrayBuffer of its own; `release` returns them. What is sent is
 * not copied: the socket refers to it until the promise resolves. Reading from a peer rests while too many of its bytes are unreleased.
 *
 * **Threads.** All this needs the event loop of the thread it lives in, which kernels block: workers run it in a thread
 * (`createThreadedTransport`).
 * @throws SettingsError for an address that cannot be listened on
 */
export async function createSocketTransport(options: SocketTransportOptions): Promise<SocketTransport> {
  const wanted = parseAddress(options.listen);
  if ("host" in wanted && ["0.0.0.0", "::"].includes(wanted.host) && options.advertise === undefined) {
    throw new SettingsError(`${options.listen} is no address that peers can dial: say which host to advertise`);
  }
  if (options.token === "") throw new SettingsError("the transport's token is empty");
  const server = createServer({ noDelay: true });
  server.maxConnections = MOST_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      reject(new SettingsError(`cannot listen on ${options.listen}: ${error.message}`, { cause: error }));
    });
    server.listen(wanted, resolve);
  });
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  const address = "path" in wanted ? options.listen : formatAddress({ host: options.advertise ?? wanted.host, port });
  return new SocketTransport(server, address, options);
}

/** A connection that a peer dialled: this worker writes to it. */
class AcceptedConnection implements FrameSink {
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  write(header: Uint8Array, payload: Uint8Array, written: (error?: Error | null) => void): void {
    this.socket.cork();
    if (payload.byteLength === 0) this.socket.write(header, written);
    else {
      this.socket.write(header);
      this.socket.write(payload, written);
    }
    this.socket.uncork();
  }
}

/** See `createSocketTransport`. */
export class SocketTransport implements Transport, LinkDriver {
  readonly address: string;
  readonly #options: SocketTransportOptions;
  readonly #server: Server;
  readonly #table: LinkTable;
  readonly #linkTimeout: number;
  readonly #epochLag: number;
  /** Dialled by this worker, by peer. */
  readonly #incoming = new Map<string, DialledConnection>();
  /** Dialled by the peer. */
  readonly #outgoing = new Map<string, AcceptedConnection>();
  readonly #invitations = new Map<string, NodeJS.Timeout>();
  readonly #held = new Map<string, { readonly hello: Hello; readonly socket: Socket }>();
  /** Every accepted socket, those in a handshake included. */
  readonly #sockets = new Set<Socket>();

  constructor(server: Server, address: string, options: SocketTransportOptions) {
    this.address = address;
    this.#options = options;
    this.#server = server;
    this.#linkTimeout = options.linkTimeout ?? 3000;
    this.#epochLag = options.epochLag ?? 30_000;
    this.#table = new LinkTable(this, options);
    server.on("connection", (socket) => {
      this.#accept(socket);
    });
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

  /** @param buffer the payload's memory, where it went to another thread and came back as another object */
  release(message: ReceivedMessage, buffer?: ArrayBuffer): void {
    this.#table.release(message, buffer);
  }

  beginEpoch(epoch: number, peers: readonly Peer[]): void {
    this.#table.beginEpoch(epoch, peers);
    for (const [id, { hello, socket }] of this.#held) {
      if (hello.epoch > this.#table.epoch) continue;
      this.#held.delete(id);
      socket.removeAllListeners("close").removeAllListeners("data");
      const link = this.#table.link(id);
      if (link === undefined) {
        this.#table.countRefusal();
        this.#sockets.delete(socket);
        socket.destroy();
      } else this.#adopt(link, socket);
    }
  }

  inject(fault: TransportFault): void {
    this.#table.inject(fault);
  }

  statistics(): TransportStatistics {
    return this.#table.statistics();
  }

  async close(): Promise<void> {
    const farewell = encodeControlFrame("bye", Math.max(0, this.#table.epoch));
    const byes = [...this.#outgoing.values()].map(({ socket }) => new Promise<void>((resolve) => {
      socket.removeAllListeners("close").on("close", () => {
        resolve();
      });
      socket.end(farewell, () => {
        resolve();
      });
      setTimeout(resolve, FAREWELL_MILLISECONDS).unref();
    }));
    await Promise.all(byes);
    this.#table.close();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
    });
  }

  open(link: Link): void {
    const { id } = link.peer;
    if (this.#incoming.has(id)) return;
    this.#incoming.set(id, new DialledConnection(link.peer, {
      id: this.#options.id,
      token: this.#options.token,
      epoch: this.#table.epoch,
      pool: this.#table.pool,
      maximumPayloadBytes: this.#table.maximumPayloadBytes,
      timeoutMilliseconds: this.#linkTimeout,
      onFrame: (header, payload) => {
        this.#table.receive(link, header, payload);
      },
      onEnd: (cause) => {
        this.#table.fail(link, cause);
      },
    }));
    if (this.#outgoing.has(id)) return;
    this.#invitations.set(id, setTimeout(() => {
      this.#table.fail(link, linkFailureCause("unreachable", `it has not dialled back within ${this.#epochLag} ms`));
    }, this.#epochLag));
  }

  disconnect(link: Link): void {
    const { id } = link.peer;
    clearTimeout(this.#invitations.get(id));
    this.#invitations.delete(id);
    this.#incoming.get(id)?.destroy();
    this.#incoming.delete(id);
    this.#outgoing.get(id)?.socket.removeAllListeners("close").destroy();
    this.#outgoing.delete(id);
  }

  setPaused(link: Link, paused: boolean): void {
    this.#incoming.get(link.peer.id)?.setPaused(paused);
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    acceptConnection(socket, {
      id: this.#options.id,
      token: this.#options.token,
      timeoutMilliseconds: this.#linkTimeout,
      objection: (hello) => this.#objection(hello),
      onWelcome: (hello) => {
        this.#welcome(hello, socket);
      },
      onRefusal: () => {
        this.#sockets.delete(socket);
        this.#table.countRefusal();
      },
    });
  }

  #objection({ from, epoch }: Hello): string | undefined {
    if (this.#table.closed) return "the transport is closed";
    if (epoch > this.#table.epoch) return this.#held.size >= MOST_HELD ? `${MOST_HELD} connections wait for later epochs` : undefined;
    const link = this.#table.link(from);
    if (link === undefined) return `${from} is no member of epoch ${this.#table.epoch}`;
    if (link.failedEpoch >= epoch) return `the link failed in epoch ${link.failedEpoch}: ${link.failure ?? "see its log"}`;
    return undefined;
  }

  #welcome(hello: Hello, socket: Socket): void {
    socket.on("close", () => {
      this.#sockets.delete(socket);
    });
    const link = this.#table.link(hello.from);
    if (hello.epoch <= this.#table.epoch && link !== undefined) {
      this.#adopt(link, socket);
      return;
    }
    this.#held.get(hello.from)?.socket.destroy();
    this.#held.set(hello.from, { hello, socket });
    const forget = (): void => {
      if (this.#held.get(hello.from)?.socket === socket) this.#held.delete(hello.from);
      this.#sockets.delete(socket);
    };
    socket.on("close", forget);
    // Reading is what notices the end of a connection; a dialler that talks now breaks the rules.
    socket.on("data", () => {
      this.#table.countRefusal();
      socket.destroy();
    });
  }

  #adopt(link: Link, socket: Socket): void {
    const { id } = link.peer;
    const before = this.#outgoing.get(id);
    if (before !== undefined && link.queue.lastEpoch === this.#table.epoch) {
      socket.destroy();
      this.#table.fail(link, linkFailureCause("closed", "the peer dialled again"));
      return;
    }
    before?.socket.removeAllListeners("close").destroy();
    clearTimeout(this.#invitations.get(id));
    this.#invitations.delete(id);
    const connection = new AcceptedConnection(socket);
    this.#outgoing.set(id, connection);
    let problem: string | undefined;
    socket.on("error", (error) => {
      problem = error.message;
    });
    socket.on("data", () => {
      this.#table.fail(link, linkFailureCause("corruption", "bytes came over a connection that only carries them the other way"));
    });
    socket.on("close", () => {
      this.#sockets.delete(socket);
      if (this.#outgoing.get(id) !== connection) return;
      this.#table.fail(link, linkFailureCause("closed", problem ?? "the peer closed the connection"));
    });
    this.open(link);
    link.queue.attach(connection);
  }
}
