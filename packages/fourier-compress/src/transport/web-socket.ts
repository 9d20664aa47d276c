import { ConnectionError, SettingsError } from "../errors.ts";
import type { Transport } from "./connection.ts";
import { connecting, networkOptions, type NetworkOptions } from "./transport-options.ts";
import { webSocketConnection, type WebSocketLike } from "./web-socket-connection.ts";

/** Subprotocol that listeners and clients agree on. */
export const WEB_SOCKET_PROTOCOL = "fourier-compress.1";

/** Settings of `webSocketTransport`. */
export interface WebSocketOptions extends NetworkOptions {
  /**
   * Makes the socket. Default: the WebSocket of the browser, or of Node from 22 on. With the package ws it can be paused by a slow reader,
   * and take certificates: `(url, protocols) => new WebSocket(url, protocols, { ca })`.
   */
  readonly createSocket?: (url: string, protocols: string[]) => WebSocketLike;
}

/**
 * Connects to the listener of `listenWebSocket` at a ws: or wss: address, from browsers and from Node.
 * @throws SettingsError for an address of another scheme
 */
export function webSocketTransport(url: string | URL, options: WebSocketOptions = {}): Transport {
  const address = new URL(url);
  if (address.protocol !== "ws:" && address.protocol !== "wss:") {
    throw new SettingsError(`WebSocket address ${address.href}; use ws: or wss:`);
  }
  if (address.hash !== "") throw new SettingsError(`WebSocket address ${address.href}; leave out what follows the #`);
  const createSocket = options.createSocket ?? ((href, protocols) => new WebSocket(href, protocols));
  return ({ signal } = {}) => {
    let socket: WebSocketLike | undefined;
    const { connectSeconds } = networkOptions(options);
    return connecting(address.href, { seconds: connectSeconds, signal, abandon: () => socket?.close() }, (resolve, reject) => {
      const opened = createSocket(address.href, [WEB_SOCKET_PROTOCOL]);
      socket = opened;
      let detail = "";
      // Made before the socket is open, so that no early message is missed.
      const connection = webSocketConnection(opened, { ...options, peer: address.host });
      opened.addEventListener("open", () => resolve(connection));
      opened.addEventListener("error", (event) => {
        const { message } = event as Event & { message?: unknown };
        if (typeof message === "string" && message !== "") detail = `: ${message}`;
      });
      opened.addEventListener("close", (event) => {
        reject(new ConnectionError(`no WebSocket to ${address.href}${detail || `: code ${(event as CloseEvent).code}`}`));
      });
    });
  };
}
