import { ConnectionError, FrameError } from "../errors.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import type { Connection } from "./connection.ts";
import { FrameQueue } from "./frame-queue.ts";
import { networkOptions, type NetworkOptions } from "./transport-options.ts";

/** What is used of a WebSocket: those of browsers, of Node, and of the package ws, which can also be paused. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly readyState: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: string, listener: (event: Event) => void): void;
  /** Stops reading from the network. */
  pause?(): void;
  resume?(): void;
  /** Ends without the closing handshake. */
  terminate?(): void;
}

/** Settings of a connection over an open WebSocket. */
export interface WebSocketConnectionOptions extends NetworkOptions {
  readonly peer: string;
  /** Resolves when there is room to send more. Default: asks `bufferedAmount` every few milliseconds, as there is no event for it. */
  readonly waitForRoom?: () => Promise<void>;
}

/** Frames that wait before a socket that can be paused is. */
const PAUSE_BYTES = 256 << 10;
const POLL_MILLISECONDS = 4;
/** How long the other end may take to answer a close before the socket is cut. */
const CLOSE_MILLISECONDS = 3000;
const OPEN = 1;
/** Of one's own: browsers let pages send no others but 1000. The last digits are those of the protocol's codes for the same. */
const [TEXT_CODE, TOO_LONG_CODE, OVERFLOW_CODE] = [4003, 4009, 4013];
/** Close codes of an orderly end: normal, going away, none given. */
const ORDERLY = [1000, 1001, 1005];

/** Node's timers keep a process alive unless told not to; browsers' are numbers. */
function unreferenced(timer: unknown): void {
  if (typeof timer === "object" && timer !== null && "unref" in timer && typeof timer.unref === "function") timer.unref();
}

/** A reason that fits into a close frame: 123 bytes of UTF-8. */
export function closeReason(reason: string): string {
  return reason.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 120);
}

/** A connection over an open WebSocket: each frame is one binary message. */
export function webSocketConnection(socket: WebSocketLike, options: WebSocketConnectionOptions): Connection {
  const { payloadBytes, highWaterMark, receiveBytes } = networkOptions(options);
  const canPause = socket.pause !== undefined && socket.resume !== undefined;
  let paused = false;
  let failure: Error | undefined;
  const queue = new FrameQueue(() => {
    if (paused && queue.bytes <= PAUSE_BYTES / 2) {
      paused = false;
      socket.resume!();
    }
  });
  const fail = (error: Error, code: number): void => {
    queue.end(error);
    closeSocket(socket, code, error.message);
  };
  socket.binaryType = "arraybuffer";
  socket.addEventListener("message", (event) => {
    const data: unknown = (event as MessageEvent<unknown>).data;
    if (queue.ended) return;
    if (!(data instanceof ArrayBuffer)) {
      fail(new FrameError("a text message came over the WebSocket; frames are binary"), TEXT_CODE);
      return;
    }
    if (data.byteLength > payloadBytes + FRAME_HEADER_BYTES) {
      fail(new FrameError(`a message of ${data.byteLength} bytes exceeds the limit of ${payloadBytes} payload bytes`), TOO_LONG_CODE);
      return;
    }
    queue.push(new Uint8Array(data));
    if (canPause) {
      if (!paused && queue.bytes > PAUSE_BYTES) {
        paused = true;
        socket.pause!();
      }
    } else if (queue.bytes > receiveBytes) {
      const detail = `${queue.bytes} bytes of frames wait to be received, more than ${receiveBytes}, and this WebSocket cannot be paused`;
      fail(new ConnectionError(detail), OVERFLOW_CODE);
    }
  });
  socket.addEventListener("error", (event) => {
    const { error, message } = event as Event & { error?: unknown; message?: unknown };
    const detail = typeof message === "string" && message !== "" ? message : "unknown cause";
    const isTooLong = error instanceof Error && "code" in error && error.code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH";
    failure ??= isTooLong
      ? new FrameError(`a message exceeds the limit of ${payloadBytes} payload bytes`, { cause: error })
      : new ConnectionError(`the WebSocket failed: ${detail}`, { cause: error });
  });
  socket.addEventListener("close", (event) => {
    const { code, reason } = event as CloseEvent;
    if (failure === undefined && !ORDERLY.includes(code)) {
      failure = new ConnectionError(`the WebSocket was closed with code ${code}${reason === "" ? "" : `: ${reason}`}`);
    }
    queue.end(failure);
  });
  const isOpen = (): boolean => !queue.ended && socket.readyState === OPEN;
  const poll = async (): Promise<void> => {
    while (isOpen() && socket.bufferedAmount > highWaterMark) await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  };
  const waitForRoom = options.waitForRoom ?? poll;
  return {
    peer: options.peer,
    async send(frame) {
      if (!isOpen()) throw new ConnectionError("the WebSocket has ended", { cause: failure });
      socket.send(frame as Uint8Array<ArrayBuffer>);
      await waitForRoom();
      if (!isOpen()) throw new ConnectionError("the WebSocket ended while a frame waited to be sent", { cause: failure });
    },
    receive: () => queue.receive(),
    close(reason = "") {
      queue.discard();
      closeSocket(socket, 1000, reason);
      // What waits would keep the closing handshake from being read.
      if (paused) {
        paused = false;
        socket.resume!();
      }
    },
  };
}

function closeSocket(socket: WebSocketLike, code: number, reason: string): void {
  if (socket.readyState > OPEN) return;
  socket.close(code, closeReason(reason));
  if (socket.terminate !== undefined) unreferenced(setTimeout(() => socket.terminate!(), CLOSE_MILLISECONDS));
}
