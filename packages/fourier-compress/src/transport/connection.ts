/**
 * Two ends that exchange whole frames in order. Transports implement it: in-process, WebSocket, HTTP/2 stream, data channel. None
 * interprets frames beyond their length.
 */
export interface Connection {
  /** Where the other end is, for limits and logs: an address, or a name. */
  readonly peer: string;
  /**
   * Sends a frame, which must not be changed afterwards. Resolves when there is room for another: awaiting it is the back-pressure of a
   * slow reader. @throws ConnectionError when the connection has ended
   */
  send(frame: Uint8Array): Promise<void>;
  /**
   * The next frame; undefined after an orderly end. Not called again before it resolves; a transport stops reading from its network while
   * frames wait. @throws ConnectionError for a broken connection, FrameError for bytes that are no frame of bearable length
   */
  receive(): Promise<Uint8Array | undefined>;
  /** Ends the connection; frames that wait to be sent may be lost. A `receive` that waits gets undefined. Safe to call twice. */
  close(reason?: string): void;
  /**
   * Told by a server that it knows who is there. Until then listeners cut connections that send more than a handshake takes, so that nobody
   * unknown fills their memory. Wrappers of connections have to pass it on.
   */
  authenticated?(): void;
}

/** Makes a connection to one server; called again to reconnect. @throws ConnectionError */
export type Transport = (options?: { readonly signal?: AbortSignal }) => Promise<Connection>;
