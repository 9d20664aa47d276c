import { randomUUID } from "node:crypto";
import type { ActivationCodec } from "@frugal/language-model";
import { EvictedError, MecefoError } from "../errors.ts";
import { parseSlot, slotName, slotsOf } from "../grid/grid.ts";
import type { Job } from "../job/job.ts";
import { jobHash } from "../job/job-hash.ts";
import type { MicrobatchSampler } from "../job/sampler.ts";
import type { StageFactory } from "../job/stage-factory.ts";
import { Controller } from "../leader/controller.ts";
import { createInProcessMembership, type InProcessClient, type InProcessMembership } from "../membership/in-process-membership.ts";
import type { RestorePoint } from "../membership/cluster-state.ts";
import type { RunEvent } from "../membership/run-event.ts";
import { createMemoryTransport, MemoryHub, type MemoryTransport } from "../transport/memory-transport.ts";
import { Worker, type WorkerOutcome } from "../worker/worker.ts";
import type { GridRuntime, WorkerFault } from "./grid-runtime.ts";
import { leaderCheckpoints, workerCheckpoints } from "./job-checkpoints.ts";

/** What a grid in one process is made of. */
export interface InProcessGridOptions {
  readonly job: Job;
  readonly factory: StageFactory;
  readonly sampler: MicrobatchSampler;
  readonly codec: ActivationCodec;
  readonly resume?: RestorePoint | undefined;
  readonly onEvent?: (event: RunEvent) => void;
  readonly onWorker?: (slot: string, worker: Worker) => void;
  /** Milliseconds after which a worker that was killed by `inject` is started again; undefined: only by `start`. */
  readonly restartDelay?: number | undefined;
  /** Whether faults may be injected. Default true. */
  readonly allowFaults?: boolean | undefined;
}

interface Place {
  readonly worker: Worker;
  readonly client: InProcessClient;
  readonly transport: MemoryTransport;
  readonly abort: AbortController;
  readonly done: Promise<WorkerOutcome | undefined>;
}

/**
 * All workers and their leader in this process, over memory instead of sockets: the same code with the same messages. For tests, for trying
 * things out, and where one process is all there is.
 */
export class InProcessGrid implements GridRuntime {
  readonly #options: InProcessGridOptions;
  readonly #hash: string;
  readonly #hub: MemoryHub = new MemoryHub();
  readonly #places = new Map<string, Place>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #membership: InProcessMembership | undefined;
  #controller: Controller | undefined;
  #end: ((outcome: WorkerOutcome) => void) | undefined;
  #fail: ((error: unknown) => void) | undefined;

  constructor(options: InProcessGridOptions) {
    this.#options = options;
    this.#hash = jobHash(options.job);
  }

  /** Trains until the run ends. */
  async run(): Promise<WorkerOutcome> {
    const { job, resume, onEvent } = this.#options;
    const membership = await createInProcessMembership({
      heartbeatInterval: job.timeouts.heartbeatInterval,
      createLeadership: async (plane, publishEvent) => {
        const controller = new Controller({ job, jobHash: this.#hash, plane, resume, emit: publishEvent, ...leaderCheckpoints(job) });
        await controller.start();
        return (this.#controller = controller);
      },
    });
    this.#membership = membership;
    if (onEvent) membership.onEvent(onEvent);
    try {
      const ended = new Promise<WorkerOutcome>((resolve, reject) => {
        [this.#end, this.#fail] = [resolve, reject];
      });
      for (const slot of slotsOf(job.grid)) this.start(slotName(slot));
      const outcome = await ended;
      await Promise.all([...this.#places.values()].map(({ done }) => done));
      return outcome;
    } finally {
      await this.close();
      await membership.close();
    }
  }

  /** Starts a worker for a slot, in the place of the one there was. */
  start(slot: string): void {
    const { job, factory, sampler, codec, onWorker } = this.#options;
    parseSlot(slot);
    const id = `${slot}-${randomUUID().slice(0, 8)}`;
    const client = this.#membership!.join(id);
    const transport = createMemoryTransport({ hub: this.#hub, id });
    const abort = new AbortController();
    const worker = new Worker({
      id, job, jobHash: this.#hash, factory, sampler, codec, transport, membership: client, wanted: slot,
      checkpoints: workerCheckpoints(job, factory), allowFaults: true, kill: () => void this.kill(slot),
    });
    onWorker?.(slot, worker);
    const done = this.#train(worker, abort.signal);
    this.#places.set(slot, { worker, client, transport, abort, done });
    void done.then((outcome) => {
      worker.dispose();
      if (outcome) this.#end?.(outcome);
    }, (error: unknown) => {
      worker.dispose();
      void transport.close();
      client.kill();
      // Taken for dead: comes back as another, as a process would.
      if (error instanceof EvictedError) this.start(slot);
      else this.#fail?.(error);
    });
  }

  async #train(worker: Worker, signal: AbortSignal): Promise<WorkerOutcome | undefined> {
    try {
      return await worker.run(signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  /** Ends a worker without a word, as by SIGKILL. */
  async kill(slot: string): Promise<void> {
    const place = this.#places.get(slot);
    if (place === undefined) return;
    this.#places.delete(slot);
    place.client.kill();
    place.abort.abort(new Error("killed"));
    await place.transport.close();
    await place.done.catch(() => {});
  }

  /** A stop is a silence here: the worker neither hears nor says anything, but goes on computing. */
  async inject(slot: string, fault: WorkerFault): Promise<void> {
    const place = this.#places.get(slot);
    if (this.#options.allowFaults === false) throw new MecefoError("faults are not allowed in this run");
    if (place === undefined) throw new MecefoError(`${slot} has no live worker`);
    if (fault.kind === "kill") {
      const delay = fault.repairAfter ?? this.#options.restartDelay;
      await this.kill(slot);
      if (delay !== undefined) this.#later(delay, () => this.start(slot));
    } else if (fault.kind === "stop") {
      place.client.pause();
      this.#later(fault.durationMilliseconds, () => place.client.resume());
    } else place.transport.inject(fault);
  }

  #later(milliseconds: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, milliseconds);
    this.#timers.add(timer);
  }

  get live(): readonly string[] {
    return this.#membership?.state?.members.map(({ slot }) => slotName(slot)) ?? [];
  }

  /** What runs is ended without a word. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const slot of this.#places.keys()) await this.kill(slot);
  }

  /** Ends the run with a checkpoint after the step in flight. */
  requestStop(): void {
    this.#controller?.requestStop();
  }
}
