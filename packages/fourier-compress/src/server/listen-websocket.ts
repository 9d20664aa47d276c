import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer, type ServerOptions as SecureServerOptions } from "node:https";
import type { Socket } from "node:net";
import { WebSocketServer, type WebSocket } from "ws";
import type { Connection } from "../transport/connection.ts";
import { WEB_SOCKET_PROTOCOL } from "../transport/web-socket.ts";
import { webSocketConnection, type WebSocketLike } from "../transport/web-socket-connection.ts";
import { roomOf } from "../transport/stream-room.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import { answerRequest, pathOf } from "./http-endpoint.ts";
import {
  addressKey, ConnectionCounter, HANDSHAKE_BYTES, isAllowedOrigin, listenSettings, PINGS,
  type Listener, type ListeningServer, type ListenOptions,
} from "./listen-options.ts";
import { listenerUrl, listenOn } from "./listen-on.ts";

/** Settings of `listenWebSocket`. */
export interface ListenWebSocketOptions extends ListenOptions {
  /** Passed to node:https, as `{ cert, key }`. Default: no TLS, for one machine, or behind a proxy that has it. */
  readonly tls?: SecureServerOptions;
  /** Answers what is neither `/healthz` nor the metrics, as pages and weights on the same port. Default: 404. */
  readonly handleRequest?: (request: IncomingMessage, response: ServerResponse) => void;
}

/** Bytes held for a slow reader before `send` waits. */
const SEND_BYTES = 256 << 10;
/** Header lines of a request, in bytes. */
const HEADER_BYTES = 16 << 10;

/** An open WebSocket with what tells whether its other end lives. */
interface LiveSocket {
  readonly webSocket: WebSocket;
  readonly socket: Socket;
  bytesRead: number;
  /** Pings since the last sign of life. */
  silence: number;
}

/**
 * Serves `server` over WebSockets, with `/healthz` and `/metrics` beside them on the same port. A connection stops reading from its socket
 * while the server is behind, and `send` waits while its reader is.
 * @throws SettingsError for settings out of range; the error of node:net when it cannot listen
 */
export async function listenWebSocket(
  server: ListeningServer, { tls, handleRequest, ...options }: ListenWebSocketOptions = {},
): Promise<Listener> {
  const settings = listenSettings(options, server);
  const counter = new ConnectionCounter(settings);
  const live = new Set<LiveSocket>();
  const http = {
    maxHeaderSize: HEADER_BYTES, headersTimeout: settings.handshakeSeconds * 1000, requestTimeout: settings.handshakeSeconds * 1000,
    connectionsCheckingInterval: Math.min(30_000, settings.handshakeSeconds * 500), keepAliveTimeout: 5000,
  };
  const httpServer: Server = tls === undefined
    ? createServer(http)
    : createSecureServer({ handshakeTimeout: settings.handshakeSeconds * 1000, ...tls, ...http });
  const webSockets = new WebSocketServer({
    noServer: true, perMessageDeflate: false, maxPayload: settings.maxPayload + FRAME_HEADER_BYTES,
    handleProtocols: (protocols) => (protocols.has(WEB_SOCKET_PROTOCOL) ? WEB_SOCKET_PROTOCOL : false),
  });

  httpServer.on("request", (request: IncomingMessage, response) => {
    request.resume();
    const { method = "", url = "", headers } = request;
    void answerRequest(server, settings.metrics, { method, url, authorization: headers.authorization }).then((answer) => {
      if (answer.status === 404 && handleRequest !== undefined) return handleRequest(request, response);
      response.writeHead(answer.status, answer.headers);
      response.end(method === "HEAD" ? "" : answer.body);
    });
  });

  httpServer.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    const refuse = (status: number): void => {
      socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
      setTimeout(() => socket.destroy(), 1000).unref();
    };
    if (pathOf(request.url ?? "") !== settings.path) return refuse(404);
    if (!isAllowedOrigin(request.headers.origin, settings)) return refuse(403);
    const peer = addressKey(settings.addressOf(request.headers, socket.remoteAddress ?? "unknown"));
    const leave = counter.enter(peer);
    if (leave === undefined) return refuse(503);
    socket.on("close", leave);
    webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const entry: LiveSocket = { webSocket, socket, bytesRead: 0, silence: 0 };
      live.add(entry);
      webSocket.on("close", () => live.delete(entry));
      const connection = webSocketConnection(webSocket as unknown as WebSocketLike, {
        peer, payloadBytes: settings.maxPayload, waitForRoom: roomOf(socket, SEND_BYTES),
      });
      // Counted on the socket: a message is only seen once all of it is there.
      let handshakeRest = HANDSHAKE_BYTES;
      const count = (chunk: Buffer): void => {
        handshakeRest -= chunk.length;
        if (handshakeRest < 0) webSocket.terminate();
      };
      socket.on("data", count);
      const guarded: Connection = { ...connection, authenticated: () => void socket.off("data", count) };
      void server.accept(guarded).finally(() => connection.close());
    });
  });

  const pulse = setInterval(() => {
    for (const entry of live) {
      const { webSocket, socket } = entry;
      // A socket that we ourselves have paused says nothing, and that is no fault of its other end.
      if (socket.bytesRead !== entry.bytesRead || webSocket.isPaused) entry.silence = 0;
      entry.bytesRead = socket.bytesRead;
      if (++entry.silence > PINGS) webSocket.terminate();
      else if (webSocket.readyState === webSocket.OPEN && !socket.writableNeedDrain) webSocket.ping();
    }
  }, (settings.idleSeconds * 1000) / PINGS);
  pulse.unref();

  const { port, cut } = await listenOn(httpServer, settings);
  return {
    url: listenerUrl(tls === undefined ? "ws" : "wss", settings, port),
    port,
    async close() {
      clearInterval(pulse);
      for (const { webSocket } of live) webSocket.close(1001, "the server shuts down");
      await cut();
    },
  };
}

