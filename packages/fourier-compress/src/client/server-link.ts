import { ConnectionError, FourierCompressError, FrameError, RemoteError } from "../errors.ts";
import type { Transport } from "../transport/connection.ts";
import type { ControlMessages } from "../wire/control-messages.ts";
import { Channel, Refusal } from "./channel.ts";
import type { ClientEvent } from "./client-events.ts";
import { shakeHands, type HandshakeSettings } from "./handshake.ts";
import { pause, reconnectDelay, type ReconnectSettings } from "./reconnection.ts";

/** A session that lives on a link, through however many connections. */
export interface LinkSession {
  /** Whether something waits for a connection, or a session on the server would be lost without one. */
  readonly needsConnection: boolean;
  /**
   * Takes the session up on a connection and sends what waits; resolves when that has been handed over.
   * @throws RemoteError when the server refuses, ConnectionError when the connection ends meanwhile
   */
  attach(channel: Channel): Promise<void>;
  /** Nothing that waits will come any more. */
  fail(error: Error): void;
}

/** Settings of a link. */
export interface LinkSettings extends HandshakeSettings {
  readonly transport: Transport;
  readonly reconnect: ReconnectSettings;
  /** @throws FourierCompressError when what is served is not what the client needs */
  readonly checkWelcome: (welcome: ControlMessages["welcome"]) => void;
  readonly onEvent: (event: ClientEvent) => void;
}

/** Refusals of a connection or a session that may be otherwise a moment later. */
const PASSING: ReadonlySet<string> = new Set(["busy", "rate-limit", "shutting-down", "internal"]);

/** Whether trying again could help. */
function isPassing(error: unknown): boolean {
  if (error instanceof RemoteError) return PASSING.has(error.code);
  // Damaged bytes are damaged once; anything else that was thrown on purpose will be thrown again.
  return error instanceof ConnectionError || error instanceof FrameError || !(error instanceof FourierCompressError);
}

/** Milliseconds that a server asked to be left alone for. */
function askedDelay(error: unknown): number {
  return error instanceof Refusal ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
}

/** A connection to a server that is made anew when it breaks, and the sessions on it. */
export class ServerLink {
  readonly #settings: LinkSettings;
  readonly #sessions = new Set<LinkSession>();
  readonly #attaching = new Set<LinkSession>();
  /** Those of them that were woken meanwhile: what is being taken up may be lost again before it is done. */
  readonly #woken = new Set<LinkSession>();
  readonly #closing = new AbortController();
  #channel: Channel | undefined;
  #welcome: ControlMessages["welcome"] | undefined;
  #reconnecting = false;
  /** Connections that failed, or broke before anything came of them, in a row. */
  #failures = 0;

  private constructor(settings: LinkSettings) {
    this.#settings = settings;
  }

  /** One attempt: a server that is not there is told at once. */
  static async connect(settings: LinkSettings): Promise<ServerLink> {
    const link = new ServerLink(settings);
    await link.#open();
    return link;
  }

  /** What the server said it serves, last. */
  get welcome(): ControlMessages["welcome"] {
    return this.#welcome!;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The session is taken up on this and every later connection, until `remove`. */
  add(session: LinkSession): void {
    this.#sessions.add(session);
  }

  remove(session: LinkSession): void {
    this.#sessions.delete(session);
  }

  /** Something came of the connection: failures are counted from here. */
  progressed(): void {
    this.#failures = 0;
  }

  /** A session has to be taken up; whatever comes of it is told to the session. */
  wake(session: LinkSession): void {
    if (this.isClosed) session.fail(new ConnectionError("the client is closed"));
    else if (this.#channel === undefined) void this.#reconnect();
    // Of one that has just ended, `#ended` hears next, and sees to the session.
    else if (!this.#channel.hasEnded) void this.#attach(session, this.#channel);
  }

  /** Ends the connection for good. */
  close(): void {
    if (this.isClosed) return;
    this.#closing.abort();
    this.#channel?.close("the client closed");
    this.#failAll(new ConnectionError("the client was closed"));
  }

  #failAll(error: Error): void {
    for (const session of this.#sessions) session.fail(error);
  }

  async #open(): Promise<Channel> {
    const { transport, checkWelcome, onEvent, limits, meter } = this.#settings;
    const { signal } = this.#closing;
    const connection = await transport({ signal });
    const welcome = await shakeHands(connection, this.#settings);
    try {
      checkWelcome(welcome);
      if (signal.aborted) throw new ConnectionError("the client was closed");
    } catch (error) {
      connection.close("not what the client needs");
      throw error;
    }
    meter.connections++;
    const channel = new Channel(connection, { welcome, limits, meter });
    this.#channel = channel;
    this.#welcome = welcome;
    onEvent({ kind: "connected", peer: channel.peer, server: welcome.server });
    void channel.end.then((reason) => this.#ended(channel, reason));
    return channel;
  }

  #ended(channel: Channel, reason: Error): void {
    if (this.#channel === channel) this.#channel = undefined;
    if (this.isClosed) return;
    this.#settings.onEvent({ kind: "disconnected", peer: channel.peer, reason: reason.message });
    if (!isPassing(reason)) {
      this.#failAll(reason);
    } else if ([...this.#sessions].some((session) => session.needsConnection)) {
      void this.#reconnect(reason);
    }
  }

  async #reconnect(reason?: Error): Promise<void> {
    if (this.#reconnecting) return;
    this.#reconnecting = true;
    const { reconnect, onEvent } = this.#settings;
    let last: unknown = reason;
    try {
      for (;;) {
        const attempt = this.#failures++;
        if (attempt >= reconnect.attempts || !(last === undefined || isPassing(last))) break;
        const delay = Math.max(reconnectDelay(reconnect, attempt, Math.random()), askedDelay(last));
        onEvent({ kind: "reconnecting", attempt: attempt + 1, delayMilliseconds: delay });
        await pause(delay, this.#closing.signal);
        if (this.isClosed) return;
        try {
          const channel = await this.#open();
          for (const session of this.#sessions) if (session.needsConnection) void this.#attach(session, channel);
          return;
        } catch (error) {
          last = error;
        }
      }
    } finally {
      this.#reconnecting = false;
    }
    // The next session that is woken tries anew.
    this.#failures = 0;
    const detail = last instanceof Error ? last.message : "no attempt was allowed";
    onEvent({ kind: "gave-up", reason: detail });
    if (last instanceof FourierCompressError && !isPassing(last)) this.#failAll(last);
    else this.#failAll(new ConnectionError(`the connection could not be made again: ${detail}`, { cause: last }));
  }

  async #attach(session: LinkSession, channel: Channel): Promise<void> {
    if (this.#attaching.has(session)) {
      this.#woken.add(session);
      return;
    }
    this.#attaching.add(session);
    const { reconnect } = this.#settings;
    try {
      for (let attempt = 0; !channel.hasEnded && this.#sessions.has(session); attempt++) {
        try {
          do {
            this.#woken.delete(session);
            await session.attach(channel);
          } while (this.#woken.has(session) && !channel.hasEnded);
          if (!channel.hasEnded) return;
        } catch (error) {
          if (channel.hasEnded) break;
          if (!isPassing(error) || attempt >= reconnect.attempts) {
            session.fail(error as Error);
            // What broke the protocol is not trusted any further.
            if (error instanceof FrameError) channel.close(error.message);
            return;
          }
          await pause(Math.max(reconnectDelay(reconnect, attempt, Math.random()), askedDelay(error)), this.#closing.signal);
        }
      }
    } finally {
      this.#attaching.delete(session);
      this.#woken.delete(session);
    }
    // The connection ended on the way: a newer one may be there already, and have passed this session by.
    if (this.#sessions.has(session) && session.needsConnection && !this.isClosed) this.wake(session);
  }
}
