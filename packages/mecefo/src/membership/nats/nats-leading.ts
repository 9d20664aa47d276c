import { setTimeout as sleep } from "node:timers/promises";
import type { Subscription } from "@nats-io/transport-node";
import type { ClusterState } from "../cluster-state.ts";
import type { CreateLeadership, StoppableLeadership } from "../leadership-host.ts";
import { leadershipTickInterval } from "../leadership-host.ts";
import type { ControlPlane, Sender } from "../membership.ts";
import type { WorkerReport } from "../worker-report.ts";
import type { NatsElection } from "./nats-election.ts";
import type { NatsEventWriter } from "./nats-events.ts";
import type { NatsLink } from "./nats-link.ts";
import { natsExitSchema, natsIdentitySchema, natsReportSchema, readNatsMessage } from "./nats-messages.ts";
import type { NatsStore } from "./nats-store.ts";

/** What a term in office needs. */
export interface NatsLeadingOptions {
  readonly store: NatsStore;
  readonly link: NatsLink;
  readonly election: NatsElection;
  readonly events: NatsEventWriter;
  readonly createLeadership: CreateLeadership;
  /**
   * Milliseconds for which nothing is judged after the cluster stalled: longer than the gap from which the suspicion monitor notices it.
   */
  readonly settleTime: number;
  /** A leader could not be made, or it broke. */
  failed(error: Error): void;
}

/** Reports that wait while the cluster stalls. */
const MOST_HELD = 65_536;

/**
 * A worker's term as the leader. While its connection is lost or its lock is not renewed in time, it judges nobody: what it does not hear
 * then says nothing. Heartbeats are dropped and time stands still for the leadership, which afterwards sees one gap.
 */
export class NatsLeading {
  readonly #options: NatsLeadingOptions;
  readonly #subscriptions: Subscription[] = [];
  #leadership: StoppableLeadership | undefined;
  #held: { readonly from: Sender; readonly report: WorkerReport }[] = [];
  #heldUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #beginning = false;
  #ended = false;

  constructor(options: NatsLeadingOptions) {
    this.#options = options;
  }

  /** Listens to workers, and makes a leader that goes on from the state. */
  start(): void {
    const { link, store: { names } } = this.#options;
    this.#subscriptions.push(
      link.connection.subscribe(names.report, {
        callback: (error, message) => {
          if (error !== null) return;
          const told = readNatsMessage(message, natsReportSchema);
          if (told !== undefined) this.#received({ id: told.from }, told.report);
          message.respond(told === undefined ? "broken" : "");
        },
      }),
      link.connection.subscribe(names.heartbeat, {
        callback: (error, message) => {
          if (error !== null || this.#isHeld()) return;
          const id = natsIdentitySchema.safeParse(message.string());
          if (id.success) this.#leadership?.heartbeat({ id: id.data });
        },
      }),
      link.connection.subscribe(names.exited, {
        callback: (error, message) => {
          const exit = error === null ? readNatsMessage(message, natsExitSchema) : undefined;
          if (exit !== undefined) this.#leadership?.exited({ id: exit.id }, exit.how);
        },
      }),
      link.connection.subscribe(names.stop, {
        callback: (error, message) => {
          if (error !== null || this.#leadership?.requestStop === undefined) return;
          this.#leadership.requestStop();
          message.respond("");
        },
      }),
    );
    this.#timer = setInterval(() => this.#tick(), leadershipTickInterval);
    this.#begin();
  }

  /** The term is over; writes that are under way no longer count. */
  end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#leadership?.close();
    this.#leadership = undefined;
  }

  #begin(): void {
    if (this.#beginning || this.#ended) return;
    this.#beginning = true;
    this.#leadership?.close();
    this.#leadership = undefined;
    this.#makeLeadership().catch((error: unknown) => {
      if (!this.#ended) this.#options.failed(error as Error);
    }).finally(() => {
      this.#beginning = false;
    });
  }

  async #makeLeadership(): Promise<void> {
    const { createLeadership, events } = this.#options;
    await this.#fence();
    const leadership = await createLeadership(this.#plane(), (event) => events.write(event));
    if (this.#ended) leadership.close();
    else this.#leadership = leadership;
  }

  /** Writes the state as it is: whoever led before has its revision, and cannot write any more. */
  async #fence(): Promise<void> {
    const { state } = this.#options.store;
    while (!this.#ended) {
      try {
        const found = await state.read();
        if (found === undefined) return; // the first write decides then
        const revision = await state.write(found.value, found.revision, () => !this.#ended);
        if (revision !== undefined) {
          this.#tell(found.value, revision);
          return;
        }
      } catch (error) {
        if (this.#options.link.connection.isClosed()) throw error;
        await sleep(50);
      }
    }
  }

  #plane(): ControlPlane {
    const { store, link } = this.#options;
    let known: number | undefined;
    return {
      read: async () => {
        const found = await this.#readPatiently();
        known = found?.revision ?? 0;
        return found;
      },
      compareAndSet: async (state, revision) => {
        if (this.#ended) return undefined;
        const written = await store.state.write(state, revision, () => !this.#ended);
        if (written !== undefined) {
          known = written;
          this.#tell(state, written);
        } else if (!this.#ended && revision === known) {
          // The lock is still ours, so this was somebody's last write before the fence: go on from it.
          setImmediate(() => this.#begin());
        }
        return written;
      },
      command: (id, command) => {
        if (!link.connection.isClosed()) link.connection.publish(store.names.command(id), JSON.stringify(command));
      },
    };
  }

  async #readPatiently(): Promise<{ state: ClusterState; revision: number } | undefined> {
    for (;;) {
      try {
        const found = await this.#options.store.state.read();
        return found === undefined ? undefined : { state: found.value, revision: found.revision };
      } catch (error) {
        if (this.#ended || this.#options.link.connection.isClosed()) throw error;
        await sleep(50);
      }
    }
  }

  #tell(state: ClusterState, revision: number): void {
    const { link, store } = this.#options;
    if (!link.connection.isClosed()) link.connection.publish(store.names.state, JSON.stringify({ revision, state }));
  }

  #received(from: Sender, report: WorkerReport): void {
    if (this.#leadership !== undefined && !this.#isHeld() && this.#held.length === 0) this.#leadership.receive(from, report);
    else if (this.#held.length < MOST_HELD) this.#held.push({ from, report });
  }

  /** Whether what is not heard at the moment says nothing about those who are not heard. */
  #isHeld(): boolean {
    const { election, link, settleTime } = this.#options;
    const now = performance.now();
    if (!link.connected || election.sinceRenewal > election.overdue) this.#heldUntil = now + settleTime;
    return now < this.#heldUntil;
  }

  #tick(): void {
    const leadership = this.#leadership;
    if (leadership === undefined || this.#isHeld()) return;
    leadership.tick();
    const held = this.#held;
    this.#held = [];
    for (const { from, report } of held) leadership.receive(from, report);
  }
}
