import { connect, constants, type ClientHttp2Session, type SecureClientSessionOptions } from "node:http2";
import { ConnectionError, SettingsError } from "../errors.ts";
import type { Transport } from "./connection.ts";
import { STREAM_MEDIA_TYPE, STREAM_WINDOW_BYTES, streamConnection } from "./http2-connection.ts";
import { connecting, networkOptions, type NetworkOptions } from "./transport-options.ts";

/** Settings of `http2Transport`. */
export interface Http2Options extends NetworkOptions {
  /** Passed to node:http2, as `{ ca }` for a certificate of one's own or `{ cert, key }` for a client's. */
  readonly tls?: SecureClientSessionOptions;
  /** Headers beside those of the protocol, for proxies on the way. */
  readonly headers?: { readonly [name: string]: string };
}

/**
 * Connects to the listener of `listenHttp2` at an https: address, or an http: one (HTTP/2 without TLS, by prior knowledge). One stream
 * carries both directions. Node only.
 * @throws SettingsError for an address of another scheme
 */
export function http2Transport(url: string | URL, options: Http2Options = {}): Transport {
  const address = new URL(url);
  if (address.protocol !== "http:" && address.protocol !== "https:") {
    throw new SettingsError(`HTTP/2 address ${address.href}; use http: or https:`);
  }
  return ({ signal } = {}) => {
    let session: ClientHttp2Session | undefined;
    const { connectSeconds } = networkOptions(options);
    return connecting(address.href, { seconds: connectSeconds, signal, abandon: () => session?.destroy() }, (resolve, reject) => {
      const { HTTP2_HEADER_METHOD, HTTP2_HEADER_PATH, HTTP2_HEADER_STATUS, HTTP2_HEADER_CONTENT_TYPE } = constants;
      const opened = connect(address.origin, {
        ...options.tls, settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES, ...options.tls?.settings },
      });
      session = opened;
      const fail = (detail: string, cause?: unknown): void => {
        reject(new ConnectionError(`no HTTP/2 stream to ${address.href}: ${detail}`, { cause }));
      };
      opened.on("error", (cause: Error) => fail(cause.message, cause));
      opened.on("connect", () => opened.setLocalWindowSize(STREAM_WINDOW_BYTES));
      const stream = opened.request(
        {
          ...options.headers, [HTTP2_HEADER_METHOD]: "POST", [HTTP2_HEADER_PATH]: address.pathname + address.search,
          [HTTP2_HEADER_CONTENT_TYPE]: STREAM_MEDIA_TYPE,
        },
        { endStream: false },
      );
      stream.on("error", (cause: Error) => fail(cause.message, cause));
      stream.on("close", () => fail("the stream was cut"));
      stream.on("response", (headers) => {
        if (Number(headers[HTTP2_HEADER_STATUS]) !== 200) {
          fail(`status ${headers[HTTP2_HEADER_STATUS]}`);
          return;
        }
        resolve(streamConnection(stream, { ...options, peer: address.host, onClose: () => opened.close() }));
      });
    });
  };
}
