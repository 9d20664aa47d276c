import { setTimeout as wait } from "node:timers/promises";
import { ConnectionError, FrameError } from "../errors.ts";
import type { Connection } from "../transport/connection.ts";
import { controlFrame, controlMessage, type ControlMessages, type ErrorCode } from "../wire/control-messages.ts";
import {
  decodeFrame, DEFAULT_FRAME_LIMITS, encodeFrame, FRAME_FLAGS, FRAME_HEADER_BYTES, FRAME_MAGIC, PROTOCOL_VERSION, type Frame,
} from "../wire/frame.ts";
import type { Authenticator } from "./authentication.ts";
import { Outbox } from "./connection-handler-outbox.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { ClientRateLimit } from "./rate-limit.ts";
import { errorText, oneLine, Refusal } from "./refusal.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SessionOpener } from "./session-opening.ts";
import type { SessionRegistry } from "./session-registry.ts";
import type { Session, SessionHolder } from "./session.ts";
import type { ServerEvent, ServerLimits } from "./split-server-options.ts";

/** What connections share. */
export interface ConnectionServices {
  readonly welcome: ControlMessages["welcome"];
  readonly limits: ServerLimits;
  readonly authenticator: Authenticator;
  readonly registry: SessionRegistry;
  readonly opener: SessionOpener;
  readonly scheduler: Scheduler;
  readonly metrics: ServerMetrics;
  rateLimitOf(client: string): ClientRateLimit;
  onEvent(event: ServerEvent): void;
}

/** Longest payload before a client has said who it is: room for a bearer token. */
const HANDSHAKE_PAYLOAD_BYTES = 1 << 14;
/** Longest payload of a result; a client can ask for fewer rows at a time. What frames may hold by default. */
const RESULT_PAYLOAD_BYTES: number = DEFAULT_FRAME_LIMITS.payloadBytes;
/** Above so many bytes, or frames, that are in work or not taken by the client yet, no more is read from it. */
const PENDING_BYTES = 8 << 20;
const PENDING_FRAMES = 512;
/** Milliseconds for last words to a client. */
const LAST_WORDS = 1000;
/** Milliseconds between looks at a rate limit, at the most. */
const LONGEST_DELAY = 250;

/** One connection from its first byte to its last: who is there, which sessions it works with, what goes back to it. */
export class ConnectionHandler implements SessionHolder {
  readonly #connection: Connection;
  readonly #services: ConnectionServices;
  readonly #outbox: Outbox;
  readonly #sessions = new Map<number, Session>();
  #client: string;
  #principal: string | undefined;
  #isAuthenticated = false;
  #lastHandle = 0;
  #isEnded = false;
  /** Frames that were taken in and not answered yet: their payloads and what their results will take. */
  #inWork = 0;
  #inWorkBytes = 0;
  #room: (() => void) | undefined;
  #lastFrame: number = performance.now();

  constructor(connection: Connection, services: ConnectionServices) {
    this.#connection = connection;
    this.#services = services;
    this.#client = connection.peer;
    this.#outbox = new Outbox(connection, {
      onSent: (bytes) => {
        services.metrics.framesSent.inc();
        services.metrics.bytesSent.inc(bytes);
        this.#lastFrame = performance.now();
        this.#room?.();
      },
      onFailure: () => this.#shut("the client does not take what is sent"),
    });
  }

  /** Serves until the connection ends. Never rejects. */
  async serve(): Promise<void> {
    this.#event("connected");
    try {
      await this.#handshake();
      for (let frame = await this.#receive(); frame !== undefined; frame = await this.#receive()) await this.#handle(frame);
      this.#event("disconnected");
    } catch (error) {
      await this.#fail(error);
    } finally {
      this.#end();
    }
  }

  answer(frame: Frame): void {
    if (!this.#isEnded) this.#outbox.push(encodeFrame(frame));
  }

  released(handle: number, code: ErrorCode, reason: string): void {
    this.#sessions.delete(handle);
    this.#error(code, reason, { session: handle });
    void this.#endUnlessRead();
  }

  /** A session can go from one connection to the next as often as its client likes: it is not to leave results behind that nobody reads. */
  async #endUnlessRead(): Promise<void> {
    await Promise.race([this.#outbox.flushed(), wait(LAST_WORDS, undefined, { ref: false })]);
    if (!this.#isEnded && this.#outbox.stalledFor(performance.now()) > LAST_WORDS / 2) this.#shut("the client does not read");
  }

  /** Closes a connection that has nothing to do with any session for too long, or does not read. */
  checkIdle(now: number): void {
    const longest = 1000 * this.#services.limits.expirySeconds;
    if (this.#outbox.stalledFor(now) > longest) this.#shut("the client does not read");
    else if (this.#isAuthenticated && this.#sessions.size === 0 && this.#inWork === 0 && now - this.#lastFrame > longest) {
      this.#shut("idle");
    }
  }

  /** Says why, and ends the connection once that is sent. */
  async dismiss(code: ErrorCode, reason: string): Promise<void> {
    this.#error(code, reason);
    await Promise.race([this.#outbox.flushed(), wait(LAST_WORDS, undefined, { ref: false })]);
    this.#shut(reason);
  }

  /** Ends the connection, whatever `serve` waits for. */
  #shut(reason: string): void {
    this.#isEnded = true;
    this.#connection.close(reason);
    this.#room?.();
  }

  async #handshake(): Promise<void> {
    const { authenticator, limits, welcome } = this.#services;
    let name: string;
    const deadline = setTimeout(() => {
      void this.dismiss("unauthorized", `no authentication within ${limits.handshakeSeconds} seconds`);
    }, 1000 * limits.handshakeSeconds);
    try {
      ({ client: name } = controlMessage("hello", await this.#receiveFirst()));
      const challenge = authenticator.challenge();
      this.answer(controlFrame("challenge", challenge));
      const answer = controlMessage("authenticate", await this.#receiveFirst());
      const verified = authenticator.verify(challenge, answer);
      if (verified === undefined) throw new Refusal("unauthorized", `${answer.method}: the credentials are not those of a client`);
      this.#principal = verified.principal;
      this.#client = verified.principal === undefined ? `address ${this.#connection.peer}` : `principal ${verified.principal}`;
      this.#isAuthenticated = true;
      this.#connection.authenticated?.();
    } finally {
      clearTimeout(deadline);
    }
    this.#event("authenticated", undefined, name);
    this.answer(controlFrame("welcome", welcome));
  }

  async #receiveFirst(): Promise<Frame> {
    const bytes = await this.#connection.receive();
    if (bytes === undefined) throw new ConnectionError("the connection ended before the client said who it is");
    this.#received(bytes);
    return decode(bytes, HANDSHAKE_PAYLOAD_BYTES);
  }

  /** The next frame, read only when there is room for what becomes of it. */
  async #receive(): Promise<Frame | undefined> {
    while (!this.#isEnded && this.#isFull()) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
    this.#room = undefined;
    const bytes = this.#isEnded ? undefined : await this.#connection.receive();
    if (bytes === undefined) return undefined;
    this.#received(bytes);
    const limit = this.#services.rateLimitOf(this.#client);
    for (let seconds = limit.take(bytes.length); seconds > 0 && !this.#isEnded; seconds = limit.take(bytes.length)) {
      this.#services.metrics.delays.inc();
      // The client is slowed down, not refused: what it sends waits in its own buffers.
      await wait(Math.min(LONGEST_DELAY, Math.max(1, 1000 * seconds)), undefined, { ref: false });
    }
    return decode(bytes, this.#services.welcome.limits.payloadBytes);
  }

  #isFull(): boolean {
    return this.#outbox.bytes + this.#inWorkBytes > PENDING_BYTES || this.#outbox.frames + this.#inWork > PENDING_FRAMES;
  }

  #received(bytes: Uint8Array): void {
    const { metrics } = this.#services;
    metrics.framesReceived.inc();
    metrics.bytesReceived.inc(bytes.length);
    this.#lastFrame = performance.now();
  }

  async #handle(frame: Frame): Promise<void> {
    switch (frame.type) {
      case "activation":
        return this.#activation(frame);
      case "open":
        return this.#open(controlMessage("open", frame));
      case "resume":
        return this.#resume(controlMessage("resume", frame));
      case "close":
        return this.#close(controlMessage("close", frame).session);
      default:
        throw new FrameError(`a ${frame.type} frame is nothing that a client sends here`);
    }
  }

  async #open(message: ControlMessages["open"]): Promise<void> {
    const { opener, registry, limits } = this.#services;
    const { request } = message;
    try {
      const { session, prefixMessages } = await opener.open(message, { client: this.#client, principal: this.#principal });
      // Nobody else knows of it.
      if (this.#isEnded) return registry.remove(session);
      const handle = this.#attach(session);
      const { metrics } = this.#services;
      if ((message.prefixes?.length ?? 0) > 0) metrics.prefixLookups.inc({ outcome: prefixMessages > 0 ? "hit" : "miss" });
      metrics.prefixTokens.inc(session.cache.length);
      this.#event("opened", session);
      this.answer(controlFrame("opened", {
        request, session: handle, id: session.settings.id, secret: Buffer.from(session.settings.secret).toString("hex"),
        prefixMessages, prefixTokens: session.cache.length, expirySeconds: limits.expirySeconds,
      }));
    } catch (error) {
      this.#refuse(error, { request });
    }
  }

  async #resume({ request, id, secret, received }: ControlMessages["resume"]): Promise<void> {
    const { registry, metrics } = this.#services;
    try {
      const session = registry.find(id, secret, this.#principal);
      session.lastUse = performance.now();
      checkReceived(received, session.arrived);
      do {
        // Also those who take it up while this one waits.
        this.#takeFromHolder(session);
        // What waits is sent again by the client; what is being computed is awaited, to know whether it has to be.
        session.dropWaiting();
        await session.computing;
      } while (session.holder !== undefined);
      if (this.#isEnded) return;
      if (session.isClosed) throw new Refusal("unknown-session", "the session ended meanwhile");
      checkReceived(received, session.applied);
      const handle = this.#attach(session);
      metrics.resumes.inc();
      this.#event("resumed", session);
      this.answer(controlFrame("resumed", { request, session: handle, applied: session.applied, position: session.cache.length }));
      if (received < session.applied && session.kept !== undefined) session.answer(session.kept);
    } catch (error) {
      this.#refuse(error, { request });
    }
  }

  #takeFromHolder(session: Session): void {
    const { holder, handle } = session;
    session.holder = undefined;
    if (holder === this) this.#sessions.delete(handle);
    else holder?.released(handle, "unknown-session", "the session was taken up by another connection");
  }

  #attach(session: Session): number {
    const handle = ++this.#lastHandle;
    session.holder = this;
    session.handle = handle;
    session.lastUse = performance.now();
    this.#sessions.set(handle, session);
    return handle;
  }

  async #close(handle: number): Promise<void> {
    const { registry, scheduler } = this.#services;
    const session = this.#sessions.get(handle);
    if (session === undefined) {
      return this.#error("unknown-session", `session ${handle} is not open on this connection`, { session: handle });
    }
    this.#sessions.delete(handle);
    session.holder = undefined;
    registry.remove(session, () => scheduler.keepPrefix(session));
    // The answer means that its memory is free.
    await session.computing;
    this.#event("closed", session);
    this.answer(controlFrame("closed", { session: handle }));
  }

  #activation(frame: Frame): void {
    const { scheduler, metrics } = this.#services;
    const { session: handle, sequence } = frame;
    const session = this.#sessions.get(handle);
    try {
      if (session === undefined) throw new Refusal("unknown-session", `session ${handle} is not open on this connection`);
      session.lastUse = performance.now();
      if (sequence <= session.arrived) {
        // A repetition: of the last one it asks for its result once more, any other has been answered or will be.
        if (sequence !== session.applied || session.waiting.length > 0 || session.kept === undefined) return;
        metrics.repeats.inc();
        session.answer(session.kept);
        return;
      }
      if (sequence !== session.arrived + 1) {
        throw new Refusal("out-of-order", `activation ${sequence} came where ${session.arrived + 1} was due`);
      }
      this.#checkActivation(session, frame);
      const bytes = frame.payload.length + scheduler.resultBytes(session, frame);
      this.#inWork++;
      this.#inWorkBytes += bytes;
      const done = (): void => {
        this.#inWork--;
        this.#inWorkBytes -= bytes;
        this.#room?.();
      };
      scheduler.enqueue(session, { frame, arrived: performance.now(), done });
    } catch (error) {
      this.#refuse(error, { session: handle, sequence });
    }
  }

  /** What can be said of an activation before its turn. @throws Refusal */
  #checkActivation(session: Session, frame: Frame): void {
    const { scheduler, limits, welcome } = this.#services;
    const { settings } = session;
    const expect = (name: string, value: unknown, expected: unknown): void => {
      if (value !== expected) throw new Refusal("bad-message", `${name} ${String(value)}; this session's is ${String(expected)}`);
    };
    expect("dtype", frame.dtype, "codec");
    expect("codec", frame.codec, settings.codecId);
    expect("table", frame.table, settings.tableWord);
    expect("block", frame.block, settings.splitBlock);
    expect("hiddenSize", frame.hiddenSize, welcome.model.hiddenSize);
    const { value, allRows } = FRAME_FLAGS;
    if ((frame.flags & ~(value | allRows)) !== 0) throw new Refusal("bad-message", "an activation cannot end a sequence");
    if (frame.flags === allRows) throw new Refusal("bad-message", "the values of all rows go with the flag for a value");
    if (frame.tokens < 1) throw new Refusal("bad-message", "an activation without tokens");
    if (frame.tokens > limits.tokensPerFrame) {
      throw new Refusal("quota", `${frame.tokens} tokens in a frame; use at most ${limits.tokensPerFrame}`);
    }
    if (frame.position + frame.tokens > settings.capacity) {
      throw new Refusal("context-length", `${frame.position + frame.tokens} tokens exceed the session's ${settings.capacity}`);
    }
    if (settings.result === "token" && (frame.flags & allRows) !== 0) {
      throw new Refusal("unsupported", "a token for every row; ask for logits, or for the last row");
    }
    const resultBytes = scheduler.resultBytes(session, frame);
    if (resultBytes > RESULT_PAYLOAD_BYTES) {
      throw new Refusal("quota", `a result of ${resultBytes} bytes exceeds ${RESULT_PAYLOAD_BYTES}; send fewer tokens at a time`);
    }
  }

  #refuse(error: unknown, about: { readonly request?: number; readonly session?: number; readonly sequence?: number }): void {
    if (error instanceof Refusal) return this.#error(error.code, error.message, about, error.retryAfterSeconds);
    this.#event("failed", undefined, errorText(error));
    this.#error("internal", "the server failed", about);
  }

  #error(
    code: ErrorCode, message: string, about: { readonly request?: number; readonly session?: number; readonly sequence?: number } = {},
    retryAfterSeconds?: number,
  ): void {
    this.#services.metrics.refused(code);
    this.#event("refused", undefined, `${code}: ${message}`);
    this.answer(controlFrame("error", {
      code, message: message.slice(0, 2048), ...about, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    }));
  }

  /** Last words, by what ended the connection. */
  async #fail(error: unknown): Promise<void> {
    if (error instanceof FrameError) await this.dismiss("bad-frame", error.message);
    else if (error instanceof Refusal) await this.dismiss(error.code, error.message);
    else if (error instanceof ConnectionError) this.#event("disconnected", undefined, errorText(error));
    else {
      this.#event("failed", undefined, errorText(error));
      await this.dismiss("internal", "the server failed");
    }
  }

  /** Sessions stay until they expire, for the client to take up again. */
  #end(): void {
    this.#isEnded = true;
    for (const session of this.#sessions.values()) session.holder = undefined;
    this.#sessions.clear();
    this.#outbox.end();
    this.#room?.();
    this.#connection.close();
  }

  #event(kind: ServerEvent["kind"], session?: Session, detail?: string): void {
    this.#services.onEvent({
      kind, peer: this.#connection.peer,
      ...(this.#principal === undefined ? {} : { principal: this.#principal }),
      ...(session === undefined ? {} : { session: session.label }),
      ...(detail === undefined ? {} : { detail: oneLine(detail) }),
    });
  }
}

/** @throws Refusal for a result that the server cannot have sent */
function checkReceived(received: number, last: number): void {
  if (received > last) throw new Refusal("out-of-order", `result ${received} has not been sent; the last is ${last}`);
}

/** @throws FrameError, Refusal for a frame of another version of the protocol */
function decode(bytes: Uint8Array, payloadBytes: number): Frame {
  const version = bytes[4];
  const isFrame = bytes.length >= FRAME_HEADER_BYTES && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) === FRAME_MAGIC;
  if (isFrame && version !== PROTOCOL_VERSION) {
    throw new Refusal("unsupported", `protocol version ${version}; this server speaks ${PROTOCOL_VERSION}`);
  }
  return decodeFrame(bytes, { ...DEFAULT_FRAME_LIMITS, payloadBytes });
}
