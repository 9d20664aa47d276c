import { EpochEndedError, FrameError, LinkError, MecefoError } from "../errors.ts";
import { BufferPool } from "./buffer-pool.ts";
import { FaultInjector } from "./fault-injector.ts";
import { FrameQueue } from "./frame-queue.ts";
import { defaultMaximumPayloadBytes, describeFrame, isMessageKind } from "./frame.ts";
import type { FrameHeader } from "./frame.ts";
import { linkFailureCause } from "./link-failure.ts";
import type { MessageTag, Peer, ReceivedMessage, TransportFault, TransportStatistics } from "./transport.ts";

/** Limits of a transport. */
export interface TransportLimits {
  /** Larger payloads are neither sent nor received. Default 64 MiB. */
  readonly maximumPayloadBytes?: number;
  /** Reading from a peer rests while so many bytes of its messages were not released. Default 256 MiB. */
  readonly maximumUnreleasedBytes?: number;
}

/** What a link is to the transport that makes it. */
export interface LinkDriver {
  /** Makes the link; called before every send, and has to be quick where it is made or being made. */
  open(link: Link): void;
  /** Destroys its connections. */
  disconnect(link: Link): void;
  /** Rests from reading, or goes on. */
  setPaused(link: Link, paused: boolean): void;
}

/** Both directions between this worker and a peer. */
export interface Link {
  readonly peer: Peer;
  readonly queue: FrameQueue;
  /** Why it failed in the current epoch. */
  failure: string | undefined;
  /** The last epoch in which it failed; -1 if it never did. */
  failedEpoch: number;
  unreleasedBytes: number;
  paused: boolean;
}

/** What all transports do alike: epochs, failures that are told once, stale messages, bounds, counters. */
export class LinkTable {
  readonly faults: FaultInjector = new FaultInjector();
  readonly pool: BufferPool = new BufferPool();
  readonly maximumPayloadBytes: number;
  readonly #maximumUnreleasedBytes: number;
  readonly #driver: LinkDriver;
  readonly #links = new Map<string, Link>();
  readonly #unreleased = new WeakMap<ReceivedMessage, { readonly link: Link; readonly bytes: number }>();
  readonly #failureListeners: ((peer: string, cause: string) => void)[] = [];
  readonly #counters = { bytesSent: 0, bytesReceived: 0, messagesSent: 0, messagesReceived: 0, staleFrames: 0, refusedConnections: 0 };
  #listener: ((message: ReceivedMessage) => void) | undefined;
  #epoch = -1;
  #closed = false;

  constructor(driver: LinkDriver, limits: TransportLimits) {
    this.#driver = driver;
    this.maximumPayloadBytes = limits.maximumPayloadBytes ?? defaultMaximumPayloadBytes;
    this.#maximumUnreleasedBytes = limits.maximumUnreleasedBytes ?? 256 * 1024 * 1024;
  }

  /** The epoch begun last; -1 before the first. */
  get epoch(): number {
    return this.#epoch;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The links of the current epoch. */
  links(): IterableIterator<Link> {
    return this.#links.values();
  }

  link(id: string): Link | undefined {
    return this.#links.get(id);
  }

  /** `Transport.send`. */
  async send(to: Peer, tag: MessageTag, payload: Uint8Array): Promise<void> {
    if (this.#closed) throw new LinkError(to.id, "the transport is closed");
    if (tag.epoch < this.#epoch) throw new EpochEndedError(tag.epoch);
    if (tag.epoch > this.#epoch) throw new LinkError(to.id, `${describeFrame(tag)}: its epoch has not begun, ${this.#epoch} goes on`);
    const link = this.#links.get(to.id);
    if (link === undefined) throw new LinkError(to.id, `is no peer in epoch ${this.#epoch}`);
    if (link.failure !== undefined) throw new LinkError(to.id, link.failure);
    if (payload.byteLength > this.maximumPayloadBytes) {
      throw new FrameError(`${describeFrame(tag)} of ${payload.byteLength} bytes, over the limit of ${this.maximumPayloadBytes}`);
    }
    this.#driver.open(link);
    try {
      await link.queue.push(tag, payload);
    } catch (error) {
      if (error instanceof MecefoError) throw error;
      // What the system says of a socket (EPIPE, ECONNRESET) before its close is told.
      throw new LinkError(to.id, linkFailureCause("closed", error instanceof Error ? error.message : String(error)), { cause: error });
    }
  }

  /** `Transport.onMessage`. */
  onMessage(listener: (message: ReceivedMessage) => void): void {
    this.#listener = listener;
  }

  /** `Transport.onLinkFailure`; there may be several listeners. */
  onLinkFailure(listener: (peer: string, cause: string) => void): void {
    this.#failureListeners.push(listener);
  }

  /**
   * `Transport.release`. A second release of the same message does nothing.
   * @param buffer the payload's memory, where it went to another thread and came back as another object
   */
  release(message: ReceivedMessage, buffer: ArrayBuffer = message.payload.buffer): void {
    const unreleased = this.#unreleased.get(message);
    if (unreleased === undefined) return;
    this.#unreleased.delete(message);
    this.pool.give(buffer);
    const { link, bytes } = unreleased;
    link.unreleasedBytes -= bytes;
    if (!link.paused || link.unreleasedBytes > this.#maximumUnreleasedBytes) return;
    link.paused = false;
    this.#driver.setPaused(link, false);
  }

  /** `Transport.beginEpoch`: links to peers that stay are kept unless they failed. @throws MecefoError for an epoch of the past */
  beginEpoch(epoch: number, peers: readonly Peer[]): void {
    if (epoch < this.#epoch) throw new MecefoError(`epoch ${epoch} cannot begin after epoch ${this.#epoch}`);
    if (epoch === this.#epoch || this.#closed) return;
    this.#epoch = epoch;
    const staying = new Map(peers.map((peer) => [peer.id, peer]));
    for (const [id, link] of this.#links) {
      link.queue.dropBefore(epoch);
      link.failure = undefined;
      if (staying.get(id)?.address === link.peer.address) continue;
      this.#links.delete(id);
      this.#remove(link, `is no peer in epoch ${epoch}`);
    }
    for (const peer of peers) {
      if (this.#links.has(peer.id)) continue;
      const queue = new FrameQueue(this.faults, (bytes) => {
        this.#counters.messagesSent++;
        this.#counters.bytesSent += bytes;
      });
      this.#links.set(peer.id, { peer, queue, failure: undefined, failedEpoch: -1, unreleasedBytes: 0, paused: false });
    }
  }

  /** A link is broken: what waits for it fails, and the listeners are told, once an epoch. */
  fail(link: Link, cause: string): void {
    if (this.#closed || link.failure !== undefined || this.#links.get(link.peer.id) !== link) return;
    link.failure = cause;
    link.failedEpoch = this.#epoch;
    this.#driver.disconnect(link);
    link.queue.fail(new LinkError(link.peer.id, cause));
    for (const listener of this.#failureListeners) listener(link.peer.id, cause);
  }

  /** A whole frame came over a link; its payload is from the pool. */
  receive(link: Link, header: FrameHeader, payload: Uint8Array<ArrayBuffer>): void {
    this.#counters.bytesReceived += payload.byteLength;
    const { kind, epoch, step, channel, sequence } = header;
    if (!isMessageKind(kind)) {
      this.pool.give(payload.buffer);
      const farewell = kind === "bye";
      this.fail(link, farewell ? linkFailureCause("left", "said goodbye") : linkFailureCause("corruption", `a ${kind} frame among messages`));
      return;
    }
    this.#counters.messagesReceived++;
    if (epoch < this.#epoch || this.#listener === undefined || this.#links.get(link.peer.id) !== link) {
      this.#counters.staleFrames++;
      this.pool.give(payload.buffer);
      return;
    }
    const message: ReceivedMessage = { from: link.peer.id, tag: { kind, epoch, step, channel, sequence }, payload };
    this.#unreleased.set(message, { link, bytes: payload.byteLength });
    link.unreleasedBytes += payload.byteLength;
    if (!link.paused && link.unreleasedBytes > this.#maximumUnreleasedBytes) {
      link.paused = true;
      this.#driver.setPaused(link, true);
    }
    this.#listener(message);
  }

  /** Counts a connection that was turned away. */
  countRefusal(): void {
    this.#counters.refusedConnections++;
  }

  /** Brings a fault about: a cut fails the links at once, like a peer's death would. */
  inject(fault: TransportFault): void {
    if (fault.kind !== "cut") {
      this.faults.inject(fault);
      return;
    }
    for (const link of this.#links.values()) {
      if (fault.peer === undefined || fault.peer === link.peer.id) this.fail(link, linkFailureCause("closed", "cut by an injected fault"));
    }
  }

  statistics(): TransportStatistics {
    return { ...this.#counters };
  }

  /** Ends all links. */
  close(): void {
    this.#closed = true;
    for (const link of this.#links.values()) this.#remove(link, "the transport was closed");
    this.#links.clear();
  }

  #remove(link: Link, why: string): void {
    this.#driver.disconnect(link);
    link.queue.fail(new LinkError(link.peer.id, why));
  }
}
