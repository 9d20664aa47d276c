import { randomUUID } from "node:crypto";
import type { RunEvent } from "../membership/run-event.ts";
import { slotName, slotsOf } from "../grid/grid.ts";
import { jobHash } from "../job/job-hash.ts";
import type { Job } from "../job/job.ts";
import { tinyJob } from "../runtime/tiny-run.testing.ts";
import { assignmentOf, hostedStages } from "../membership/holdings.ts";
import type { ClusterState } from "../membership/cluster-state.ts";
import { Controller, type ControllerOptions } from "./controller.ts";
import type { ControlPlane } from "../membership/membership.ts";
import type { StageVote, Vote, WorkerCommand } from "../membership/worker-report.ts";

/** A control plane in memory: every state that was written, every command. */
export class FakePlane implements ControlPlane {
  readonly states: ClusterState[] = [];
  readonly commands: { readonly id: string; readonly command: WorkerCommand }[] = [];
  /** Set: the next write fails so. */
  failure: Error | undefined;
  /** Set: writes wait for it. */
  gate: Promise<void> | undefined;

  async read(): Promise<{ state: ClusterState; revision: number } | undefined> {
    const state = this.states.at(-1);
    return await Promise.resolve(state && { state: structuredClone(state), revision: this.states.length });
  }

  async compareAndSet(state: ClusterState, revision: number): Promise<number | undefined> {
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
    if (revision !== this.states.length) return undefined;
    return await Promise.resolve(this.states.push(structuredClone(state)));
  }

  command(id: string, command: WorkerCommand): void {
    this.commands.push({ id, command });
  }
}

/** Hash of a stage before a step: what an honest worker votes. */
export const honestHash = (stage: number, step: number): string => (1000 * (stage + 1) + step).toString(16);

/** A leader whose workers are this test. Member ids are slots with a number: "p0s1-2" is the second worker there. */
export class LedCluster {
  readonly job: Job;
  readonly hash: string;
  readonly plane: FakePlane;
  readonly events: RunEvent[] = [];
  deposed = 0;
  time = 1000;
  controller: Controller;
  readonly #options: Partial<ControllerOptions>;
  readonly #starts = new Map<string, number>();

  constructor(job: Partial<Parameters<typeof tinyJob>[0]> = {}, options: Partial<ControllerOptions> = {}, plane: FakePlane = new FakePlane()) {
    this.job = tinyJob({ steps: 50, timeouts: {}, ...job });
    this.hash = jobHash(this.job);
    this.plane = plane;
    this.#options = options;
    this.controller = this.newController();
  }

  newController(): Controller {
    return new Controller({
      job: this.job, jobHash: this.hash, plane: this.plane, emit: (event) => this.events.push(event), now: () => this.time,
      deposed: () => this.deposed++, ...this.#options,
    });
  }

  get state(): ClusterState {
    return this.plane.states.at(-1)!;
  }

  get ids(): string[] {
    return this.state.members.map(({ id }) => id);
  }

  /** Id of a slot's member. */
  id(slot: string): string {
    return this.state.members.find((member) => slotName(member.slot) === slot)!.id;
  }

  /** Lets what was begun be written. */
  async settleDown(): Promise<void> {
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Passes time in ticks; everybody but the silent sends heartbeats. */
  async pass(milliseconds: number, silent: readonly string[] = []): Promise<void> {
    for (const end = this.time + milliseconds; this.time < end;) {
      this.time += Math.min(50, end - this.time);
      for (const id of this.ids) if (!silent.includes(id)) this.controller.heartbeat({ id });
      this.controller.tick();
      await this.settleDown();
    }
  }

  /** A worker asks for a slot. Gives its id. */
  hello(slot: string, more: Partial<{ jobHash: string; wanted: string | undefined }> = {}): string {
    const number = (this.#starts.get(slot) ?? 0) + 1;
    this.#starts.set(slot, number);
    const id = `${slot}-${number}`;
    this.controller.receive({ id }, {
      kind: "hello", id, address: `memory:${id}`, pid: number, hostname: "test", wanted: slot, jobHash: this.hash, ...more,
    });
    return id;
  }

  /** Starts the leader and fills the grid. */
  async form(): Promise<void> {
    await this.controller.start();
    for (const slot of slotsOf(this.job.grid)) this.hello(slotName(slot));
    await this.settleDown();
  }

  settle(ids: readonly string[] = this.ids): void {
    for (const id of ids) {
      this.controller.receive({ id }, { kind: "settled", epoch: this.state.epoch, transfers: [], milliseconds: 1 });
    }
  }

  vote(id: string, change: (stage: StageVote) => StageVote = (stage) => stage, more: Partial<Vote> = {}): void {
    const { members, epoch, step } = this.state;
    const member = members.find((candidate) => candidate.id === id)!;
    const stages = hostedStages(assignmentOf(this.job, this.state), member.slot)
      .map((stage) => change({ stage, squaredNorm: 1 + stage, gradientHash: "ab", stateHash: honestHash(stage, step) }));
    this.controller.receive({ id }, {
      kind: "vote", epoch, step, stages, batches: [], timings: { step: 1, busy: 1, waiting: 0, allReduce: 0 }, ...more,
    });
  }

  /** All vote. */
  async step(count = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      for (const id of this.ids) this.vote(id);
      await this.settleDown();
    }
  }

  trouble(id: string, trouble: "link" | "corruption" | "transfer" | "load" | "checkpoint" | "failure", peer?: string): void {
    this.controller.receive({ id }, { kind: "trouble", epoch: this.state.epoch, trouble, detail: `${trouble} ${randomUUID().slice(0, 4)}`, ...(peer && { peer }) });
  }
}
