import { ConnectionError, FrameError, RemoteError } from "../errors.ts";
import type { Connection } from "../transport/connection.ts";
import { controlFrame, controlMessage, type ControlMessages } from "../wire/control-messages.ts";
import { decodeFrame, encodeFrame, type Frame, type FrameLimits } from "../wire/frame.ts";
import type { TrafficMeter } from "./traffic.ts";

/** What a session hears of its handle on a connection. */
export interface ChannelListener {
  result(frame: Frame): void;
  refused(error: ControlMessages["error"]): void;
}

/** A request on its way. */
interface PendingRequest {
  readonly reply: "opened" | "resumed";
  readonly listener: ChannelListener;
  readonly resolve: (message: ControlMessages["opened"] | ControlMessages["resumed"]) => void;
  readonly reject: (error: Error) => void;
}

/** A refusal as an error, with what the server said of when to come back. */
export class Refusal extends RemoteError {
  readonly retryAfterSeconds: number | undefined;

  constructor({ code, message, retryAfterSeconds }: ControlMessages["error"]) {
    super(code, message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** One connection after its handshake: requests and the frames of sessions, until it ends. It knows nothing of reconnection. */
export class Channel {
  readonly welcome: ControlMessages["welcome"];
  readonly #connection: Connection;
  readonly #limits: FrameLimits;
  readonly #meter: TrafficMeter;
  readonly #requests = new Map<number, PendingRequest>();
  readonly #sessions = new Map<number, ChannelListener>();
  #nextRequest = 1;
  #ended: Error | undefined;
  /** Resolves, with the reason, when the connection has ended. */
  readonly end: Promise<Error>;

  constructor(
    connection: Connection,
    { welcome, limits, meter }: {
      readonly welcome: ControlMessages["welcome"]; readonly limits: FrameLimits; readonly meter: TrafficMeter;
    },
  ) {
    this.#connection = connection;
    this.welcome = welcome;
    this.#limits = limits;
    this.#meter = meter;
    this.end = this.#read();
  }

  get peer(): string {
    return this.#connection.peer;
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** Asks for a session. @throws RemoteError when it is refused, ConnectionError when the connection ends before the answer */
  request<Type extends "open" | "resume">(
    type: Type, message: Omit<ControlMessages[Type], "request">, listener: ChannelListener,
  ): Promise<ControlMessages[Type extends "open" ? "opened" : "resumed"]> {
    const request = this.#nextRequest++;
    return new Promise((resolve, reject) => {
      const reply = type === "open" ? "opened" : "resumed";
      this.#requests.set(request, { reply, listener, resolve: resolve as PendingRequest["resolve"], reject });
      const frame = controlFrame(type, { ...message, request } as ControlMessages[Type]);
      this.send(frame).catch((error: unknown) => {
        this.#requests.delete(request);
        reject(error as Error);
      });
    });
  }

  /** Sends a frame; resolves when there is room for another. Returns its bytes' number. @throws ConnectionError */
  async send(frame: Frame): Promise<number> {
    if (this.#ended !== undefined) throw new ConnectionError(`the connection to ${this.peer} has ended`, { cause: this.#ended });
    const bytes = encodeFrame(frame);
    this.#meter.bytesSent += bytes.length;
    await this.#connection.send(bytes);
    return bytes.length;
  }

  /** Nothing more is told to the listener of a handle. */
  forget(handle: number): void {
    this.#sessions.delete(handle);
  }

  /** Ends the connection. */
  close(reason?: string): void {
    this.#connection.close(reason);
  }

  async #read(): Promise<Error> {
    let reason: Error;
    try {
      for (;;) {
        const bytes = await this.#connection.receive();
        if (bytes === undefined) {
          reason = new ConnectionError(`${this.peer} closed the connection`);
          break;
        }
        this.#meter.bytesReceived += bytes.length;
        this.#dispatch(decodeFrame(bytes, this.#limits));
      }
    } catch (error) {
      reason = error instanceof Error ? error : new ConnectionError(String(error));
    }
    this.#ended = reason;
    this.#connection.close(reason.message);
    for (const { reject } of this.#requests.values()) {
      reject(new ConnectionError(`the connection to ${this.peer} ended before the answer`, { cause: reason }));
    }
    this.#requests.clear();
    this.#sessions.clear();
    return reason;
  }

  /** @throws FrameError for frames that a server does not send, Refusal for one that concerns the whole connection */
  #dispatch(frame: Frame): void {
    switch (frame.type) {
      case "result":
        // Those of sessions that were closed meanwhile find nobody.
        this.#sessions.get(frame.session)?.result(frame);
        return;
      case "opened":
      case "resumed": {
        const message = controlMessage(frame.type, frame);
        const pending = this.#requests.get(message.request);
        if (pending?.reply !== frame.type) throw new FrameError(`${frame.type} answers request ${message.request}, which was not made`);
        this.#requests.delete(message.request);
        // At once: a result may be the next frame.
        this.#sessions.set(message.session, pending.listener);
        pending.resolve(message);
        return;
      }
      case "closed":
        this.#sessions.delete(controlMessage("closed", frame).session);
        return;
      case "error":
        this.#refuse(controlMessage("error", frame));
        return;
      default:
        throw new FrameError(`a server does not send ${frame.type} frames here`);
    }
  }

  #refuse(error: ControlMessages["error"]): void {
    if (error.request !== undefined) {
      const pending = this.#requests.get(error.request);
      this.#requests.delete(error.request);
      pending?.reject(new Refusal(error));
    } else if (error.session !== undefined) {
      this.#sessions.get(error.session)?.refused(error);
    } else {
      throw new Refusal(error);
    }
  }
}
