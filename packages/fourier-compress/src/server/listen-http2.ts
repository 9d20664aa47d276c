import {
  constants, createSecureServer, createServer,
  type Http2Session, type IncomingHttpHeaders, type SecureServerOptions, type ServerHttp2Stream,
} from "node:http2";
import { STREAM_MEDIA_TYPE, STREAM_WINDOW_BYTES, streamConnection } from "../transport/http2-connection.ts";
import { answerRequest, pathOf } from "./http-endpoint.ts";
import {
  addressKey, ConnectionCounter, HANDSHAKE_BYTES, isAllowedOrigin, listenSettings, PINGS,
  type Listener, type ListeningServer, type ListenOptions,
} from "./listen-options.ts";
import { listenerUrl, listenOn } from "./listen-on.ts";

/** Settings of `listenHttp2`. */
export interface ListenHttp2Options extends ListenOptions {
  /** Passed to node:http2, as `{ cert, key }`. Default: no TLS, for one machine, or behind a proxy that has it. */
  readonly tls?: SecureServerOptions;
}

/** Bytes held for a slow reader before `send` waits. */
const SEND_BYTES = 256 << 10;
/** Headers of a request, in bytes. */
const HEADER_BYTES = 16 << 10;
/** Streams of one client's session: each is a connection, and clients of this package open one. */
const STREAMS_PER_SESSION = 16;

/** How long a stream that has been answered may go on sending. */
const LEAVE_MILLISECONDS = 1000;

/** Drops what still comes over a stream that has been answered. Whoever never ends it would otherwise keep it, and its socket. */
function letGo(stream: ServerHttp2Stream): void {
  stream.resume();
  setTimeout(() => stream.close(), LEAVE_MILLISECONDS).unref();
}

/** A session with what tells whether its other end lives. */
interface LiveSession {
  readonly session: Http2Session;
  streams: number;
  /** Pings since the last answer to one. */
  silence: number;
}

/**
 * Serves `server` over HTTP/2 streams, each a connection, with `/healthz` and `/metrics` beside them on the same port. Reading stops, by
 * the stream's window, while the server is behind, and `send` waits while its reader is.
 * @throws SettingsError for settings out of range; the error of node:net when it cannot listen
 */
export async function listenHttp2(
  server: ListeningServer, { tls, ...options }: ListenHttp2Options = {},
): Promise<Listener> {
  const settings = listenSettings(options, server);
  const counter = new ConnectionCounter(settings);
  const live = new Map<Http2Session, LiveSession>();
  const limits = {
    settings: {
      enablePush: false, maxConcurrentStreams: STREAMS_PER_SESSION, initialWindowSize: STREAM_WINDOW_BYTES, maxHeaderListSize: HEADER_BYTES,
    },
    maxHeaderListPairs: 64, unknownProtocolTimeout: settings.handshakeSeconds * 1000,
  };
  const http2Server = tls === undefined
    ? createServer(limits)
    : createSecureServer({ handshakeTimeout: settings.handshakeSeconds * 1000, allowHTTP1: false, ...tls, ...limits });
  http2Server.on("sessionError", () => {
    // Node closes the session; its streams have heard of it.
  });

  http2Server.on("session", (session) => {
    const entry: LiveSession = { session, streams: 0, silence: 0 };
    live.set(session, entry);
    session.setLocalWindowSize(STREAM_WINDOW_BYTES);
    session.on("close", () => live.delete(session));
    session.on("error", () => session.destroy());
    closeIfUnused(entry);
  });

  const closeIfUnused = (entry: LiveSession): void => {
    setTimeout(() => {
      if (entry.streams === 0 && !entry.session.destroyed) entry.session.close();
    }, settings.handshakeSeconds * 1000).unref();
  };

  http2Server.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => {
      // Whoever reads the stream hears of it; without a listener the process would end.
    });
    const entry = stream.session === undefined ? undefined : live.get(stream.session);
    if (entry === undefined) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    entry.streams++;
    stream.on("close", () => {
      entry.streams--;
      if (entry.streams === 0) closeIfUnused(entry);
    });
    const method = headers[constants.HTTP2_HEADER_METHOD] as string;
    const url = headers[constants.HTTP2_HEADER_PATH] ?? "";
    if (method !== "POST" || pathOf(url as string) !== settings.path) {
      void answerRequest(server, settings.metrics, { method, url: url as string, authorization: headers.authorization }).then((answer) => {
        if (stream.destroyed) return;
        stream.respond({ ":status": answer.status, ...answer.headers });
        stream.end(method === "HEAD" ? "" : answer.body);
        letGo(stream);
      });
      return;
    }
    const refuse = (status: number): void => {
      stream.respond({ ":status": status }, { endStream: true });
      letGo(stream);
    };
    if (headers["content-type"] !== STREAM_MEDIA_TYPE) return refuse(415);
    if (!isAllowedOrigin(headers.origin as string | undefined, settings)) return refuse(403);
    const peer = addressKey(settings.addressOf(headers, stream.session?.socket.remoteAddress ?? "unknown"));
    const leave = counter.enter(peer);
    if (leave === undefined) return refuse(503);
    stream.on("close", leave);
    stream.respond({ ":status": 200, "content-type": STREAM_MEDIA_TYPE, "cache-control": "no-store" });
    const connection = streamConnection(stream, {
      peer, payloadBytes: settings.maxPayload, highWaterMark: SEND_BYTES, handshakeBytes: HANDSHAKE_BYTES,
    });
    void server.accept(connection).finally(() => connection.close());
  });

  const pulse = setInterval(() => {
    for (const entry of live.values()) {
      if (++entry.silence > PINGS) {
        entry.session.destroy();
        continue;
      }
      // Pings pass the windows of slow streams by.
      entry.session.ping((error) => {
        if (error === null) entry.silence = 0;
      });
    }
  }, (settings.idleSeconds * 1000) / PINGS);
  pulse.unref();

  const { port, cut } = await listenOn(http2Server, settings);
  return {
    url: listenerUrl(tls === undefined ? "http" : "https", settings, port),
    port,
    async close() {
      clearInterval(pulse);
      for (const { session } of live.values()) session.close();
      await cut();
    },
  };
}
