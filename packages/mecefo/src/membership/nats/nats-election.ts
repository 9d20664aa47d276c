import { setTimeout as sleep } from "node:timers/promises";
import type { NatsLink } from "./nats-link.ts";
import type { Registered } from "./nats-register.ts";
import type { LeaderLock, NatsStore } from "./nats-store.ts";

/** A leader's sign of life, told to everybody besides the lock. */
export interface LeaderBeat {
  readonly id: string;
  readonly term: number;
  readonly revision: number;
  readonly resigned: boolean;
}

/** Settings of an election. */
export interface NatsElectionOptions {
  readonly store: NatsStore;
  readonly link: NatsLink;
  readonly id: string;
  /** Milliseconds without a renewal after which a leader is replaced. */
  readonly lease: number;
  /** This worker leads from now on, until `deposed`. */
  elected(term: number): void;
  /** Another leads, or will. */
  deposed(): void;
  /** Tells everybody. */
  beat(beat: LeaderBeat): void;
}

/**
 * Takes the lock key when nobody has it or when its revision has not moved for a lease, by this worker's own clock and as read from a
 * cluster that has a quorum; then renews it. Of several that try at once, the compare-and-set lets one win.
 */
export class NatsElection {
  readonly #options: NatsElectionOptions;
  readonly #interval: number;
  #leading: { readonly term: number; revision: number } | undefined;
  #renewedAt = 0;
  #observed: { readonly revision: number; readonly since: number } | undefined;
  #beatAt = -Infinity;
  #urgent = false;
  #closed = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: NatsElectionOptions) {
    this.#options = options;
    this.#interval = options.lease / 8;
  }

  /** Begins to take part. */
  start(): void {
    this.#ended = this.#run();
  }

  /** Whether this worker has the lock, as far as it knows. */
  get leads(): boolean {
    return this.#leading !== undefined;
  }

  /** Milliseconds since the beginning of the last renewal that succeeded. */
  get sinceRenewal(): number {
    return performance.now() - this.#renewedAt;
  }

  /** Milliseconds after which a renewal is overdue: the cluster stalls, or this worker is cut off. */
  get overdue(): number {
    return this.#interval + 200;
  }

  /** A leader's sign of life was heard. */
  heard(beat: LeaderBeat): void {
    if (beat.id === this.#options.id) return;
    this.#beatAt = performance.now();
    this.#urgent = beat.resigned;
    if (this.#observed !== undefined && beat.revision <= this.#observed.revision) return;
    this.#observed = { revision: beat.revision, since: this.#beatAt };
  }

  /** Takes no part any more; gives the lock back. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#ended;
    const leading = this.#leading;
    if (leading === undefined) return;
    this.#depose();
    const { id, store } = this.#options;
    const deadline = performance.now() + 1000;
    const lock = { id, term: leading.term, resigned: true };
    const revision = await store.lock.write(lock, leading.revision, () => performance.now() < deadline).catch(() => undefined);
    if (revision !== undefined) this.#options.beat({ ...lock, revision });
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const began = performance.now();
      try {
        if (this.#leading === undefined) await this.#follow();
        else await this.#renew(this.#leading);
      } catch {
        // No quorum at the moment, or no connection: nothing can be judged, so the lease begins anew.
        this.#observed = undefined;
      }
      if (this.#closed) return;
      await sleep(Math.max(5, this.#interval - (performance.now() - began)));
    }
  }

  async #follow(): Promise<void> {
    const { id, lease, link, store } = this.#options;
    if (!link.connected) {
      this.#observed = undefined;
      return;
    }
    const now = performance.now();
    if (now - this.#beatAt < lease / 2 && !this.#urgent) return;
    const found = await store.lock.read();
    if (found === undefined) {
      await this.#take({ id, term: 1, resigned: false }, undefined);
    } else if (found.value.resigned) {
      await this.#take({ id, term: found.value.term + 1, resigned: false }, found);
    } else if (this.#observed === undefined || found.revision !== this.#observed.revision) {
      this.#observed = { revision: found.revision, since: performance.now() };
    } else if (performance.now() - this.#observed.since > lease) {
      await this.#take({ id, term: found.value.term + 1, resigned: false }, found);
    }
  }

  async #take(lock: LeaderLock, over: Registered<LeaderLock> | undefined): Promise<void> {
    const began = performance.now();
    const deadline = began + this.#options.lease / 2;
    const revision = await this.#options.store.lock.write(lock, over?.revision ?? 0, () => !this.#closed && performance.now() < deadline);
    this.#urgent = false;
    if (revision === undefined) return;
    this.#leading = { term: lock.term, revision };
    this.#renewedAt = began;
    this.#options.elected(lock.term);
    this.#options.beat({ ...lock, revision });
  }

  async #renew(leading: { readonly term: number; revision: number }): Promise<void> {
    const began = performance.now();
    const lock = { id: this.#options.id, term: leading.term, resigned: false };
    const revision = await this.#options.store.lock.write(lock, leading.revision, () => !this.#closed);
    if (revision === undefined) {
      if (!this.#closed) this.#depose();
      return;
    }
    leading.revision = revision;
    this.#renewedAt = began;
    this.#options.beat({ ...lock, revision });
  }

  #depose(): void {
    this.#leading = undefined;
    this.#observed = undefined;
    this.#options.deposed();
  }
}
