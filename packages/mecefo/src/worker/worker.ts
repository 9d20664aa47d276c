import { cosineSchedule, memory, tidy, type Schedule } from "@frugal/tensor-core";
import { ProjectionStore } from "../approximation/projection-store.ts";
import {
  CheckpointError, EpochEndedError, EvictedError, FrameError, LinkError, MecefoError, MembershipError, StateTransferError,
} from "../errors.ts";
import { slotName } from "../grid/grid.ts";
import { partitionBlocks, type StagePartition } from "../grid/stage-partition.ts";
import type { StageParts } from "../job/stage-factory.ts";
import type { ClusterState, Decision } from "../membership/cluster-state.ts";
import { assignmentOf, donorsOf } from "../membership/holdings.ts";
import { STEPS_AHEAD } from "../membership/steps-ahead.ts";
import { timeoutDefaults, type Timeouts } from "../job/timeouts.ts";
import type { Settled, StageVote, Trouble } from "../membership/worker-report.ts";
import { runPasses } from "../pipeline/run-passes.ts";
import { linkFailureKind } from "../transport/link-failure.ts";
import { Mailbox } from "../transport/mailbox.ts";
import { exchangeNorms } from "./exchange-norms.ts";
import { planEpoch, type EpochPlan } from "./epoch-plan.ts";
import { HeldStage } from "./held-stage.ts";
import { reduceGradients } from "./reduce-gradients.ts";
import { fetchState, PartialState, StateDonor } from "./state-transfer.ts";
import { StateWatch } from "./state-watch.ts";
import { StepClock } from "../pipeline/step-clock.ts";
import type { WorkerOptions, WorkerOutcome } from "./worker-options.ts";

export type { WorkerCheckpoints, WorkerOptions, WorkerOutcome } from "./worker-options.ts";

/** A wait longer than this, in milliseconds, is told to the leader. */
const LONG_WAIT = 300;
/** Milliseconds between two requests to take part, until they are granted. */
const HELLO_INTERVAL = 2000;
/** Who has no slot after so many milliseconds, says that it is a spare. */
const SPARE_NOTICE = 3000;

/**
 * A worker of the grid: joins, holds what its slot's hosting asks for, takes steps, and answers every change of epoch by beginning the step
 * again. The weights change only by decisions: between two steps all replicas of a stage have the same bits.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #timeouts: Timeouts;
  readonly #partition: StagePartition;
  readonly #tied: boolean;
  readonly #schedule: Schedule;
  readonly #mailbox: Mailbox;
  readonly #donor: StateDonor;
  readonly #watch: StateWatch;
  readonly #projections: ProjectionStore;
  readonly #held = new Map<number, HeldStage>();
  readonly #partial = new Map<number, PartialState>();
  /** Reduced gradients of a step that everybody may have voted for. */
  #prepared: { readonly epoch: number; readonly step: number; readonly stages: readonly number[] } | undefined;
  #writes: Promise<void> = Promise.resolve();
  #plan: EpochPlan | undefined;
  #asking: NodeJS.Timeout | undefined;
  /** Peers whose link failed in this epoch: told once. */
  readonly #broken = new Set<string>();

  constructor(options: WorkerOptions) {
    const { job, transport, membership, factory } = options;
    this.#options = options;
    this.#timeouts = { ...timeoutDefaults, ...job.timeouts };
    this.#partition = partitionBlocks(factory.blockCount, job.grid.stages);
    this.#tied = factory.tiedHead && job.grid.stages > 1;
    const { warmupSteps, finalLearningRateScale } = job.optimizer;
    this.#schedule = cosineSchedule({ totalSteps: job.steps, warmupSteps, finalScale: finalLearningRateScale });
    this.#projections = new ProjectionStore(job.projection, { seed: job.seed });
    this.#watch = new StateWatch(membership);
    this.#mailbox = new Mailbox({
      transport,
      longWaitMilliseconds: LONG_WAIT,
      onLongWait: (peer, tag) => {
        membership.report({ kind: "progress", epoch: tag.epoch, step: tag.step, activity: `waits for ${tag.kind}`, waitingFor: peer });
      },
      onLinkFailure: (peer, cause) => {
        this.#reportLink(peer, cause);
      },
    });
    // Whoever waits for a peer that has gone on to another epoch would wait for ever.
    membership.onState(({ epoch, phase }) => {
      this.#mailbox.endEpoch(phase === "training" || phase === "forming" ? epoch - 1 : epoch);
    });
    this.#donor = new StateDonor({ transport, mailbox: this.#mailbox }, (stage) => this.#held.get(stage)?.replica);
    membership.onCommand((command) => {
      if (command.kind === "refused") this.#watch.fail(new MembershipError(`refused: ${command.reason}`));
      else if (options.allowFaults !== true) options.log?.(`${command.kind} was ignored: this worker was not started to allow faults`);
      else if (command.kind === "fault") transport.inject(command.fault);
      else (options.kill ?? (() => process.kill(process.pid, "SIGKILL")))();
    });
  }

  /**
   * Takes part until the run ends.
   * @throws EvictedError when others took this worker for dead: it may join again as another; MembershipError when it is refused
   */
  async run(signal?: AbortSignal): Promise<WorkerOutcome> {
    const { id, job, jobHash, transport, membership, wanted, hostname = "localhost" } = this.#options;
    signal?.addEventListener("abort", () => {
      membership.report({ kind: "leaving", reason: "asked to end" });
      this.#watch.fail(signal.reason);
      this.#mailbox.close();
    }, { once: true });
    const ask = (): void => {
      membership.report({ kind: "hello", id, address: transport.address, pid: process.pid, hostname, wanted, jobHash });
    };
    ask();
    // A leader that heard nothing of an applicant for too long has forgotten it.
    this.#asking = setInterval(ask, HELLO_INTERVAL);
    const isMember = ({ members }: ClusterState): boolean => members.some((member) => member.id === id);
    let wasMember = false;
    const notice = setTimeout(() => {
      if (wasMember || this.#watch.current?.phase !== "training") return;
      this.#options.log?.(`${wanted ?? "every slot"} is taken: waits as a spare until ${wanted === undefined ? "one" : "it"} is free`);
    }, SPARE_NOTICE);
    notice.unref();
    for (;;) {
      signal?.throwIfAborted();
      const state = await this.#watch.next((next) => next.phase === "finished" || next.phase === "failed" || wasMember || isMember(next));
      if (state.phase === "finished") {
        await this.#writes;
        return { kind: "finished", step: state.step };
      }
      if (state.phase === "failed") return { kind: "failed", reason: state.reason };
      const member = state.members.find((candidate) => candidate.id === id);
      if (member === undefined) throw new EvictedError(`${id} is no member of ${job.name} any more: ${state.reason}`);
      wasMember = true;
      clearInterval(this.#asking);
      await this.#runEpoch(state);
    }
  }

  /** Frees what is held. Transport and membership are left alone. */
  dispose(): void {
    clearInterval(this.#asking);
    this.#watch.close();
    this.#mailbox.close();
    for (const stage of this.#held.values()) stage.dispose();
    this.#held.clear();
    this.#projections.dispose();
  }

  /** Until another epoch begins, or the run ends. */
  async #runEpoch(state: ClusterState): Promise<void> {
    const { membership } = this.#options;
    const { epoch } = state;
    try {
      const plan = this.#beginEpoch(state);
      await this.#settle(state, plan);
      let { step } = state;
      while (plan.assignment.trainable && await this.#mayBegin(epoch, step)) {
        await this.#step(plan, step++);
        await this.#checkpoint(plan, step);
      }
      if (step === state.step && step >= state.stopAt) await this.#checkpoint(plan, step);
      await this.#watch.next((next) => next.epoch !== epoch || next.phase !== "training");
    } catch (error) {
      if (error instanceof EpochEndedError) return;
      const isMendable = [LinkError, StateTransferError, FrameError, CheckpointError].some((kind) => error instanceof kind);
      if (error instanceof LinkError) this.#reportLink(error.peer, error.message.replace(/^link to \S+: /, ""));
      else if (!(error instanceof EvictedError)) membership.report(troubleOf(error, epoch));
      // Nothing that another epoch could mend.
      if (!isMendable) throw error;
      await this.#watch.next((next) => next.epoch !== epoch || next.phase !== "training");
    }
  }

  /**
   * Whether a step is to be taken. Who does not wait for decisions keeps close to the leader all the same, so that all stop at the same
   * step.
   */
  async #mayBegin(epoch: number, step: number): Promise<boolean> {
    const isOver = (state: ClusterState): boolean => state.epoch !== epoch || state.phase !== "training";
    const state = await this.#watch.next((next) => isOver(next) || step >= next.stopAt || step - next.step <= STEPS_AHEAD);
    if (isOver(state)) throw new EpochEndedError(epoch);
    return step < state.stopAt;
  }

  /** Settles what the last epoch left open, and turns to the peers of the new one. */
  #beginEpoch(state: ClusterState): EpochPlan {
    const { id, job, transport } = this.#options;
    const { decision } = state;
    if (decision && state.load === undefined) this.#settlePrepared(decision);
    this.#prepared = undefined;
    const assignment = assignmentOf(job, state);
    const member = state.members.find((candidate) => candidate.id === id)!;
    const plan = planEpoch(state, member, assignment, job.grid.stages, this.#tied);
    this.#plan = plan;
    this.#broken.clear();
    for (const stage of this.#held.values()) stage.sums.clear();
    this.#donor.beginEpoch(state.epoch, plan.peers);
    this.#mailbox.beginEpoch(state.epoch);
    transport.beginEpoch(state.epoch, plan.peers);
    return plan;
  }

  /** The decision was written before this worker heard of it: it is taken all the same. */
  #settlePrepared(decision: Decision): void {
    if (this.#prepared?.epoch === decision.epoch && this.#prepared.step === decision.step) this.#take(this.#prepared.stages, decision);
  }

  /** Comes to hold what the plan asks for. */
  async #settle(state: ClusterState, plan: EpochPlan): Promise<void> {
    const { membership } = this.#options;
    const began = performance.now();
    const { host, stages, epoch } = plan;
    const transfers: Settled["transfers"][number][] = [];
    // What is not of this step is of no use to anybody.
    for (const [stage, held] of this.#held) {
      if (state.load !== undefined || held.replica.step !== state.step) this.#drop(stage);
    }
    await Promise.all(stages.filter((stage) => !this.#held.has(stage)).map(async (stage) => {
      if (state.load === undefined) transfers.push(...(await this.#fetch(state, plan, stage)));
      else await this.#load(state, plan, stage);
    }));
    // A stage that is held, but not hosted for now, is not degraded: hosting it again is another episode.
    for (const [stage, held] of this.#held) held.setMode(host.modes[stage - host.from] ?? {});
    if (this.#watch.current?.epoch !== epoch) throw new EpochEndedError(epoch);
    membership.report({ kind: "settled", epoch, transfers, milliseconds: performance.now() - began });
  }

  #create(stage: number): HeldStage {
    const { job, factory } = this.#options;
    const parts: StageParts = { blocks: this.#partition[stage]!, embedding: stage === 0, head: stage === job.grid.stages - 1 };
    return new HeldStage({ stage, parts, factory, job }, { stages: job.grid.stages, projections: this.#projections });
  }

  async #load(state: ClusterState, plan: EpochPlan, stage: number): Promise<void> {
    const created = this.#create(stage);
    try {
      if (state.load!.from === "checkpoint") {
        const { checkpoints } = this.#options;
        const { folder } = state.load!;
        if (checkpoints === undefined) throw new CheckpointError(`this worker cannot read ${folder}: it was started without checkpoints`);
        const wanted = created.replica.parameters.map(({ name, parameter }) => ({ name, shape: parameter.shape }));
        created.replica.load({ step: state.step, parameters: await checkpoints.read(folder, wanted) });
      } else created.replica.step = state.step;
      if (this.#plan !== plan) throw new EpochEndedError(state.epoch);
    } catch (error) {
      created.dispose();
      throw error;
    }
    this.#hold(stage, created);
  }

  async #fetch(state: ClusterState, plan: EpochPlan, stage: number): Promise<Settled["transfers"]> {
    const { transport } = this.#options;
    const donors = donorsOf(state, stage, plan.member).map(({ id, address }) => ({ id, address }));
    if (donors.length === 0) throw new StateTransferError(`nobody holds stage ${stage}`);
    const began = performance.now();
    const created = this.#create(stage);
    try {
      const partial = this.#partial.get(stage) ?? new PartialState();
      this.#partial.set(stage, partial);
      const { state: fetched, received } = await fetchState({ transport, mailbox: this.#mailbox }, {
        stage, epoch: state.epoch, step: state.step, byteLength: created.stateBytes, donors, stall: this.#timeouts.transferStall, partial,
      });
      // The last chunk may have come as the epoch ended.
      if (this.#plan !== plan) throw new EpochEndedError(state.epoch);
      created.replica.load(fetched);
      this.#partial.delete(stage);
      this.#hold(stage, created);
      const milliseconds = performance.now() - began;
      return [...received].map(([donor, bytes]) => ({ stage, donor, bytes, milliseconds }));
    } catch (error) {
      created.dispose();
      throw error;
    }
  }

  #hold(stage: number, held: HeldStage): void {
    this.#drop(stage);
    this.#held.set(stage, held);
    const [from, to] = this.#partition[stage]!;
    for (let block = from; block < to; block++) this.#projections.reset(block);
  }

  #drop(stage: number): void {
    this.#held.get(stage)?.dispose();
    this.#held.delete(stage);
  }

  /** One step: passes, all-reduce, vote, decision. */
  async #step(plan: EpochPlan, step: number): Promise<void> {
    const { job, transport, membership, sampler, codec } = this.#options;
    const { epoch, host, stages } = plan;
    const clock = new StepClock();
    const held = stages.map((stage) => this.#held.get(stage)!);
    const hashes = await this.#stateHashes(held, step, clock);
    this.#projections.beginStep(step);
    const { device, hiddenSize } = held[0]!.replica.model;
    const passes = plan.active
      ? await runPasses({
          ...plan, pipeline: plan.member.slot.pipeline, step, executors: held.map(({ executor }) => executor),
          blocks: [this.#partition[host.from]![0], this.#partition[host.to - 1]![1]],
          hiddenSize, device,
        }, { job, sampler, codec, transport, mailbox: this.#mailbox, clock })
      : { lossSum: undefined, batches: [] };
    const reduced = await clock.reducing(reduceGradients(plan, step, this.#held, { transport, mailbox: this.#mailbox }));
    for (const { sums } of held) sums.clear();
    this.#prepared = { epoch, step, stages };
    const votes = reduced.map((vote, i): StageVote => ({ ...vote, ...(hashes[i] !== undefined && { stateHash: hashes[i] }) }));
    const energy = stages.length > 1 && job.techniques.lowRankWeightGradients ? await this.#projections.energies() : [];
    const { allocatedBytes: tensorBytes, peakBytes: peakTensorBytes } = memory(device);
    membership.report({
      kind: "vote", epoch, step, stages: votes, batches: passes.batches, timings: clock.timings(),
      ...(passes.lossSum !== undefined && { loss: { sum: passes.lossSum, microbatches: plan.microbatches.length } }),
      ...(energy.length > 0 && { energy }),
      memory: { tensorBytes, peakTensorBytes },
    });
    const decision = job.strategy === "none"
      ? { epoch, step, squaredNorm: await exchangeNorms(plan, step, reduced, job.grid.stages, { transport, mailbox: this.#mailbox }) }
      : await this.#decisionOn(epoch, step);
    this.#take(stages, decision);
    this.#donor.release();
    for (const stage of this.#held.keys()) if (!stages.includes(stage)) this.#drop(stage);
  }

  async #stateHashes(held: readonly HeldStage[], step: number, clock: StepClock): Promise<readonly string[]> {
    const { hashEvery } = this.#options.job;
    if (hashEvery === 0 || step % hashEvery !== 0) return [];
    return await clock.computing(() => Promise.all(held.map(({ replica }) => replica.hash())));
  }

  /** @throws EpochEndedError when the epoch ends without it */
  async #decisionOn(epoch: number, step: number): Promise<Decision> {
    const state = await this.#watch.next((next) => next.epoch !== epoch || next.phase !== "training"
      || (next.decision?.epoch === epoch && next.decision.step >= step));
    if (state.epoch === epoch && state.decision?.epoch === epoch && state.decision.step === step) return state.decision;
    throw new EpochEndedError(epoch);
  }

  /** Applies the averaged gradients: the only place where weights change. */
  #take(stages: readonly number[], { step, squaredNorm }: Decision): void {
    this.#prepared = undefined;
    const { maximumGradientNorm } = this.#options.job.optimizer;
    for (const stage of stages) {
      const { replica, gradients, tied } = this.#held.get(stage)!;
      if (replica.step !== step) throw new MecefoError(`stage ${stage} is at step ${replica.step}, the decision is about step ${step}`);
      if (squaredNorm === null) {
        replica.skip();
        continue;
      }
      const scale = Math.min(1, maximumGradientNorm / (Math.sqrt(squaredNorm) + 1e-6));
      tidy(() => {
        const byParameter = new Map([...gradients.gradients(scale), ...(tied?.gradients(scale) ?? [])]);
        replica.update(replica.parameters.map(({ parameter }) => byParameter.get(parameter)), this.#schedule(step));
      });
    }
  }

  /** Writes this worker's shards, if the step asks for a checkpoint. Training goes on while they are written. */
  async #checkpoint(plan: EpochPlan, step: number): Promise<void> {
    const { job, membership, checkpoints, log } = this.#options;
    const isLast = step >= this.#watch.current!.stopAt;
    if (checkpoints === undefined || job.checkpoint === undefined || !(isLast || step % job.checkpoint.every === 0)) return;
    const states = await Promise.all(plan.shards.map((stage) => this.#held.get(stage)!.replica.state()));
    this.#writes = this.#writes.then(async () => {
      for (const state of states) {
        const shard = await checkpoints.write(state);
        membership.report({ kind: "shard", step, stage: state.stage, ...shard, degraded: !plan.assignment.healthy });
      }
    }).catch((error: unknown) => {
      const detail = error instanceof Error ? error.message : String(error);
      log?.(`the checkpoint of step ${step} could not be written: ${detail}`);
      membership.report({ kind: "trouble", epoch: plan.epoch, trouble: "checkpoint", detail: detail.slice(0, 1000) });
    });
    if (isLast) await this.#writes;
  }

  #reportLink(peer: string, cause: string): void {
    const plan = this.#plan;
    const isPeer = plan?.peers.some(({ id }) => id === peer) ?? false;
    if (plan === undefined || !isPeer || this.#broken.has(peer) || this.#watch.current?.epoch !== plan.epoch) return;
    this.#broken.add(peer);
    const kind = linkFailureKind(cause);
    this.#options.membership.report({
      kind: "trouble", epoch: plan.epoch, trouble: kind === "corruption" ? "corruption" : "link", peer,
      detail: `link to ${this.#slotOf(peer)} failed: ${cause}`.slice(0, 1000),
    });
  }

  #slotOf(id: string): string {
    const member = this.#watch.current?.members.find((candidate) => candidate.id === id);
    return member ? slotName(member.slot) : id;
  }
}

/** What the leader is told of an error that ended the worker's part in an epoch. */
function troubleOf(error: unknown, epoch: number): Trouble {
  const detail = (error instanceof Error ? error.message : String(error)).slice(0, 1000);
  const kinds = [[StateTransferError, "transfer"], [FrameError, "corruption"], [CheckpointError, "load"]] as const;
  const trouble = kinds.find(([kind]) => error instanceof kind)?.[1] ?? "failure";
  const peer = error instanceof StateTransferError ? error.peer : undefined;
  return { kind: "trouble", epoch, trouble, detail, ...(peer !== undefined && { peer }) };
}
