import { errors } from "@nats-io/transport-node";
import { MembershipError } from "../../errors.ts";
import type { Job } from "../../job/job.ts";
import type { RunEvent } from "../run-event.ts";
import type { ClusterObserver } from "../cluster-observer.ts";
import type { ClusterState, RestorePoint } from "../cluster-state.ts";
import { StateFeed } from "../state-feed.ts";
import type { WorkerCommand } from "../worker-report.ts";
import { NatsEventReader } from "./nats-events.ts";
import { NatsLink, type NatsAccess } from "./nats-link.ts";
import { natsStateSchema, readNatsMessage } from "./nats-messages.ts";
import { openNatsStore, registerJob, removeStore, withPatience, type NatsStore } from "./nats-store.ts";

/** Looks on through NATS. */
export interface NatsObserver extends ClusterObserver {
  /** The job. */
  job(): Promise<Job>;
  /** Tells the leader that a worker's process is known to have ended: sooner than its silence does. */
  exited(memberId: string, how: string): void;
  /** Removes all that NATS keeps of the job: it is over. */
  remove(): Promise<void>;
}

/** Which job is looked at. */
export interface NatsObserverOptions extends NatsAccess {
  readonly jobName: string;
}

const LOOK_INTERVAL = 1000;
const COMMAND_LIMIT = 2000;

/**
 * Puts a job into NATS, where workers find it; `resume` is where it begins when it is taken up from a checkpoint. What is left of a run of
 * the same name that has finished or failed is removed.
 * @throws MembershipError when another job of this name is not over, or there is no JetStream
 */
export async function publishNatsJob(access: NatsAccess, job: Job, resume?: RestorePoint): Promise<void> {
  await withStore(access, job.name, "create", async (found, link) => {
    const phase = (await withPatience(link, async () => await found.state.read()))?.value.phase;
    const isOver = phase === "finished" || phase === "failed";
    if (isOver) await removeStore(found);
    const store = isOver ? await openNatsStore(link, job.name, "launcher", "create") : found;
    if (resume !== undefined) {
      const revision = (await withPatience(link, async () => await store.resume.read()))?.revision ?? 0;
      const written = await store.resume.write(resume, revision, () => true);
      if (written === undefined) throw new MembershipError(`job "${job.name}" is taken up by somebody else at the same time`);
    }
    await registerJob(link, store, job);
  });
}

/** Asks NATS for a job: all that a worker needs besides. @throws MembershipError when there is none of this name */
export async function fetchNatsJob(access: NatsAccess, jobName: string): Promise<Job> {
  return await withStore(access, jobName, "open", async (store, link) => await readJob(link, store, jobName));
}

/** Removes all that NATS keeps of a job, so that its name is free. Does nothing where there is no such job. */
export async function removeNatsJob(access: NatsAccess, jobName: string): Promise<void> {
  await withStore(access, jobName, "create", removeStore);
}

/** Connects to look on and to send commands. @throws MembershipError */
export async function observeNats(options: NatsObserverOptions): Promise<NatsObserver> {
  const link = await NatsLink.open(options, `mecefo ${options.jobName} observer`);
  try {
    const store = await openNatsStore(link, options.jobName, "observer", "open");
    const observer = new Observer(link, store, options.jobName);
    await observer.start();
    return observer;
  } catch (error) {
    await link.connection.close();
    throw error;
  }
}

async function withStore<Result>(
  access: NatsAccess, jobName: string, mode: "open" | "create", task: (store: NatsStore, link: NatsLink) => Promise<Result>,
): Promise<Result> {
  const link = await NatsLink.open(access, `mecefo ${jobName}`);
  try {
    return await task(await openNatsStore(link, jobName, "launcher", mode), link);
  } finally {
    await link.close();
  }
}

async function readJob(link: NatsLink, store: NatsStore, jobName: string): Promise<Job> {
  const found = await withPatience(link, async () => await store.job.read());
  if (found === undefined) throw new MembershipError(`job "${jobName}" is not in NATS yet; start it first`);
  return found.value;
}

class Observer implements NatsObserver {
  readonly #link: NatsLink;
  readonly #store: NatsStore;
  readonly #jobName: string;
  readonly #states = new StateFeed();
  readonly #events: NatsEventReader;
  readonly #eventListeners = new Set<(event: RunEvent) => void>();
  #revision = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(link: NatsLink, store: NatsStore, jobName: string) {
    this.#link = link;
    this.#store = store;
    this.#jobName = jobName;
    this.#events = new NatsEventReader(store, link, (event) => {
      for (const listener of this.#eventListeners) listener(event);
    });
  }

  get state(): ClusterState | undefined {
    return this.#states.state;
  }

  async start(): Promise<void> {
    this.#link.connection.subscribe(this.#store.names.state, {
      callback: (error, message) => {
        const told = error === null ? readNatsMessage(message, natsStateSchema) : undefined;
        if (told !== undefined) this.#accept(told.state, told.revision);
      },
    });
    this.#link.onReconnect(() => void this.#look());
    await withPatience(this.#link, async () => await this.#events.start());
    await this.#look();
    this.#timer = setInterval(() => void this.#look(), LOOK_INTERVAL);
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
    return await this.#request(this.#store.names.command(memberId), JSON.stringify(command));
  }

  async requestStop(): Promise<boolean> {
    return await this.#request(this.#store.names.stop, "");
  }

  exited(memberId: string, how: string): void {
    const { connection } = this.#link;
    if (!connection.isClosed()) connection.publish(this.#store.names.exited, JSON.stringify({ id: memberId, how: how.slice(0, 256) }));
  }

  async job(): Promise<Job> {
    return await readJob(this.#link, this.#store, this.#jobName);
  }

  async remove(): Promise<void> {
    await removeStore(this.#store);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#events.close();
    this.#states.close();
    this.#eventListeners.clear();
    await this.#link.close();
  }

  async #request(subject: string, message: string): Promise<boolean> {
    try {
      await this.#link.connection.request(subject, message, { timeout: COMMAND_LIMIT });
      return true;
    } catch (error) {
      if (error instanceof errors.ClosedConnectionError) throw new MembershipError("the observer is closed", { cause: error });
      return false; // nobody there, or nobody answered
    }
  }

  async #look(): Promise<void> {
    try {
      const found = await this.#store.state.read();
      if (found !== undefined) this.#accept(found.value, found.revision);
    } catch {
      // No quorum at the moment, or closed: the next look will tell.
    }
  }

  #accept(state: ClusterState, revision: number): void {
    if (revision <= this.#revision) return;
    this.#revision = revision;
    this.#states.accept(state);
  }
}
