import { LinkError, MembershipError } from "../errors.ts";
import type { Job } from "../job/job.ts";
import type { RunEvent } from "./run-event.ts";
import type { ClusterObserver } from "./cluster-observer.ts";
import type { ClusterState } from "./cluster-state.ts";
import { connectControl } from "./control/connect-control.ts";
import type { ClientMessage, CoordinatorMessage } from "./control/control-protocol.ts";
import type { ControlSocket } from "./control/control-socket.ts";
import { StateFeed } from "./state-feed.ts";
import { timeoutDefaults } from "../job/timeouts.ts";
import type { WorkerCommand } from "./worker-report.ts";

/** How a coordinator is reached from outside. */
export interface CoordinatorAccess {
  /** "unix:/path/to.sock" or "tcp://host:port". */
  readonly address: string;
  readonly token: string;
  /** Milliseconds for the connection. */
  readonly limit?: number | undefined;
}

/** An observer that can also ask for the job, and that tells when its coordinator is gone. */
export interface CoordinatorObserver extends ClusterObserver {
  /** The job that the coordinator was started with. */
  job(): Promise<Job>;
  /** Resolves with the cause when the connection is over. */
  readonly closed: Promise<string>;
}

/** Connects to a coordinator to look on and to send commands. @throws LinkError, MembershipError */
export async function observeCoordinator(access: CoordinatorAccess): Promise<CoordinatorObserver> {
  const observer = new Observer(access);
  await observer.start();
  return observer;
}

/** Asks a coordinator for its job: all that a worker needs besides. @throws LinkError, MembershipError */
export async function fetchJob(access: CoordinatorAccess): Promise<Job> {
  const observer = await observeCoordinator(access);
  try {
    return await observer.job();
  } finally {
    await observer.close();
  }
}

interface Waiting<Value> {
  resolve(value: Value): void;
  reject(error: Error): void;
}

class Observer implements CoordinatorObserver {
  readonly closed: Promise<string>;
  readonly #access: CoordinatorAccess;
  readonly #states = new StateFeed();
  readonly #eventListeners = new Set<(event: RunEvent) => void>();
  readonly #commands = new Map<number, Waiting<boolean>>();
  #jobs: Waiting<Job>[] = [];
  #socket: ControlSocket<CoordinatorMessage> | undefined;
  #requests = 0;
  #isClosed: (cause: string) => void = () => undefined;

  constructor(access: CoordinatorAccess) {
    this.#access = access;
    this.closed = new Promise((resolve) => {
      this.#isClosed = resolve;
    });
  }

  get state(): ClusterState | undefined {
    return this.#states.state;
  }

  async start(): Promise<void> {
    const { address, token, limit } = this.#access;
    this.#socket = await connectControl({ address, token, role: "observer", limit: limit ?? timeoutDefaults.linkEstablishment }, {
      message: (message) => this.#received(message),
      closed: (cause) => this.#over(cause),
    });
  }

  onState(listener: (state: ClusterState) => void): () => void {
    return this.#states.onState(listener);
  }

  onEvent(listener: (event: RunEvent) => void): () => void {
    this.#eventListeners.add(listener);
    return () => {
      this.#eventListeners.delete(listener);
    };
  }

  async command(memberId: string, command: WorkerCommand): Promise<boolean> {
    return await this.#request((request) => ({ kind: "command", request, to: memberId, command }));
  }

  async requestStop(): Promise<boolean> {
    return await this.#request((request) => ({ kind: "stop", request }));
  }

  async job(): Promise<Job> {
    return await new Promise((resolve, reject) => {
      this.#jobs.push({ resolve, reject });
      this.#send({ kind: "job" });
    });
  }

  async close(): Promise<void> {
    this.#states.close();
    this.#eventListeners.clear();
    this.#socket?.end("the observer ends");
    await this.closed;
  }

  async #request(message: (request: number) => ClientMessage): Promise<boolean> {
    const request = this.#requests++;
    return await new Promise((resolve, reject) => {
      this.#commands.set(request, { resolve, reject });
      this.#send(message(request));
    });
  }

  #send(message: ClientMessage): void {
    if (this.#socket === undefined) this.#over("the connection is closed");
    else this.#socket.send(message);
  }

  #received(message: CoordinatorMessage): void {
    if (message.kind === "state") {
      this.#states.accept(message.state);
    } else if (message.kind === "event") {
      for (const listener of this.#eventListeners) listener(message.event);
    } else if (message.kind === "job") {
      for (const waiting of this.#jobs.splice(0)) waiting.resolve(message.job);
    } else if (message.kind === "commanded") {
      this.#commands.get(message.request)?.resolve(message.delivered);
      this.#commands.delete(message.request);
    } else if (message.kind === "refuse") {
      this.#fail(new MembershipError(`the coordinator at ${this.#access.address} refused: ${message.reason}`));
    }
  }

  #over(cause: string): void {
    this.#socket = undefined;
    this.#fail(new LinkError(this.#access.address, cause));
    this.#isClosed(cause);
  }

  #fail(error: Error): void {
    for (const waiting of [...this.#jobs.splice(0), ...this.#commands.values()]) waiting.reject(error);
    this.#commands.clear();
  }
}
