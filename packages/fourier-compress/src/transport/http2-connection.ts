import type { Duplex } from "node:stream";
import { ConnectionError, FrameError } from "../errors.ts";
import type { Connection } from "./connection.ts";
import { FrameCutter } from "./frame-cutter.ts";
import { FrameQueue } from "./frame-queue.ts";
import { roomOf } from "./stream-room.ts";
import { networkOptions, type NetworkOptions } from "./transport-options.ts";

/** Media type of both directions of a stream. */
export const STREAM_MEDIA_TYPE = "application/x-fourier-compress";

/** Bytes of a stream that are on their way before its reader has to ask for more. */
export const STREAM_WINDOW_BYTES: number = 1 << 20;

/** Frames that wait before the stream is paused. */
const PAUSE_BYTES = 256 << 10;
/** How long the other end may take to end its direction before the stream is cut. */
const CLOSE_MILLISECONDS = 3000;

/** Settings of a connection over a byte stream. */
export interface StreamConnectionOptions extends NetworkOptions {
  readonly peer: string;
  /** Bytes that may come before `authenticated`. Default: no limit. */
  readonly handshakeBytes?: number;
  /** Told once after `close`, or when the stream has ended by itself. */
  readonly onClose?: () => void;
}

/** A connection over both directions of an HTTP/2 stream, or of any other reliable stream of bytes: frames follow each other. */
export function streamConnection(
  stream: Duplex, { peer, onClose, handshakeBytes = Infinity, ...options }: StreamConnectionOptions,
): Connection {
  const { payloadBytes, highWaterMark } = networkOptions(options);
  const cutter = new FrameCutter({ payloadBytes });
  const waitForRoom = roomOf(stream, highWaterMark);
  let failure: Error | undefined;
  let closed = false;
  let handshakeRest = handshakeBytes;
  const queue = new FrameQueue(() => {
    if (stream.isPaused() && queue.bytes <= PAUSE_BYTES / 2) stream.resume();
  });
  stream.on("data", (chunk: Uint8Array) => {
    if (queue.ended) return;
    handshakeRest -= chunk.length;
    if (handshakeRest < 0) {
      queue.end(new FrameError(`more than ${handshakeBytes} bytes came before it was known from whom`));
      return;
    }
    try {
      cutter.push(chunk, (frame) => queue.push(frame));
    } catch (error) {
      queue.end(error as Error);
    }
    if (queue.bytes > PAUSE_BYTES) stream.pause();
  });
  stream.on("end", () => {
    // A stream that is reset, or loses its socket, also ends.
    const code = "rstCode" in stream && typeof stream.rstCode === "number" ? stream.rstCode : 0;
    if (cutter.heldBytes > 0) queue.end(new ConnectionError(`the stream ended ${cutter.heldBytes} bytes into a frame`, { cause: failure }));
    else queue.end(code === 0 ? undefined : (failure ?? new ConnectionError(`the stream was cut with code ${code}`)));
    // The end of one direction is that of the connection.
    stream.end();
  });
  stream.on("error", (cause: Error) => {
    failure ??= new ConnectionError(`the stream failed: ${cause.message}`, { cause });
  });
  stream.on("close", () => {
    queue.end(failure ?? new ConnectionError("the stream was cut"));
    onClose?.();
  });
  const check = (detail: string): void => {
    if (closed || stream.destroyed || stream.writableEnded) throw new ConnectionError(`the stream ${detail}`, { cause: failure });
  };
  return {
    peer,
    async send(frame) {
      check("has ended");
      stream.write(frame);
      await waitForRoom();
      check("ended while a frame waited to be sent");
    },
    receive: () => queue.receive(),
    authenticated() {
      handshakeRest = Infinity;
    },
    close() {
      if (closed) return;
      closed = true;
      queue.discard();
      stream.end();
      // What still comes is dropped, so that the other end's own end is seen.
      stream.resume();
      setTimeout(() => stream.destroy(), CLOSE_MILLISECONDS).unref();
    },
  };
}
