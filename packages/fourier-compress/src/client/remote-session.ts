import { ConnectionError, FourierCompressError, FrameError, RemoteError, SessionLostError } from "../errors.ts";
import { controlFrame, type ControlMessages } from "../wire/control-messages.ts";
import { FRAME_FLAGS, FRAME_HEADER_BYTES, makeFrame, type Frame } from "../wire/frame.ts";
import { Refusal, type Channel, type ChannelListener } from "./channel.ts";
import { KeptMessages, type KeptMessage, type StreamMessage } from "./kept-messages.ts";
import { prefixKeysOf } from "./prefix-keys.ts";
import { pause } from "./reconnection.ts";
import { ResultWatch } from "./result-watch.ts";
import type { LinkSession } from "./server-link.ts";
import type { SessionScope, SessionSettings, SessionTicket } from "./session-scope.ts";

/** Somebody who waits for a result. */
interface Waiter {
  readonly resolve: (frame: Frame) => void;
  readonly reject: (error: Error) => void;
  sentAt: number;
  timesSent: number;
}

/** Codes of refusals after which the same frame may be taken. */
const PASSING: ReadonlySet<string> = new Set(["rate-limit", "busy"]);
/** Times that a frame is offered again after such a refusal. */
const MOST_RETRIES = 8;
/** Milliseconds before that, where the server names none. */
const RETRY_DELAY = 200;
/** Longest time that a server can ask for. */
const LONGEST_RETRY = 10_000;
/** Times that a session is taken back from another connection: two that go on with one session do it for ever. */
const MOST_THEFTS = 3;

function takenUp(): SessionLostError {
  return new SessionLostError("another client has taken up the session and goes on with it, which one at a time can");
}

/**
 * One stream of activations and the key-value cache that it makes on the server. Outlives connections: unanswered frames are kept and sent
 * again after a `resume`, and where the server has lost the session the whole stream is sent into a new one. The caller sends one message
 * that wants a value at a time; messages without may be under way together.
 */
export class RemoteSession implements LinkSession, ChannelListener {
  readonly #scope: SessionScope;
  readonly #settings: SessionSettings;
  readonly #kept: KeptMessages;
  readonly #waiters = new Map<KeptMessage, Waiter>();
  #ticket: SessionTicket | undefined;
  /** Where the session is attached; undefined while it is not. */
  #channel: Channel | undefined;
  /** Since when it is attached there. */
  #attachedAt = 0;
  /** The connection that was asked for the session and has not answered, and since when. */
  #asked: { readonly channel: Channel; readonly since: number } | undefined;
  #handle = 0;
  /** Of the server's session: the last number that was sent into it, or is known to have arrived there. */
  #lastSequence = 0;
  #lastResult = 0;
  /** Tokens that the server has drawn for this stream. */
  #drawn: number;
  /** Number of the last message that was acknowledged before the server's session began, and told to it once more. */
  #replayed = 0;
  #retries = 0;
  /** Whether the server said on a connection in use that the session is not there: it has expired, or was taken up by another. */
  #isMissed = false;
  #thefts = 0;
  /** Times that a server's session was begun, for telling the first from those that replace it. */
  #openings = 0;
  #isDisposed = false;
  readonly #watch: ResultWatch;

  /** @param restored what an earlier process left: its messages up to now all acknowledged, results received, tokens drawn */
  constructor(
    scope: SessionScope, settings: SessionSettings,
    restored: { readonly kept?: KeptMessages; readonly ticket?: SessionTicket; readonly received?: number; readonly drawn?: number } = {},
  ) {
    this.#scope = scope;
    this.#settings = settings;
    this.#kept = restored.kept ?? new KeptMessages(scope.keptBytes);
    this.#ticket = restored.ticket;
    this.#lastSequence = this.#lastResult = restored.received ?? 0;
    this.#drawn = restored.drawn ?? 0;
    this.#openings = restored.ticket === undefined ? 0 : 1;
    this.#watch = new ResultWatch(scope.resultTimeout, {
      oldest: () => this.#owedSince(),
      overdue: (reason) => (this.#asked?.channel ?? this.#channel)?.close(reason),
    });
    scope.link.add(this);
  }

  /** Whether the server has been told of it. */
  get isOpen(): boolean {
    return this.#ticket !== undefined;
  }

  get needsConnection(): boolean {
    return !this.#isDisposed && (this.#waiters.size > 0 || this.#ticket !== undefined);
  }

  /** Since when the connection owes an answer: not since before it was there, whatever was sent over another one. */
  #owedSince(): number {
    if (this.#asked !== undefined) return this.#asked.since;
    if (this.#channel === undefined) return Infinity;
    return Math.max(this.#attachedAt, Math.min(...[...this.#waiters.values()].map(({ sentAt }) => sentAt || Infinity)));
  }

  /** Bytes of the messages kept. */
  get keptBytes(): number {
    return this.#kept.byteLength;
  }

  /**
   * Sends a message and resolves to its result, through however many connections that takes.
   * @throws RemoteError when the server refuses it, ConnectionError when no connection comes, SessionLostError when the server lost what is
   * not kept here, FrameError for an answer that is none
   */
  send(message: StreamMessage): Promise<Frame> {
    if (this.#isDisposed) return Promise.reject(new ConnectionError("the session is closed"));
    // Its number is that of its turn to be sent: what is given up before leaves no gap.
    const kept: KeptMessage = { ...message, sequence: 0, isAcknowledged: false };
    this.#kept.truncate(message.position);
    this.#kept.push(kept);
    const result = new Promise<Frame>((resolve, reject) => {
      this.#waiters.set(kept, { resolve, reject, sentAt: 0, timesSent: 0 });
    });
    if (this.#channel === undefined || this.#channel.hasEnded) this.#scope.link.wake(this);
    else void this.#flush(this.#channel);
    return result;
  }

  /**
   * Sends messages of which only the last wants a value, as one stretch: where the session is new, the server is asked first which of them
   * it knows. Resolves to the last one's result.
   */
  async sendAll(messages: readonly StreamMessage[]): Promise<Frame> {
    const results = messages.map((message) => this.send(message));
    // Whichever fails first is told; the others fail with it.
    return (await Promise.all(results)).at(-1)!;
  }

  /** The stream up to `length` as a session of its own, which the server is told of when something is sent into it. */
  fork(length: number, settings: SessionSettings): RemoteSession {
    const kept = this.#kept.fork(length);
    if (!kept.isWhole) throw this.#lost("the session cannot be forked");
    return new RemoteSession(this.#scope, settings, { kept });
  }

  #lost(what: string): SessionLostError {
    return new SessionLostError(
      `${what}: its first messages are no longer kept here (limit ${this.#kept.byteLimit} bytes); raise keptBytes, or begin anew`,
    );
  }

  async attach(channel: Channel): Promise<void> {
    if (this.#channel === channel || this.#isDisposed) return;
    if (this.#ticket !== undefined && !(await this.#resume(channel, this.#ticket))) this.#ticket = undefined;
    if (this.#ticket === undefined) {
      // What idles is rebuilt when it is needed.
      if (this.#waiters.size === 0) return;
      await this.#open(channel);
    }
    if (this.#isDisposed) {
      this.#leaveHandle(channel, this.#handle);
      return;
    }
    this.#channel = channel;
    this.#attachedAt = performance.now();
    await this.#flush(channel);
  }

  /** As `Channel.request`, within the time that results have. */
  async #ask<Type extends "open" | "resume">(
    channel: Channel, type: Type, message: Omit<ControlMessages[Type], "request">,
  ): Promise<ControlMessages[Type extends "open" ? "opened" : "resumed"]> {
    this.#asked = { channel, since: performance.now() };
    this.#watch.begin();
    try {
      return await channel.request(type, message, this);
    } finally {
      this.#asked = undefined;
      if (this.#waiters.size === 0) this.#watch.end();
    }
  }

  /** False when the server does not hold the session. */
  async #resume(channel: Channel, { id, secret }: SessionTicket): Promise<boolean> {
    // What this process has not sent yet, one before it may have, under these numbers: a result can come right behind the answer.
    let number = this.#lastSequence;
    for (const [message, { sentAt }] of this.#waiters) if (sentAt === 0) message.sequence = ++number;
    let resumed: ControlMessages["resumed"];
    try {
      resumed = await this.#ask(channel, "resume", { id, secret, received: this.#lastResult });
    } catch (error) {
      // Gone, or not at the place where this stream left it: either way it has to be told anew.
      if (error instanceof RemoteError && (error.code === "unknown-session" || error.code === "out-of-order")) {
        this.#isMissed = false;
        return false;
      }
      throw error;
    }
    const { applied } = resumed;
    if (this.#isMissed) this.#thefts++;
    this.#isMissed = false;
    const isPassedBy = [...this.#waiters.keys()].some(({ sequence, flags }) => (flags & FRAME_FLAGS.value) !== 0 && sequence < applied);
    if (isPassedBy) {
      // What it has drawn since is not kept there. Another client's, or that of a journal that lost its last lines, is begun anew.
      channel.forget(resumed.session);
      if (this.#thefts > 0) throw takenUp();
      return false;
    }
    // A server that holds less than it has answered is none to build upon.
    if (applied < this.#lastResult || (applied < this.#replayed && !this.#kept.isWhole)) {
      this.#leaveHandle(channel, resumed.session);
      return false;
    }
    this.#handle = resumed.session;
    // Numbers count on from what has arrived there.
    this.#lastSequence = applied;
    const missing: KeptMessage[] = [];
    for (const message of this.#kept.all) {
      const waiter = this.#waiters.get(message);
      if (waiter === undefined) {
        if (message.sequence <= applied) continue;
        message.sequence = ++this.#lastSequence;
        missing.push(message);
      } else if (message.sequence === 0 || message.sequence > applied) {
        message.sequence = waiter.sentAt = 0;
      } else {
        if ((message.flags & FRAME_FLAGS.value) === 0) this.#acknowledge(message, makeFrame("result"));
        // Its result is on its way, though this process may never have sent it.
        else waiter.sentAt ||= performance.now();
      }
    }
    const resent = missing.length + [...this.#waiters.values()].filter(({ sentAt }) => sentAt === 0).length;
    this.#scope.meter.resumes++;
    this.#scope.onEvent({ kind: "resumed", session: id, resent });
    await this.#replay(channel, missing);
    return true;
  }

  async #open(channel: Channel): Promise<void> {
    const { meter, onEvent, fingerprint, splitBlock, codec, table, link } = this.#scope;
    if (!this.#kept.isWhole) throw this.#lost("the server no longer holds the session, and it cannot be rebuilt");
    const { sampling } = this.#settings;
    const prefixes = await prefixKeysOf(this.#kept, this.#scope);
    const opened = await this.#ask(channel, "open", {
      fingerprint, splitBlock, codec: codec.name, result: this.#settings.result,
      capacity: Math.min(this.#settings.capacity, link.welcome.limits.tokensPerSession),
      ...(table === undefined ? {} : { table }),
      ...(sampling === undefined ? {} : { sampling: { ...sampling, ...(this.#drawn === 0 ? {} : { drawn: this.#drawn }) } }),
      ...(prefixes.length === 0 ? {} : { prefixes }),
    });
    const { id, secret, prefixMessages, prefixTokens } = opened;
    const messages = [...this.#kept.all];
    const spared = messages.slice(0, prefixMessages).reduce((total, { tokens }) => total + tokens, 0);
    if (prefixMessages > prefixes.length || spared !== prefixTokens) {
      throw new FrameError(`the server knows ${prefixTokens} tokens of ${prefixMessages} messages; they hold ${spared}`);
    }
    this.#handle = opened.session;
    this.#lastSequence = this.#lastResult = 0;
    for (const [index, message] of messages.entries()) {
      const waiter = this.#waiters.get(message);
      if (waiter !== undefined) waiter.sentAt = 0;
      message.sequence = index < prefixMessages || waiter !== undefined ? 0 : ++this.#lastSequence;
      if (index < prefixMessages && waiter !== undefined) this.#acknowledge(message, makeFrame("result"));
    }
    const missing = messages.filter((message) => message.isAcknowledged && message.sequence > 0);
    this.#replayed = missing.at(-1)?.sequence ?? 0;
    const ticket = { id, secret, skipped: prefixMessages };
    this.#ticket = ticket;
    meter.reusedTokens += prefixTokens;
    if (this.#openings++ === 0) {
      onEvent({ kind: "opened", session: id, reusedTokens: prefixTokens });
    } else {
      meter.rebuilds++;
      onEvent({ kind: "rebuilt", session: id, messages: missing.length, reusedTokens: prefixTokens });
    }
    await this.#settings.onTicket?.(ticket);
    await this.#replay(channel, missing);
  }

  /** Tells messages once more, without the values that are here already. */
  async #replay(channel: Channel, messages: readonly KeptMessage[]): Promise<void> {
    for (const message of messages) {
      await this.#sendFrame(channel, message, message.flags & ~(FRAME_FLAGS.value | FRAME_FLAGS.allRows), true);
    }
  }

  async #sendFrame(channel: Channel, message: KeptMessage, flags: number, isAgain: boolean): Promise<void> {
    const { codec, hiddenSize, splitBlock, table, meter } = this.#scope;
    const { sequence, position, tokens, payload } = message;
    const word = table === undefined ? 0 : Number.parseInt(table.slice(0, 8).replace(/(..)(..)(..)(..)/, "$4$3$2$1"), 16);
    const bytes = FRAME_HEADER_BYTES + payload.length;
    if (isAgain) {
      meter.resentBytes += bytes;
    } else {
      meter.messages++;
      meter.tokens += tokens;
      meter.values += tokens * hiddenSize;
      meter.elements += message.elements;
      meter.activationBytes += bytes;
      meter.messageBytes += payload.length;
    }
    await channel.send(makeFrame("activation", {
      flags, session: this.#handle, sequence, position, tokens, hiddenSize, block: splitBlock, codec: codec.id, dtype: "codec", table: word,
      payload,
    }));
  }

  /** Sends what has not been sent on this connection, in order; a connection that ends leaves it to the next. */
  async #flush(channel: Channel): Promise<void> {
    for (const [message, waiter] of this.#waiters) {
      if (this.#channel !== channel || channel.hasEnded) return;
      if (waiter.sentAt > 0) continue;
      waiter.sentAt = performance.now();
      // Before anything is waited for: a network that says nothing more takes nothing either.
      this.#watch.begin();
      message.sequence = ++this.#lastSequence;
      try {
        await this.#sendFrame(channel, message, message.flags, waiter.timesSent++ > 0);
      } catch (error) {
        if (!channel.hasEnded) channel.close(error instanceof Error ? error.message : String(error));
        return;
      }
    }
  }

  result(frame: Frame): void {
    for (const [message, waiter] of this.#waiters) {
      if (message.sequence === 0 || message.sequence > frame.sequence) break;
      const isIt = message.sequence === frame.sequence;
      const wantsValue = (message.flags & FRAME_FLAGS.value) !== 0;
      if (wantsValue && !(isIt && (frame.flags & FRAME_FLAGS.value) !== 0)) {
        this.#reject(message, new FrameError(`message ${message.sequence} was to be answered with a value, and was not`));
        continue;
      }
      if (isIt && frame.position !== message.position + message.tokens) {
        const expected = message.position + message.tokens;
        this.#reject(message, new FrameError(`the server holds ${frame.position} tokens after message ${frame.sequence}, not ${expected}`));
        continue;
      }
      if (isIt && waiter.sentAt > 0) this.#scope.meter.roundTrip(performance.now() - waiter.sentAt);
      if (wantsValue) this.#drawn++;
      this.#acknowledge(message, frame);
    }
    this.#lastResult = Math.max(this.#lastResult, frame.sequence);
    this.#retries = 0;
    this.#scope.link.progressed();
  }

  #acknowledge(message: KeptMessage, frame: Frame): void {
    message.isAcknowledged = true;
    this.#kept.acknowledged();
    const waiter = this.#waiters.get(message);
    this.#waiters.delete(message);
    if (this.#waiters.size === 0) this.#watch.end();
    waiter?.resolve(frame);
  }

  /** The message is given up; the position that it began at is where the stream goes on. */
  #reject(message: KeptMessage, error: Error): void {
    this.#kept.remove(message);
    const waiter = this.#waiters.get(message);
    this.#waiters.delete(message);
    if (this.#waiters.size === 0) this.#watch.end();
    waiter?.reject(error);
  }

  refused(error: ControlMessages["error"]): void {
    const channel = this.#channel;
    if (error.code === "unknown-session") {
      // It expired, or another connection took it up: either way the next attempt tells.
      this.#isMissed = true;
      this.#detach(channel);
      // Left to the other, which has taken it as often.
      if (this.#thefts >= MOST_THEFTS) this.fail(takenUp());
      if (this.#waiters.size > 0) this.#scope.link.wake(this);
      return;
    }
    const refused = [...this.#waiters.keys()].find(({ sequence }) => sequence === error.sequence);
    if (refused === undefined && error.sequence !== undefined) return;
    // What follows a refused frame is refused as well; a resume tells where the stream stands, behind all those answers.
    this.#detach(channel);
    if (PASSING.has(error.code) && this.#retries < MOST_RETRIES) {
      this.#retries++;
      const asked = Math.min(LONGEST_RETRY, (error.retryAfterSeconds ?? 0) * 1000);
      void pause(Math.max(asked, RETRY_DELAY * this.#retries)).then(() => {
        if (this.#waiters.size > 0) this.#scope.link.wake(this);
      });
      return;
    }
    const reason = new Refusal(error);
    let isLost = refused === undefined;
    for (const message of this.#waiters.keys()) {
      isLost ||= message === refused;
      if (isLost) this.#reject(message, reason);
    }
    if (this.#waiters.size > 0) this.#scope.link.wake(this);
  }

  #detach(channel: Channel | undefined): void {
    channel?.forget(this.#handle);
    this.#channel = undefined;
  }

  fail(error: Error): void {
    const reason = error instanceof FourierCompressError ? error : new ConnectionError(error.message, { cause: error });
    for (const message of this.#waiters.keys()) this.#reject(message, reason);
  }

  /** Closes the session on the server, if there is a connection to say so; otherwise it expires there. */
  dispose(): void {
    const channel = this.#channel;
    if (this.#end() && channel !== undefined) this.#leaveHandle(channel, this.#handle);
  }

  /** Ends it here alone: on the server it waits, until it expires, for another process that takes it up. */
  abandon(): void {
    this.#end();
    this.#channel?.forget(this.#handle);
  }

  /** False when it had ended. */
  #end(): boolean {
    if (this.#isDisposed) return false;
    this.#isDisposed = true;
    this.#scope.link.remove(this);
    this.fail(new ConnectionError("the session was closed"));
    return true;
  }

  #leaveHandle(channel: Channel, handle: number): void {
    channel.forget(handle);
    if (!channel.hasEnded) channel.send(controlFrame("close", { session: handle })).catch(() => {});
  }
}
