import { parseSlot } from "../grid/grid.ts";
import type { Job } from "../job/job.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { ControlPlane, Leadership, Sender } from "./membership.ts";
import type { Hello, Vote, WorkerReport } from "./worker-report.ts";

/**
 * A leader for tests of what is between workers and leaders: takes every hello, takes a step at the first vote, begins an epoch at every
 * trouble.
 */
export class FakeLeadership implements Leadership {
  readonly received: { readonly from: string; readonly report: WorkerReport }[] = [];
  readonly heartbeats: string[] = [];
  readonly gone: string[] = [];
  readonly ended: string[] = [];
  ticks = 0;
  closed = false;
  /** Writes that failed, because another one had written. */
  deposed = 0;
  readonly #plane: ControlPlane;
  readonly #job: string;
  #revision: number;
  #state: ClusterState;
  #queue: Promise<void> = Promise.resolve();

  private constructor(plane: ControlPlane, state: ClusterState, revision: number) {
    this.#plane = plane;
    this.#job = state.job;
    this.#state = state;
    this.#revision = revision;
  }

  /** Reads the state, or writes the first one. */
  static async create(plane: ControlPlane, job: string): Promise<FakeLeadership> {
    const found = await plane.read();
    if (found !== undefined) return new FakeLeadership(plane, found.state, found.revision);
    const state = makeState({ job });
    return new FakeLeadership(plane, state, await plane.compareAndSet(state, 0) ?? 0);
  }

  get state(): ClusterState {
    return this.#state;
  }

  receive(from: Sender, report: WorkerReport): void {
    this.received.push({ from: from.id, report });
    if (report.kind === "hello") {
      if (report.wanted === "refuse") this.#plane.command(report.id, { kind: "refused", reason: `not ${report.id}` });
      else this.#change((state) => join(state, report));
    }
    if (report.kind === "vote") this.#change((state) => take(state, report));
    if (report.kind === "trouble") {
      const { detail: reason, epoch } = report;
      this.#change((state) => state.epoch > epoch ? state : { ...state, epoch: state.epoch + 1, cause: "link", reason });
    }
  }

  heartbeat(from: Sender): void {
    this.heartbeats.push(from.id);
  }

  disconnected(from: Sender): void {
    this.gone.push(from.id);
  }

  exited(from: Sender, how: string): void {
    this.ended.push(`${from.id} ${how}`);
  }

  tick(): void {
    this.ticks++;
  }

  requestStop(): void {
    this.ended.push("stop");
  }

  close(): void {
    this.closed = true;
  }

  #change(next: (state: ClusterState) => ClusterState): void {
    this.#queue = this.#queue.then(async () => {
      const state = next(this.#state);
      if (this.closed || state === this.#state) return;
      const revision = await this.#plane.compareAndSet({ ...state, job: this.#job }, this.#revision);
      if (revision === undefined) {
        this.deposed++;
        return;
      }
      this.#state = state;
      this.#revision = revision;
    }).catch((error: unknown) => {
      this.ended.push(String(error));
    });
  }
}

function join(state: ClusterState, { id, address, pid, hostname, wanted = "p0s0" }: Hello): ClusterState {
  if (state.members.some((member) => member.id === id)) return state;
  const member = { id, slot: parseSlot(wanted), address, pid, hostname, holdings: [] };
  return {
    ...state, phase: "training", epoch: state.epoch + 1, members: [...state.members, member], cause: "joined", reason: `${id} joined`,
  };
}

function take(state: ClusterState, { epoch, step }: Vote): ClusterState {
  if (state.epoch !== epoch || state.step !== step) return state;
  return { ...state, step: step + 1, decision: { epoch, step, squaredNorm: 1 } };
}

/** A state with some fields given. */
export function makeState(given: Partial<ClusterState> = {}): ClusterState {
  return {
    formatVersion: 1, job: "test-job", epoch: 0, phase: "forming", step: 0, stopAt: 10, members: [], cause: "formed",
    reason: "a test began", ...given,
  };
}

/** A hello of a member. */
export function makeHello(id: string, wanted = "p0s0"): Hello {
  return { kind: "hello", id, address: `memory:${id}`, pid: process.pid, hostname: "test", wanted, jobHash: "ab12" };
}

/** A vote without contents. */
export function makeVote(epoch: number, step: number): Vote {
  return { kind: "vote", epoch, step, stages: [], batches: [], timings: { step: 1, busy: 1, waiting: 0, allReduce: 0 } };
}

/** A job that nobody trains. */
export function makeJob(name = "test-job"): Job {
  return {
    formatVersion: 1, name, model: { kind: "decoder", configuration: {} }, data: { folder: "nowhere", sha256: "0".repeat(64) },
    grid: { pipelines: 1, stages: 1 }, microbatches: 1, microbatchSize: 1, sequenceLength: 8, steps: 10, seed: 1,
    optimizer: {
      learningRate: 1e-3, warmupSteps: 0, finalLearningRateScale: 0.1, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0,
      maximumGradientNorm: 1,
    },
    strategy: "mecefo", techniques: { skipMixerBackward: true, recomputeFeedForward: true, lowRankWeightGradients: true },
    projection: { basis: "weight", refreshInterval: 100 }, maximumChain: 2, lostPipeline: "reroute", sharing: "balanced", emptyMixer: "exact", codec: "float32",
    hashEvery: 1, threads: 1, timeouts: {},
  };
}

/** Waits until a condition holds. @throws Error after ten seconds, with the name of what was waited for */
export async function until(what: string, condition: () => boolean, limit = 10_000): Promise<void> {
  const deadline = performance.now() + limit;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited ${limit} ms for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
