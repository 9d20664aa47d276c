import { createServer, type Server } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { jobHash } from "../job/job-hash.ts";
import type { Job } from "../job/job.ts";
import type { RunEvent } from "./run-event.ts";
import type { ClusterState } from "./cluster-state.ts";
import { parseControlAddress } from "./control/control-address.ts";
import { encodeControlFrame } from "./control/control-frames.ts";
import { clientMessageSchema, type ClientMessage, type CoordinatorMessage } from "./control/control-protocol.ts";
import { ControlSocket } from "./control/control-socket.ts";
import { CoordinatorSession } from "./control/coordinator-session.ts";
import { takeFileLock, type ReleaseLock } from "./control/file-lock.ts";
import { listenAlone } from "./control/listen.ts";
import { readPersistedState, writePersistedState } from "./control/persisted-state.ts";
import { LeadershipHost, type CreateLeadership } from "./leadership-host.ts";
import type { ControlPlane } from "./membership.ts";
import { isOlder } from "./state-feed.ts";
import { StateRecord } from "./state-record.ts";
import type { WorkerCommand } from "./worker-report.ts";

/** Settings of a coordinator. */
export interface CoordinatorOptions {
  /** "unix:/path/to.sock" or "tcp://host:port"; port 0 takes a free one. */
  readonly listen: string;
  /** What workers and observers have to know. */
  readonly token: string;
  /** Told to whoever connects and asks. */
  readonly job: Job;
  readonly createLeadership: CreateLeadership;
  /** Where the state is kept, so that a coordinator that is started again goes on. Default: nowhere. */
  readonly persistedFile?: string | undefined;
  /** Milliseconds between two ticks of the leader. */
  readonly tickInterval?: number | undefined;
}

/** What a coordinator counts. */
export interface CoordinatorStatistics {
  /** Connections at this moment that have proved that they know the token. */
  readonly connections: number;
  /** Connections that were turned away: wrong token, wrong version, no answer in time. */
  readonly refusedConnections: number;
  /** Connections that were closed because what came was no message of the protocol. */
  readonly brokenConnections: number;
}

/** A connection must have proved within so many milliseconds that it knows the token. */
const HANDSHAKE_LIMIT = 5000;
/** Milliseconds between two signs of life of the coordinator. */
const SIGN_OF_LIFE_INTERVAL = 500;
/** More connections than that are not accepted. */
const MOST_CONNECTIONS = 16_384;

/**
 * Starts the embedded control plane: it keeps the record and the leader in this process, and workers and observers connect to it.
 * @throws MembershipError when another coordinator has the address or the persisted file, SettingsError for a bad address
 */
export async function startCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const address = parseControlAddress(options.listen);
  const file = options.persistedFile;
  const unlock = file === undefined ? undefined : await takeFileLock(`${file}.lock`, file);
  try {
    const persisted = file === undefined ? undefined : await readPersistedState(file, options.job.name);
    const coordinator = new Coordinator(options, persisted);
    await coordinator.start(async (server) => await listenAlone(server, address), unlock);
    return coordinator;
  } catch (error) {
    await unlock?.();
    throw error;
  }
}

/** A coordinator that runs. Made by `startCoordinator`. */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #server: Server;
  readonly #record: StateRecord;
  readonly #host: LeadershipHost;
  readonly #restored: boolean;
  readonly #sessions = new Set<CoordinatorSession>();
  readonly #workers = new Map<string, CoordinatorSession>();
  readonly #stateListeners = new Set<(state: ClusterState) => void>();
  readonly #eventListeners = new Set<(event: RunEvent) => void>();
  #address = "";
  #release: ReleaseLock[] = [];
  #signOfLife: NodeJS.Timeout | undefined;
  #refused = 0;
  #broken = 0;
  #closed = false;

  constructor(options: CoordinatorOptions, persisted?: { readonly state: ClusterState; readonly revision: number }) {
    this.#options = options;
    const { persistedFile } = options;
    this.#restored = persisted !== undefined;
    this.#record = new StateRecord(
      (state) => this.#broadcastState(state),
      persistedFile === undefined ? undefined : async (state, revision) => await writePersistedState(persistedFile, state, revision),
      persisted,
    );
    const plane: ControlPlane = {
      read: async () => await Promise.resolve(structuredClone(this.#record.current)),
      compareAndSet: async (state, revision) => await this.#record.compareAndSet(structuredClone(state), revision),
      command: (id, command) => {
        this.#deliver(id, command);
      },
    };
    this.#host = new LeadershipHost(options.createLeadership, plane, (event) => this.publishEvent(event), options.tickInterval);
    this.#server = createServer((socket) => this.#accept(new ControlSocket(socket, clientMessageSchema)));
    this.#server.maxConnections = MOST_CONNECTIONS;
  }

  /** Where workers connect to. */
  get address(): string {
    return this.#address;
  }

  /** The record. */
  get state(): ClusterState | undefined {
    return this.#record.current?.state;
  }

  /** Counters. */
  get statistics(): CoordinatorStatistics {
    const connections = [...this.#sessions].filter(({ role }) => role !== undefined).length;
    return { connections, refusedConnections: this.#refused, brokenConnections: this.#broken };
  }

  /** @internal */
  async start(
    listen: (server: Server) => Promise<{ readonly address: string; readonly release: ReleaseLock }>, unlock: ReleaseLock | undefined,
  ): Promise<void> {
    const { address, release } = await listen(this.#server);
    this.#address = address;
    this.#release = unlock === undefined ? [release] : [release, unlock];
    try {
      const state = this.state;
      if (this.#restored && state !== undefined) await this.#record.overwrite(goOn(state, "the coordinator was started again"));
      await this.#host.start();
    } catch (error) {
      await this.close();
      throw error;
    }
    const frame = encodeControlFrame({ kind: "heartbeat" } satisfies CoordinatorMessage);
    this.#signOfLife = setInterval(() => {
      for (const session of this.#sessions) if (session.role !== undefined) session.sendFrame(frame);
    }, SIGN_OF_LIFE_INTERVAL);
  }

  /** Called for every new state, the last one at once. Returns what ends it. */
  onState(listener: (state: ClusterState) => void): () => void {
    this.#stateListeners.add(listener);
    if (this.state !== undefined) listener(this.state);
    return () => {
      this.#stateListeners.delete(listener);
    };
  }

  /** Called for every event. Returns what ends it. */
  onEvent(listener: (event: RunEvent) => void): () => void {
    this.#eventListeners.add(listener);
    return () => {
      this.#eventListeners.delete(listener);
    };
  }

  /** Tells everybody who looks on. */
  publishEvent(event: RunEvent): void {
    for (const listener of this.#eventListeners) listener(event);
    const frame = encodeControlFrame({ kind: "event", event } satisfies CoordinatorMessage);
    for (const session of this.#sessions) if (session.role === "observer") session.sendFrame(frame);
  }

  /** Sends a command to a worker. False: it is not connected. */
  async command(memberId: string, command: WorkerCommand): Promise<boolean> {
    return await Promise.resolve(this.#deliver(memberId, command));
  }

  /** Asks the leader to end the run in order. False: it cannot. */
  async requestStop(): Promise<boolean> {
    return await Promise.resolve(this.#host.requestStop());
  }

  /** Tells the leader that a worker's process is known to have ended. */
  exited(memberId: string, how: string): void {
    this.#host.leadership?.exited({ id: memberId }, how);
  }

  /** Ends the leader and all connections. Workers go on asking for a coordinator for a while. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#signOfLife);
    this.#host.close();
    const ended = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#sessions) session.end("the coordinator ends");
    await Promise.race([ended, sleep(2000, undefined, { ref: false })]);
    for (const release of this.#release) await release();
  }

  #accept(socket: ControlSocket<ClientMessage>): void {
    const { token, job } = this.#options;
    const session: CoordinatorSession = new CoordinatorSession(socket, { token, job, handshakeLimit: HANDSHAKE_LIMIT }, {
      observing: () => this.#tellState(session),
      joined: (id, seen, hash) => this.#joined(session, id, seen, hash),
      report: (id, report) => this.#host.leadership?.receive({ id }, report),
      heartbeat: (id) => this.#host.leadership?.heartbeat({ id }),
      command: (to, command) => this.#deliver(to, command),
      stop: () => this.#host.requestStop(),
      closed: (reason) => this.#sessionClosed(session, reason),
    });
    this.#sessions.add(session);
  }

  #joined(session: CoordinatorSession, id: string, seen: ClusterState | undefined, hash: string | undefined): void {
    const state = this.state;
    // Workers of an earlier run at this address, whose secret and name were the same: their state is none of this run's.
    if (seen !== undefined && hash !== undefined && hash !== jobHash(this.#options.job)) {
      session.refuse(`it was started with another job (${hash.slice(0, 12)}); start it again to take part in this one`);
      return;
    }
    if (seen !== undefined && (state === undefined || isOlder(state, seen))) {
      this.#adopt(session, seen);
      return;
    }
    this.#workers.get(id)?.end("its worker connected again");
    this.#workers.set(id, session);
    this.#host.leadership?.heartbeat({ id });
    this.#tellState(session);
  }

  /**
   * A worker knows more than this coordinator: it was started again without its record. While it has begun nothing of its own it takes
   * that over.
   */
  #adopt(session: CoordinatorSession, seen: ClusterState): void {
    const state = this.state;
    if (seen.job !== this.#options.job.name || (state !== undefined && state.phase !== "forming")) {
      session.refuse(
        `its epoch ${seen.epoch} of job "${seen.job}" is newer than epoch ${state?.epoch ?? 0} of "${this.#options.job.name}" here: it `
        + "belongs to another run",
      );
      return;
    }
    // All connect again and tell again what they told the leader before.
    for (const other of this.#sessions) other.end("the coordinator takes over a newer state");
    const next = goOn(seen, "a coordinator without a record took its workers' over");
    void this.#record.overwrite(next).then(async () => await this.#host.start());
  }

  #sessionClosed(session: CoordinatorSession, reason: "over" | "refused" | "broken"): void {
    this.#sessions.delete(session);
    if (reason === "refused") this.#refused++;
    if (reason === "broken") this.#broken++;
    const { id } = session;
    if (id === undefined || this.#workers.get(id) !== session) return;
    this.#workers.delete(id);
    this.#host.leadership?.disconnected({ id });
  }

  #deliver(to: string, command: WorkerCommand): boolean {
    const worker = this.#workers.get(to);
    worker?.send({ kind: "command", command });
    return worker !== undefined;
  }

  #broadcastState(state: ClusterState): void {
    for (const listener of this.#stateListeners) listener(state);
    const frame = encodeControlFrame({ kind: "state", state } satisfies CoordinatorMessage);
    for (const session of this.#sessions) if (session.ready) session.sendFrame(frame);
  }

  #tellState(session: CoordinatorSession): void {
    if (this.state !== undefined) session.send({ kind: "state", state: this.state });
  }
}

/** The state that another leader begins with: what the last one knew of votes is lost, so a step under way is begun again. */
function goOn(state: ClusterState, reason: string): ClusterState {
  return state.phase === "training" ? { ...state, epoch: state.epoch + 1, cause: "requested", reason } : state;
}
