/** Split inference over HTTP/2 streams, for clients in Node; the listener is `listenHttp2` of "@frugal/fourier-compress/server". */
export { http2Transport, type Http2Options } from "./transport/http2.ts";
export type { Connection, Transport } from "./transport/connection.ts";
export type { NetworkOptions } from "./transport/transport-options.ts";
