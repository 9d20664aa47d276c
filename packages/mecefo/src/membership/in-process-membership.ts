import { setImmediate as nextTurn } from "node:timers/promises";
import type { RunEvent } from "./run-event.ts";
import type { ClusterObserver } from "./cluster-observer.ts";
import type { ClusterState } from "./cluster-state.ts";
import { LeadershipHost, type CreateLeadership } from "./leadership-host.ts";
import type { ControlPlane, Membership } from "./membership.ts";
import { CommandFeed, StateFeed } from "./state-feed.ts";
import { StateRecord } from "./state-record.ts";
import { timeoutDefaults } from "../job/timeouts.ts";
import type { WorkerCommand, WorkerReport } from "./worker-report.ts";

/** Settings of a control plane in one process. */
export interface InProcessMembershipOptions {
  readonly createLeadership: CreateLeadership;
  /** Milliseconds between two heartbeats of a worker. Default: the table's. */
  readonly heartbeatInterval?: number | undefined;
  /** Milliseconds between two ticks of the leader. */
  readonly tickInterval?: number | undefined;
}

/** A worker's connection that can be made to fail. */
export interface InProcessClient extends Membership {
  /** As by SIGKILL: the connection is gone without a word. */
  kill(): void;
  /** As by SIGSTOP: nothing goes out or comes in until `resume`. */
  pause(): void;
  resume(): void;
}

/** A control plane, its leader and the workers' sides of it in one process: for tests and for workers that share a process. */
export interface InProcessMembership extends ClusterObserver {
  readonly plane: ControlPlane;
  /** A worker's side. A second one of the same id takes the place of the first. */
  join(memberId: string): InProcessClient;
  /** Tells the leader that a worker is known to have ended. */
  exited(memberId: string, how: string): void;
  /** Tells observers. */
  publishEvent(event: RunEvent): void;
}

/** Starts a leader in this process. Everything is delivered asynchronously and as copies, as over a connection. */
export async function createInProcessMembership(options: InProcessMembershipOptions): Promise<InProcessMembership> {
  const membership = new InProcess(options);
  await membership.start();
  return membership;
}

class InProcess implements InProcessMembership {
  readonly plane: ControlPlane;
  readonly #record: StateRecord;
  readonly #host: LeadershipHost;
  readonly #clients = new Map<string, Client>();
  readonly #observed = new StateFeed();
  readonly #eventListeners = new Set<(event: RunEvent) => void>();
  readonly #heartbeatInterval: number;

  constructor({ createLeadership, heartbeatInterval, tickInterval }: InProcessMembershipOptions) {
    this.#heartbeatInterval = heartbeatInterval ?? timeoutDefaults.heartbeatInterval;
    this.#record = new StateRecord((state) => this.#broadcast(state));
    this.plane = {
      read: async () => await Promise.resolve(structuredClone(this.#record.current)),
      compareAndSet: async (state, revision) => await this.#record.compareAndSet(structuredClone(state), revision),
      command: (id, command) => this.#clients.get(id)?.commanded(command),
    };
    this.#host = new LeadershipHost(createLeadership, this.plane, (event) => this.publishEvent(event), tickInterval);
  }

  get state(): ClusterState | undefined {
    return this.#observed.state;
  }

  async start(): Promise<void> {
    await this.#host.start();
  }

  join(memberId: string): InProcessClient {
    const client = new Client(this.#heartbeatInterval, {
      report: (report) => this.#host.leadership?.receive({ id: memberId }, report),
      heartbeat: () => this.#host.leadership?.heartbeat({ id: memberId }),
      closed: () => {
        if (this.#clients.get(memberId) !== client) return;
        this.#clients.delete(memberId);
        this.#host.leadership?.disconnected({ id: memberId });
      },
    });
    this.#clients.get(memberId)?.replaced();
    this.#clients.set(memberId, client);
    const current = this.#record.current;
    if (current !== undefined) client.told(current.state);
    return client;
  }

  onState(listener: (state: ClusterState) => void): () => void {
    return this.#observed.onState(listener);
  }

  onEvent(listener: (event: RunEvent) => void): () => void {
    this.#eventListeners.add(listener);
    return () => {
      this.#eventListeners.delete(listener);
    };
  }

  async command(memberId: string, command: WorkerCommand): Promise<boolean> {
    const client = this.#clients.get(memberId);
    client?.commanded(command);
    return await Promise.resolve(client !== undefined);
  }

  async requestStop(): Promise<boolean> {
    return await Promise.resolve(this.#host.requestStop());
  }

  exited(memberId: string, how: string): void {
    this.#host.leadership?.exited({ id: memberId }, how);
  }

  publishEvent(event: RunEvent): void {
    for (const listener of this.#eventListeners) listener(event);
  }

  async close(): Promise<void> {
    this.#host.close();
    await Promise.all([...this.#clients.values()].map((client) => client.close()));
    this.#observed.close();
    this.#eventListeners.clear();
  }

  #broadcast(state: ClusterState): void {
    for (const client of this.#clients.values()) client.told(state);
    setImmediate(() => this.#observed.accept(state));
  }
}

/** Where a worker's side sends to. */
interface Leader {
  report(report: WorkerReport): void;
  heartbeat(): void;
  closed(): void;
}

class Client implements InProcessClient {
  readonly #leader: Leader;
  readonly #states = new StateFeed();
  readonly #commands = new CommandFeed();
  readonly #timer: NodeJS.Timeout;
  /** What waits while the worker is stopped. */
  #held: (() => void)[] | undefined;
  #open = true;

  constructor(heartbeatInterval: number, leader: Leader) {
    this.#leader = leader;
    this.#post(() => leader.heartbeat());
    this.#timer = setInterval(() => {
      if (this.#held === undefined) leader.heartbeat();
    }, heartbeatInterval);
  }

  get state(): ClusterState | undefined {
    return this.#states.state;
  }

  onState(listener: (state: ClusterState) => void): () => void {
    return this.#states.onState(listener);
  }

  onCommand(listener: (command: WorkerCommand) => void): void {
    this.#commands.onCommand(listener);
  }

  report(report: WorkerReport): void {
    const copy = structuredClone(report);
    this.#post(() => this.#leader.report(copy));
  }

  told(state: ClusterState): void {
    const copy = structuredClone(state);
    this.#post(() => this.#states.accept(copy));
  }

  commanded(command: WorkerCommand): void {
    const copy = structuredClone(command);
    this.#post(() => this.#commands.accept(copy));
  }

  pause(): void {
    this.#held ??= [];
  }

  resume(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const task of held) this.#post(task);
  }

  kill(): void {
    if (!this.#open) return;
    this.replaced();
    setImmediate(() => this.#leader.closed());
  }

  /** Ends without telling the leader. */
  replaced(): void {
    this.#open = false;
    clearInterval(this.#timer);
    this.#states.close();
    this.#commands.close();
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    // What was reported before is delivered first, as on a connection that is ended in order.
    await nextTurn();
    this.kill();
  }

  #post(task: () => void): void {
    setImmediate(() => {
      if (this.#held !== undefined) this.#held.push(task);
      else if (this.#open) task();
    });
  }
}
