import type { Socket } from "node:net";
import { z } from "zod";
import { FrameError } from "../../errors.ts";
import { ControlFrameReader, encodeControlFrame, largestControlFrame } from "./control-frames.ts";

/** A peer that leaves so many bytes unread is cut off: what it would read is old by then. */
const LARGEST_BACKLOG = 16 * largestControlFrame;

/** What is told of a connection. */
export interface ControlSocketListener<Incoming> {
  message(message: Incoming): void;
  /** The connection is over; told once. `broken` when what came was no message of this protocol. */
  closed(cause: string, broken: boolean): void;
}

/** A connection of control messages: framed, bounded, validated. */
export class ControlSocket<Incoming> {
  readonly #socket: Socket;
  readonly #schema: z.ZodType<Incoming>;
  readonly #reader = new ControlFrameReader();
  #listener: ControlSocketListener<Incoming> | undefined;
  #cause: string | undefined;
  #broken = false;

  constructor(socket: Socket, schema: z.ZodType<Incoming>) {
    this.#socket = socket;
    this.#schema = schema;
    socket.setNoDelay(true);
    socket.on("error", (error) => {
      this.#cause ??= error.message;
    });
    socket.on("close", () => this.#listener?.closed(this.#cause ?? "the other side closed it", this.#broken));
  }

  /** Reads from now on; another listener takes the place of the one before. */
  listen(listener: ControlSocketListener<Incoming>): void {
    const first = this.#listener === undefined;
    this.#listener = listener;
    if (first) this.#socket.on("data", (piece: Buffer) => this.#read(piece));
  }

  /** The peer proved that it knows the token: it may send messages of full size. */
  trust(): void {
    this.#reader.limit = largestControlFrame;
  }

  /** @throws FrameError when the message is too long */
  send(message: unknown): void {
    this.sendFrame(encodeControlFrame(message));
  }

  /** Sends what `encodeControlFrame` gave: a message to many is encoded once. */
  sendFrame(frame: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (this.#socket.writableLength > LARGEST_BACKLOG) {
      this.destroy(`it left ${this.#socket.writableLength} bytes unread`);
      return;
    }
    this.#socket.write(frame);
  }

  /** Closes once everything was written; at the latest after a while. */
  end(cause: string): void {
    this.#cause ??= cause;
    if (this.#socket.destroyed) return;
    this.#socket.end();
    const timer = setTimeout(() => this.#socket.destroy(), 500);
    this.#socket.once("close", () => clearTimeout(timer));
  }

  /** Closes at once. */
  destroy(cause: string): void {
    this.#cause ??= cause;
    this.#socket.destroy();
  }

  #read(piece: Buffer): void {
    const frames = this.#reader.push(piece);
    while (!this.#socket.destroyed) {
      let message: Incoming;
      try {
        const next = frames.next();
        if (next.done === true) return;
        message = this.#schema.parse(next.value);
      } catch (error) {
        if (!(error instanceof FrameError) && !(error instanceof z.ZodError)) throw error;
        this.#broken = true;
        this.destroy(error instanceof FrameError ? error.message : `a message that breaks the protocol: ${z.prettifyError(error)}`);
        return;
      }
      this.#listener?.message(message);
    }
  }
}
