import { EpochEndedError, LinkError } from "../errors.ts";
import { linkFailureCause } from "./link-failure.ts";
import type { MessageKind, MessageTag, ReceivedMessage, Transport } from "./transport.ts";

/** What a mailbox may be told. */
export interface MailboxOptions {
  readonly transport: Transport;
  /** Bytes of messages that nobody has asked for yet, of all peers; whoever exceeds them loses its link. Default 1 GiB. */
  readonly maximumUnclaimedBytes?: number;
  /** Waits longer than this are told of, once each. Default 1000. */
  readonly longWaitMilliseconds?: number;
  readonly onLongWait?: (peer: string, tag: MessageTag, milliseconds: number) => void;
  /** Every link failure of the current epoch: the transport's, and "overflow: …" of this mailbox. */
  readonly onLinkFailure?: (peer: string, cause: string) => void;
}

interface Waiting {
  readonly peer: string;
  readonly tag: MessageTag;
  readonly since: number;
  readonly resolve: (message: ReceivedMessage) => void;
  readonly reject: (error: Error) => void;
  told: boolean;
}

/**
 * Hands messages to whoever waits for them, by sender and tag, in whatever order they come. It listens to the transport; messages of a
 * later epoch than the one begun are kept until it begins. What it hands out is the receiver's to `release`.
 */
export class Mailbox {
  readonly #options: MailboxOptions;
  readonly #maximumUnclaimedBytes: number;
  readonly #waiting = new Map<string, Waiting>();
  readonly #unclaimed = new Map<string, ReceivedMessage>();
  readonly #handlers = new Map<MessageKind, (message: ReceivedMessage) => void>();
  readonly #failures = new Map<string, string>();
  readonly #watch: NodeJS.Timeout;
  readonly #within = new Set<{ readonly epoch: number; readonly reject: (error: Error) => void }>();
  #unclaimedBytes = 0;
  #epoch = -1;
  #ended = -1;
  #closed = false;

  constructor(options: MailboxOptions) {
    this.#options = options;
    this.#maximumUnclaimedBytes = options.maximumUnclaimedBytes ?? 1024 ** 3;
    options.transport.onMessage((message) => {
      this.#accept(message);
    });
    options.transport.onLinkFailure((peer, cause) => {
      this.#fail(peer, cause);
    });
    const limit = options.longWaitMilliseconds ?? 1000;
    this.#watch = setInterval(() => {
      this.#tellLongWaits(limit);
    }, Math.max(10, limit / 4));
    this.#watch.unref();
  }

  /** The epoch begun last; -1 before the first. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Bytes of messages that nobody has asked for yet. */
  get unclaimedBytes(): number {
    return this.#unclaimedBytes;
  }

  /**
   * Begins an epoch: whoever waits for a message of an older one is told so by EpochEndedError, older messages are released, failed links
   * are forgotten. Call it before the transport's `beginEpoch`.
   */
  beginEpoch(epoch: number): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    this.#failures.clear();
    this.endEpoch(epoch - 1);
    for (const [key, message] of this.#unclaimed) {
      if (message.tag.epoch < epoch) {
        this.#drop(key, message);
        this.#options.transport.release(message);
      } else if (message.tag.epoch === epoch && this.#handlers.has(message.tag.kind)) {
        this.#drop(key, message);
        this.#handlers.get(message.tag.kind)!(message);
      }
    }
  }

  /**
   * Whoever waits for a message of this epoch or an older one, now or later, is told by EpochEndedError that it is over. The next has not
   * begun yet.
   */
  endEpoch(epoch: number): void {
    this.#ended = Math.max(this.#ended, epoch);
    for (const [key, waiting] of this.#waiting) {
      if (waiting.tag.epoch > epoch) continue;
      this.#waiting.delete(key);
      waiting.reject(new EpochEndedError(waiting.tag.epoch));
    }
    for (const waiting of this.#within) if (waiting.epoch <= epoch) waiting.reject(new EpochEndedError(waiting.epoch));
  }

  /**
   * The promise's result, unless the epoch ends first: for what waits for a peer in other ways than by `receive`, such as sends, which a
   * peer that stands still holds up for as long as it is a peer.
   * @throws EpochEndedError, LinkError when the mailbox is closed
   */
  within<Result>(epoch: number, promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const waiting = { epoch, reject };
      this.#within.add(waiting);
      promise.then(resolve, reject).finally(() => {
        this.#within.delete(waiting);
      });
      if (this.#closed) reject(new LinkError("everybody", "the mailbox is closed"));
      else if (epoch < this.#epoch || epoch <= this.#ended) reject(new EpochEndedError(epoch));
    });
  }

  /** Messages of this kind in the current epoch go to the handler, whoever sends them, instead of waiting for `receive`: requests. */
  handle(kind: MessageKind, handler: (message: ReceivedMessage) => void): void {
    this.#handlers.set(kind, handler);
    for (const [key, message] of this.#unclaimed) {
      if (message.tag.kind !== kind || message.tag.epoch !== this.#epoch) continue;
      this.#drop(key, message);
      handler(message);
    }
  }

  /**
   * The message with this tag from this peer, once it is there. Every message can be received once, by one caller.
   * @throws EpochEndedError when the tag's epoch is over, LinkError when the peer's link failed in it, or is failing
   */
  receive(from: string, tag: MessageTag): Promise<ReceivedMessage> {
    if (this.#closed) return Promise.reject(new LinkError(from, "the mailbox is closed"));
    if (tag.epoch < this.#epoch || tag.epoch <= this.#ended) return Promise.reject(new EpochEndedError(tag.epoch));
    const key = keyOf(from, tag);
    const message = this.#unclaimed.get(key);
    if (message !== undefined) {
      this.#drop(key, message);
      return Promise.resolve(message);
    }
    const failure = tag.epoch === this.#epoch ? this.#failures.get(from) : undefined;
    if (failure !== undefined) return Promise.reject(new LinkError(from, failure));
    if (this.#waiting.has(key)) return Promise.reject(new LinkError(from, `two callers wait for ${describe(tag)}`));
    return new Promise((resolve, reject) => {
      this.#waiting.set(key, { peer: from, tag, since: performance.now(), resolve, reject, told: false });
    });
  }

  /** What is waited for at the moment, the longest wait first: so that a hang has a name. */
  waits(): { readonly peer: string; readonly tag: MessageTag; readonly milliseconds: number }[] {
    const now = performance.now();
    return [...this.#waiting.values()].map(({ peer, tag, since }) => ({ peer, tag, milliseconds: now - since }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** Rejects whoever still waits, and releases what nobody asked for. The transport is left alone. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#watch);
    for (const { peer, reject } of this.#waiting.values()) reject(new LinkError(peer, "the mailbox was closed"));
    this.#waiting.clear();
    for (const { reject } of this.#within) reject(new LinkError("everybody", "the mailbox was closed"));
    for (const message of this.#unclaimed.values()) this.#options.transport.release(message);
    this.#unclaimed.clear();
    this.#unclaimedBytes = 0;
  }

  #accept(message: ReceivedMessage): void {
    const { from, tag, payload } = message;
    const overtaken = tag.epoch < this.#epoch || (tag.epoch === this.#epoch && this.#failures.has(from));
    if (this.#closed || overtaken) {
      this.#options.transport.release(message);
      return;
    }
    const handler = tag.epoch === this.#epoch ? this.#handlers.get(tag.kind) : undefined;
    if (handler !== undefined) {
      handler(message);
      return;
    }
    const key = keyOf(from, tag);
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      this.#waiting.delete(key);
      waiting.resolve(message);
      return;
    }
    const excess = this.#unclaimedBytes + payload.byteLength > this.#maximumUnclaimedBytes;
    if (excess || this.#unclaimed.has(key)) {
      this.#options.transport.release(message);
      this.#fail(from, linkFailureCause("overflow", excess
        ? `${this.#unclaimedBytes} bytes are unclaimed, and ${describe(tag)} with ${payload.byteLength} more has come`
        : `${describe(tag)} came twice`));
      return;
    }
    this.#unclaimed.set(key, message);
    this.#unclaimedBytes += payload.byteLength;
  }

  #drop(key: string, message: ReceivedMessage): void {
    this.#unclaimed.delete(key);
    this.#unclaimedBytes -= message.payload.byteLength;
  }

  #fail(peer: string, cause: string): void {
    if (this.#closed || this.#failures.has(peer)) return;
    this.#failures.set(peer, cause);
    for (const [key, waiting] of this.#waiting) {
      if (waiting.peer !== peer || waiting.tag.epoch !== this.#epoch) continue;
      this.#waiting.delete(key);
      waiting.reject(new LinkError(peer, cause));
    }
    this.#options.onLinkFailure?.(peer, cause);
  }

  #tellLongWaits(limit: number): void {
    const now = performance.now();
    for (const waiting of this.#waiting.values()) {
      if (waiting.told || now - waiting.since < limit) continue;
      waiting.told = true;
      this.#options.onLongWait?.(waiting.peer, waiting.tag, now - waiting.since);
    }
  }
}

function keyOf(from: string, { kind, epoch, step, channel, sequence }: MessageTag): string {
  return `${from} ${kind} ${epoch} ${step} ${channel} ${sequence}`;
}

function describe({ kind, epoch, step, channel, sequence }: MessageTag): string {
  return `${kind} (epoch ${epoch}, step ${step}, channel ${channel}, sequence ${sequence})`;
}
