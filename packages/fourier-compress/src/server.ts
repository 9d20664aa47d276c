/** The server half, for Node: `@frugal/fourier-compress/server`. */
export { createSplitServer } from "./server/split-server.ts";
export type { ServerEvent, ServerLimits, ServerStatistics, SplitServer, SplitServerOptions } from "./server/split-server-options.ts";
export type { Authentication } from "./server/authentication.ts";
export { listenHttp2, type ListenHttp2Options } from "./server/listen-http2.ts";
export { listenWebSocket, type ListenWebSocketOptions } from "./server/listen-websocket.ts";
export type { MetricsOptions } from "./server/http-endpoint.ts";
export type { Listener, ListeningServer, ListenOptions } from "./server/listen-options.ts";
