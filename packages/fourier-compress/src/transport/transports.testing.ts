import { WebSocket as PausableWebSocket } from "ws";
import { listenHttp2 } from "../server/listen-http2.ts";
import { listenWebSocket } from "../server/listen-websocket.ts";
import type { SplitServer } from "../server/split-server-options.ts";
import { encodeFrame, makeFrame } from "../wire/frame.ts";
import type { Connection, Transport } from "./connection.ts";
import { http2Transport } from "./http2.ts";
import { inProcessTransport } from "./in-process.ts";
import { TEST_CERTIFICATE, TEST_KEY } from "./test-certificate.testing.ts";
import { webSocketTransport } from "./web-socket.ts";
import type { WebSocketLike } from "./web-socket-connection.ts";

/** A server that hands over each connection instead of speaking on it. */
export class ConnectionTrap implements Pick<SplitServer, "accept" | "metrics"> {
  readonly accepted: Connection[] = [];
  readonly #isTrusting: boolean;
  #waiting: ((connection: Connection) => void)[] = [];
  #release: (() => void)[] = [];

  /** @param isTrusting whether connections are told at once that they are authenticated */
  constructor(isTrusting: boolean = true) {
    this.#isTrusting = isTrusting;
  }

  accept(connection: Connection): Promise<void> {
    if (this.#isTrusting) connection.authenticated?.();
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.accepted.push(connection);
    else waiting(connection);
    return new Promise((resolve) => this.#release.push(resolve));
  }

  async metrics(): Promise<string> {
    return "trapped_connections 1\n";
  }

  next(): Promise<Connection> {
    const ready = this.accepted.shift();
    return ready === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(ready);
  }

  releaseAll(): void {
    for (const resolve of this.#release) resolve();
  }
}

/** A kind of transport, and what it can do. */
export interface TransportKind {
  readonly name: string;
  /** Whether a client that reads slowly holds its server back. */
  readonly clientPauses: boolean;
  start(server: Pick<SplitServer, "accept" | "metrics">): Promise<{ readonly transport: Transport; stop(): Promise<void> }>;
}

/** A WebSocket of the package ws that trusts the test certificate. */
export const trustingSocket = (url: string, protocols: string[]): WebSocketLike =>
  new PausableWebSocket(url, protocols, { ca: TEST_CERTIFICATE }) as unknown as WebSocketLike;

const tls = { cert: TEST_CERTIFICATE, key: TEST_KEY };

/** All transports that run in Node. */
export const transportKinds: readonly TransportKind[] = [
  {
    name: "in process", clientPauses: true,
    start: async (server) => ({ transport: inProcessTransport(server), stop: async () => {} }),
  },
  {
    name: "Node's WebSocket", clientPauses: false,
    async start(server) {
      const listener = await listenWebSocket(server);
      return { transport: webSocketTransport(listener.url), stop: () => listener.close() };
    },
  },
  {
    name: "WebSocket of ws, TLS", clientPauses: true,
    async start(server) {
      const listener = await listenWebSocket(server, { tls });
      return { transport: webSocketTransport(listener.url, { createSocket: trustingSocket }), stop: () => listener.close() };
    },
  },
  {
    name: "HTTP/2 without TLS", clientPauses: true,
    async start(server) {
      const listener = await listenHttp2(server);
      return { transport: http2Transport(listener.url), stop: () => listener.close() };
    },
  },
  {
    name: "HTTP/2, TLS", clientPauses: true,
    async start(server) {
      const listener = await listenHttp2(server, { tls, path: "/split" });
      return { transport: http2Transport(listener.url, { tls: { ca: TEST_CERTIFICATE } }), stop: () => listener.close() };
    },
  },
];

/** A frame that can be told from others: its sequence number, and a payload of `bytes`. */
export function numberedFrame(sequence: number, bytes: number = 16): Uint8Array {
  const payload = new Uint8Array(bytes);
  for (let index = 0; index < bytes; index += 997) payload[index] = (index * 31 + sequence) & 0xff;
  return encodeFrame(makeFrame("activation", { sequence, payload }));
}
