import { setTimeout as sleep } from "node:timers/promises";
import { LinkError, MembershipError } from "../errors.ts";
import type { ClusterState } from "./cluster-state.ts";
import { connectControl } from "./control/connect-control.ts";
import { encodeControlFrame } from "./control/control-frames.ts";
import type { ClientMessage, CoordinatorMessage } from "./control/control-protocol.ts";
import type { ControlSocket } from "./control/control-socket.ts";
import type { Membership } from "./membership.ts";
import { PendingReports } from "./pending-reports.ts";
import { encodeReport } from "./report-limit.ts";
import { CommandFeed, StateFeed } from "./state-feed.ts";
import { timeoutDefaults, type Timeouts } from "../job/timeouts.ts";
import type { WorkerCommand, WorkerReport } from "./worker-report.ts";

/** How a worker reaches its coordinator. */
export interface CoordinatorMembershipOptions {
  /** "unix:/path/to.sock" or "tcp://host:port". */
  readonly address: string;
  readonly token: string;
  /** Made anew by every process: whoever was evicted joins as somebody else. */
  readonly memberId: string;
  /** Of the job it was started with: a coordinator that was started again with another one refuses it. */
  readonly jobHash?: string | undefined;
  readonly timeouts?: Partial<Timeouts> | undefined;
  /**
   * A coordinator that is not reached for so many milliseconds is given up: the worker is told that it is refused. Default: the limit
   * `forming`.
   */
  readonly giveUpAfter?: number | undefined;
}

const SHORTEST_BACKOFF = 20;
const LONGEST_BACKOFF = 1000;

/**
 * A worker's side of a coordinator's control plane. Resolves when it is connected; connects again, with a backoff, whenever the
 * connection is lost.
 * @throws LinkError when the coordinator cannot be reached in time, MembershipError when it refuses
 */
export async function createCoordinatorMembership(options: CoordinatorMembershipOptions): Promise<Membership> {
  const membership = new CoordinatorMembership(options);
  await membership.start();
  return membership;
}

class CoordinatorMembership implements Membership {
  readonly #options: CoordinatorMembershipOptions;
  readonly #timeouts: Timeouts;
  readonly #giveUpAfter: number;
  readonly #states = new StateFeed();
  readonly #commands = new CommandFeed();
  readonly #pending = new PendingReports();
  readonly #ending = new AbortController();
  #socket: ControlSocket<CoordinatorMessage> | undefined;
  #heartbeats: NodeJS.Timeout | undefined;
  #lastHeard = 0;

  constructor(options: CoordinatorMembershipOptions) {
    this.#options = options;
    this.#timeouts = { ...timeoutDefaults, ...options.timeouts };
    this.#giveUpAfter = options.giveUpAfter ?? this.#timeouts.forming;
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
    encodeReport(report); // refuses what is too large
    this.#pending.add(report);
    this.#socket?.send({ kind: "report", report } satisfies ClientMessage);
  }

  async start(): Promise<void> {
    await this.#connect(this.#timeouts.linkEstablishment);
    const frame = encodeControlFrame({ kind: "heartbeat" } satisfies ClientMessage);
    this.#heartbeats = setInterval(() => this.#beat(frame), this.#timeouts.heartbeatInterval);
  }

  async close(): Promise<void> {
    this.#ending.abort();
    clearInterval(this.#heartbeats);
    this.#states.close();
    this.#commands.close();
    const socket = this.#socket;
    this.#socket = undefined;
    await new Promise<void>((resolve) => {
      if (socket === undefined) {
        resolve();
        return;
      }
      socket.listen({ message: () => undefined, closed: () => resolve() });
      socket.end("the worker ends");
    });
  }

  /** Tries until the coordinator answers, refuses, or `limit` milliseconds are over. */
  async #connect(limit: number): Promise<void> {
    const { address, token, memberId: id } = this.#options;
    const deadline = performance.now() + limit;
    let backoff = SHORTEST_BACKOFF;
    while (!this.#ending.signal.aborted) {
      try {
        const socket = await connectControl({ address, token, role: "worker", id, limit: this.#timeouts.linkEstablishment }, {
          message: (message) => this.#received(message),
          closed: () => this.#lost(),
        });
        this.#connected(socket);
        return;
      } catch (error) {
        if (!(error instanceof LinkError) || performance.now() + backoff > deadline) throw error;
      }
      await sleep(backoff * (0.75 + Math.random() / 2), undefined, { signal: this.#ending.signal }).catch(() => undefined);
      backoff = Math.min(LONGEST_BACKOFF, backoff * 2);
    }
  }

  #connected(socket: ControlSocket<CoordinatorMessage>): void {
    if (this.#ending.signal.aborted) {
      socket.destroy("the worker ends");
      return;
    }
    this.#socket = socket;
    this.#lastHeard = performance.now();
    const seen = this.#states.state;
    socket.send({ kind: "join", jobHash: this.#options.jobHash, ...(seen === undefined ? {} : { seen }) } satisfies ClientMessage);
    for (const report of this.#pending.list()) socket.send({ kind: "report", report } satisfies ClientMessage);
  }

  #received(message: CoordinatorMessage): void {
    this.#lastHeard = performance.now();
    if (message.kind === "state") {
      this.#pending.settle(message.state);
      this.#states.accept(message.state);
    } else if (message.kind === "command") {
      if (message.command.kind === "refused") this.#pending.forgetHello();
      this.#commands.accept(message.command);
    } else if (message.kind === "refuse") {
      this.#giveUp(message.reason);
    }
  }

  #lost(): void {
    this.#socket = undefined;
    if (this.#ending.signal.aborted) return;
    this.#connect(this.#giveUpAfter).catch((error: unknown) => {
      if (!(error instanceof MembershipError || error instanceof LinkError)) throw error;
      this.#giveUp(error.message);
    });
  }

  #giveUp(reason: string): void {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    clearInterval(this.#heartbeats);
    this.#socket?.destroy(reason);
    this.#commands.accept({ kind: "refused", reason: reason.slice(0, 1024) });
  }

  #beat(frame: Buffer): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    socket.sendFrame(frame);
    // A cut cable closes nothing: a coordinator that was silent for long is connected to anew.
    if (performance.now() - this.#lastHeard > 2 * this.#timeouts.suspicionCeiling) socket.destroy("the coordinator is silent");
  }
}
