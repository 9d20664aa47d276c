import { setTimeout as sleep } from "node:timers/promises";
import { errors, type Subscription } from "@nats-io/transport-node";
import type { z } from "zod";
import type { Job } from "../../job/job.ts";
import type { ClusterState, RestorePoint } from "../cluster-state.ts";
import type { CreateLeadership } from "../leadership-host.ts";
import type { Membership } from "../membership.ts";
import { PendingReports } from "../pending-reports.ts";
import { encodeReport } from "../report-limit.ts";
import { CommandFeed, StateFeed } from "../state-feed.ts";
import { timeoutDefaults, type Timeouts } from "../../job/timeouts.ts";
import type { WorkerCommand, WorkerReport } from "../worker-report.ts";
import { NatsElection, type LeaderBeat } from "./nats-election.ts";
import { NatsEventWriter } from "./nats-events.ts";
import { NatsLeading } from "./nats-leading.ts";
import { NatsLink, type NatsAccess } from "./nats-link.ts";
import { natsBeatSchema, natsCommandSchema, natsStateSchema, readNatsMessage } from "./nats-messages.ts";
import { openNatsStore, registerJob, withPatience, type NatsStore } from "./nats-store.ts";

/** How a worker takes part through NATS. */
export interface NatsMembershipOptions extends NatsAccess {
  readonly job: Job;
  readonly memberId: string;
  /** Makes what leads, when this worker is elected. */
  readonly createLeadership: NatsCreateLeadership;
  /** Without any server for so many milliseconds the worker is told that it is refused. Default: the limit `forming`. */
  readonly giveUpAfter?: number | undefined;
}

/** Makes what leads; `resume` is where the run begins when it is taken up from a checkpoint. */
export type NatsCreateLeadership =
  (...given: [...Parameters<CreateLeadership>, resume?: RestorePoint | undefined]) => ReturnType<CreateLeadership>;

/** A worker's side, and who leads as far as it knows. */
export interface NatsMembership extends Membership {
  /** Member id of the leader. */
  readonly leader: string | undefined;
  /** Whether this worker leads. */
  readonly leads: boolean;
  /** As by SIGKILL, for tests: nothing is told, nothing given back. */
  abandon(): Promise<void>;
}

/** Milliseconds between two looks at the record, in case a message about it was lost. */
const LOOK_INTERVAL = 1000;
/** Milliseconds in which a leader acknowledges a report. */
const REPORT_LIMIT = 1000;
const RETRY_INTERVAL = 100;

/**
 * Takes part in a job through a NATS cluster with JetStream: the record is a key, the leader whichever worker holds the lock key.
 * @throws MembershipError when no server can be reached, JetStream is off or has no quorum, or there is another job of this name
 */
export async function createNatsMembership(options: NatsMembershipOptions): Promise<NatsMembership> {
  const link = await NatsLink.open(options, `mecefo ${options.job.name} ${options.memberId}`);
  try {
    const store = await openNatsStore(link, options.job.name, options.memberId, "create");
    await registerJob(link, store, options.job);
    const membership = new Participant(options, link, store);
    await membership.start();
    return membership;
  } catch (error) {
    await link.connection.close();
    throw error;
  }
}

class Participant implements NatsMembership {
  readonly #options: NatsMembershipOptions;
  readonly #timeouts: Timeouts;
  readonly #link: NatsLink;
  readonly #store: NatsStore;
  readonly #election: NatsElection;
  readonly #events: NatsEventWriter;
  readonly #states = new StateFeed();
  readonly #commands = new CommandFeed();
  readonly #pending = new PendingReports();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #subscriptions: Subscription[] = [];
  #leading: NatsLeading | undefined;
  #leader: { readonly id: string; readonly term: number } | undefined;
  #revision = 0;
  /** Reports to be told, in order. */
  #queue: WorkerReport[] = [];
  #telling = false;
  #closed = false;

  constructor(options: NatsMembershipOptions, link: NatsLink, store: NatsStore) {
    this.#options = options;
    this.#timeouts = { ...timeoutDefaults, ...options.job.timeouts };
    this.#link = link;
    this.#store = store;
    this.#events = new NatsEventWriter(store, link, options.memberId);
    this.#election = new NatsElection({
      store, link, id: options.memberId, lease: this.#timeouts.leaderLease,
      elected: () => this.#lead(),
      deposed: () => this.#endLeading(),
      beat: (beat) => {
        if (!link.connection.isClosed()) link.connection.publish(store.names.leader, JSON.stringify(beat));
      },
    });
  }

  get state(): ClusterState | undefined {
    return this.#states.state;
  }

  get leader(): string | undefined {
    return this.#leader?.id;
  }

  get leads(): boolean {
    return this.#election.leads;
  }

  onState(listener: (state: ClusterState) => void): () => void {
    return this.#states.onState(listener);
  }

  onCommand(listener: (command: WorkerCommand) => void): void {
    this.#commands.onCommand(listener);
  }

  report(report: WorkerReport): void {
    encodeReport(report); // refuses what is too large
    this.#pending.add(report);
    this.#queue.push(report);
    void this.#tell();
  }

  async start(): Promise<void> {
    const { names } = this.#store;
    this.#subscribe(names.state, natsStateSchema, ({ revision, state }) => this.#accept(state, revision));
    this.#subscribe(names.leader, natsBeatSchema, (beat) => this.#heard(beat));
    this.#subscribe(names.command(this.#options.memberId), natsCommandSchema, (command) => {
      if (command.kind === "refused") this.#pending.forgetHello();
      this.#commands.accept(command);
    });
    this.#link.onReconnect(() => {
      void this.#look();
      this.#tellAgain();
    });
    await this.#look();
    const id = this.#options.memberId;
    this.#timers.push(
      setInterval(() => {
        if (this.#link.connected) this.#link.connection.publish(names.heartbeat, id);
        else this.#checkLost();
      }, this.#timeouts.heartbeatInterval),
      setInterval(() => void this.#look(), LOOK_INTERVAL),
    );
    this.#election.start();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    const deadline = performance.now() + REPORT_LIMIT;
    while (this.#telling && performance.now() < deadline) await sleep(5);
    this.#stop();
    await this.#election.close();
    this.#endLeading();
    await this.#events.close();
    await this.#link.close();
  }

  async abandon(): Promise<void> {
    this.#stop();
    this.#endLeading();
    await this.#link.connection.close();
    await this.#election.close();
  }

  #stop(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    this.#states.close();
    this.#commands.close();
  }

  #subscribe<Value>(subject: string, schema: z.ZodType<Value>, listener: (value: Value) => void): void {
    this.#subscriptions.push(this.#link.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null || this.#closed) return;
        const value = readNatsMessage(message, schema);
        if (value === undefined) return;
        if (message.reply !== undefined && message.reply !== "") message.respond("");
        listener(value);
      },
    }));
  }

  /** Reads the record: what was told about it may have been lost. */
  async #look(): Promise<void> {
    try {
      const found = await this.#store.state.read();
      if (found !== undefined && !this.#closed) this.#accept(found.value, found.revision);
    } catch (error) {
      if (this.#closed || this.#link.connection.isClosed()) return;
      if (error instanceof Error && error.name === "FormatError") this.#giveUp(error.message);
      // Otherwise there is no quorum at the moment; the next look will tell.
    }
  }

  #accept(state: ClusterState, revision: number): void {
    if (revision <= this.#revision) return;
    this.#revision = revision;
    this.#pending.settle(state);
    this.#states.accept(state);
  }

  #heard(beat: LeaderBeat): void {
    this.#election.heard(beat);
    const known = this.#leader;
    if (known !== undefined && (beat.term < known.term || (beat.id === known.id && beat.term === known.term))) return;
    this.#leader = { id: beat.id, term: beat.term };
    this.#tellAgain(); // a new leader knows nothing of what the last one was told
  }

  #tellAgain(): void {
    const unsent = this.#queue.filter((report) => !this.#pending.has(report));
    this.#queue = [...this.#pending.list(), ...unsent];
    void this.#tell();
  }

  async #tell(): Promise<void> {
    if (this.#telling) return;
    this.#telling = true;
    while (!this.#closed) {
      const report = this.#queue[0];
      if (report === undefined) break;
      const done = await this.#tellOne(report);
      if (done && this.#queue[0] === report) this.#queue.shift();
      else if (!done) await sleep(RETRY_INTERVAL);
    }
    this.#telling = false;
  }

  /** Whether the leader has it, or nobody needs it any more. */
  async #tellOne(report: WorkerReport): Promise<boolean> {
    const message = JSON.stringify({ from: this.#options.memberId, report });
    try {
      await this.#link.connection.request(this.#store.names.report, message, { timeout: REPORT_LIMIT });
      return true;
    } catch (error) {
      if (error instanceof errors.ClosedConnectionError || error instanceof errors.DrainingConnectionError) return true;
      return !this.#pending.has(report);
    }
  }

  #lead(): void {
    const { createLeadership } = this.#options;
    this.#leading = new NatsLeading({
      store: this.#store, link: this.#link, election: this.#election, events: this.#events,
      createLeadership: async (plane, publishEvent) => {
        const resume = await withPatience(this.#link, async () => await this.#store.resume.read());
        return await createLeadership(plane, publishEvent, resume?.value);
      },
      settleTime: this.#timeouts.suspicionFloor / 2 + 100,
      failed: (error) => this.#giveUp(`this worker cannot lead: ${error.message}`),
    });
    this.#leading.start();
  }

  #endLeading(): void {
    this.#leading?.end();
    this.#leading = undefined;
  }

  #checkLost(): void {
    const limit = this.#options.giveUpAfter ?? this.#timeouts.forming;
    if (this.#link.lostFor > limit) this.#giveUp(`no NATS server could be reached for ${limit} ms`);
  }

  #giveUp(reason: string): void {
    if (this.#closed) return;
    this.#commands.accept({ kind: "refused", reason: reason.slice(0, 1024) });
    void this.close();
  }
}
