import { setImmediate as nextTurn } from "node:timers/promises";
import { cosineSchedule, noGrad, tensor, tidy, crossEntropy, type Schedule, type Tensor } from "@frugal/tensor-core";
import { ProjectionStore, type CapturedEnergy } from "../approximation/projection-store.ts";
import { ringReduceInOrder } from "../collectives/ring-all-reduce.ts";
import type { StageGradients } from "../collectives/stage-gradients.ts";
import { SettingsError } from "../errors.ts";
import { assign, type Assignment, type HostAssignment } from "../grid/assignment.ts";
import { slotName, type Slot } from "../grid/grid.ts";
import { partitionBlocks } from "../grid/stage-partition.ts";
import type { Job } from "../job/job.ts";
import type { Microbatch, MicrobatchSampler } from "../job/sampler.ts";
import type { StageFactory } from "../job/stage-factory.ts";
import { HeldStage } from "../worker/held-stage.ts";
import { GradientSums } from "../pipeline/gradient-sums.ts";
import { StageExecutor } from "../pipeline/stage-executor.ts";
import type { StageInput, StagePass } from "../pipeline/stage-pass.ts";

/** What a virtual grid is made of. */
export interface VirtualGridOptions {
  readonly job: Job;
  readonly factory: StageFactory;
  readonly sampler: MicrobatchSampler;
}

/** A step of a virtual grid. */
export interface VirtualStep {
  readonly step: number;
  /** Mean cross-entropy over the step's microbatches. */
  readonly loss: number;
  /** Of the averaged gradient, before clipping; null when it was not finite and the step was skipped. */
  readonly gradientNorm: number | null;
  readonly assignment: Assignment;
  /** Of degraded workers. */
  readonly energy: readonly CapturedEnergy[];
}

/** What a worker has of its own: not weights, which are the same everywhere, but projections and modes. */
interface VirtualWorker {
  readonly projections: ProjectionStore;
  readonly executors: Map<number, { readonly executor: StageExecutor; readonly sums: GradientSums }>;
}

/**
 * A whole grid in one process, without workers, messages or failures that surprise: one replica of each stage stands for all of them. Who
 * is alive is told step by step; passes, sums, their order, clipping and updates are those of the real grid, bit for bit, if hidden
 * states travel as float32. For experiments about loss under failures, and to check a real run against.
 */
export class VirtualGrid {
  readonly job: Job;
  /** By stage. */
  readonly stages: readonly HeldStage[];
  readonly #sampler: MicrobatchSampler;
  readonly #schedule: Schedule;
  /** The replicas' own projections, which nothing uses. */
  readonly #idle: ProjectionStore;
  readonly #workers = new Map<string, VirtualWorker>();

  /** @throws SettingsError for a job whose hidden states do not travel as float32 */
  constructor({ job, factory, sampler }: VirtualGridOptions) {
    if (job.codec !== "float32") throw new SettingsError(`codec ${job.codec}: a virtual grid sends nothing; use float32`);
    const { grid: { stages }, optimizer: { warmupSteps, finalLearningRateScale } } = job;
    this.job = job;
    this.#sampler = sampler;
    this.#schedule = cosineSchedule({ totalSteps: job.steps, warmupSteps, finalScale: finalLearningRateScale });
    this.#idle = new ProjectionStore(job.projection);
    this.stages = partitionBlocks(factory.blockCount, stages).map((blocks, stage) => new HeldStage(
      { stage, parts: { blocks, embedding: stage === 0, head: stage === stages - 1 }, factory, job }, { stages, projections: this.#idle },
    ));
  }

  /** The step to be taken next. */
  get nextStep(): number {
    return this.stages[0]!.replica.step;
  }

  /**
   * Takes a step with those who are alive (default: all).
   * @returns undefined where the strategy would not go on with them: nothing changes then
   */
  async step(isLive: (slot: Slot) => boolean = () => true): Promise<VirtualStep | undefined> {
    const { job } = this;
    const step = this.nextStep;
    const assignment = assign(job, isLive);
    if (!assignment.trainable) return undefined;
    this.#bury(isLive);

    let [lossSum, microbatches] = [0, 0];
    const buffers = this.stages.map((): Float32Array[] => []);
    const tiedBuffers: Float32Array[] = [];
    for (const { pipeline, hosts, active, microbatches: share } of assignment.pipelines) {
      const workers = hosts.map((host) => ({ host, worker: this.#workerOf(pipeline, host) }));
      for (const { worker } of workers) worker.projections.beginStep(step);
      if (active) {
        const executors = workers.flatMap(({ worker, host: { from, to } }) =>
          Array.from({ length: to - from }, (_, i) => worker.executors.get(from + i)!.executor));
        for (const number of share) lossSum += await this.#pass(executors, this.#sampler.microbatch(step, number));
        microbatches += share.length;
      }
      for (const { host, worker } of workers) await this.#gather(host, worker, buffers, tiedBuffers);
    }
    const energy = (await Promise.all([...this.#workers.values()].map(({ projections }) => projections.energies()))).flat();
    this.#forget(assignment);
    const squaredNorm = this.#average(buffers, tiedBuffers);
    this.#update(step, squaredNorm);
    return { step, loss: lossSum / microbatches, gradientNorm: squaredNorm === null ? null : Math.sqrt(squaredNorm), assignment, energy };
  }

  /** Mean cross-entropy of batches [batches' size, the job's sequence length] that are not trained on. */
  async loss(batches: Iterable<Pick<Microbatch, "inputs" | "targets">>): Promise<number> {
    let [sum, count] = [0, 0];
    for (const { inputs, targets } of batches) {
      const shape = [inputs.length / this.job.sequenceLength, this.job.sequenceLength];
      using loss = noGrad(() => tidy(() => {
        const models = this.stages.map(({ replica }) => replica.model);
        const embedded = models[0]!.embed(tensor(inputs, shape));
        const hidden = models.reduce((current, model) => model.forwardBlocks(current, ...model.blockRange), embedded);
        return crossEntropy(models.at(-1)!.head(hidden), tensor(targets, shape));
      }));
      sum += await loss.item();
      count++;
      await nextTurn();
    }
    return sum / count;
  }

  /** Hash of each stage's weights and moments, as in the events of a real run. */
  async hashes(): Promise<string[]> {
    return await Promise.all(this.stages.map(({ replica }) => replica.hash()));
  }

  /** Frees everything. */
  dispose(): void {
    this.#bury(() => false);
    for (const stage of this.stages) stage.dispose();
    this.#idle.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** One microbatch through a pipeline and back. Gives its loss. */
  async #pass(executors: readonly StageExecutor[], { inputs, targets }: Microbatch): Promise<number> {
    const { microbatchSize, sequenceLength } = this.job;
    const passes: StagePass[] = [];
    let input: StageInput = { ids: inputs, shape: [microbatchSize, sequenceLength] };
    let gradient: Tensor | undefined;
    try {
      for (const executor of executors) {
        const pass = executor.forward(input, executor === executors.at(-1) ? targets : undefined);
        passes.push(pass);
        if (pass.output) input = { hidden: pass.output };
      }
      const loss = await passes.at(-1)!.loss!.item();
      for (const pass of passes.toReversed()) {
        const inputGradient = await pass.backward(gradient);
        gradient?.dispose();
        gradient = inputGradient;
      }
      return loss;
    } finally {
      gradient?.dispose();
      for (const pass of passes) pass.dispose();
    }
  }

  /** Adds a worker's part of each all-reduce, as it stands in the ring: pipeline by pipeline. */
  async #gather(
    host: HostAssignment, { executors }: VirtualWorker, buffers: readonly Float32Array[][], tiedBuffers: Float32Array[],
  ): Promise<void> {
    const lastStage = this.stages.length - 1;
    let tiedSum: Float32Array | undefined;
    for (let stage = host.from; stage < host.to; stage++) {
      const { gradients, tied } = this.stages[stage]!;
      const { sums } = executors.get(stage)!;
      await gradients.fill(sums);
      buffers[stage]!.push(gradients.values.slice());
      if (tied) {
        await tied.fill(sums, { countless: stage === lastStage });
        // A host of both ends brings one buffer.
        if (tiedSum === undefined) tiedBuffers.push((tiedSum = tied.values.slice()));
        else for (let i = 0; i < tiedSum.length; i++) tiedSum[i]! += tied.values[i]!;
      }
      sums.clear();
    }
  }

  /** Reduces and divides (Eq. 1). Gives the squared norm of the whole gradient, summed in the order of stages. */
  #average(buffers: readonly Float32Array[][], tiedBuffers: readonly Float32Array[]): number | null {
    const tiedSum = tiedBuffers.length > 0 ? ringReduceInOrder(tiedBuffers) : undefined;
    const averageOf = (gradients: StageGradients, sum: Float32Array): number => {
      gradients.values.set(sum);
      return gradients.average() ?? Number.NaN;
    };
    let squaredNorm = 0;
    this.stages.forEach(({ gradients, tied }, stage) => {
      let part = averageOf(gradients, ringReduceInOrder(buffers[stage]!));
      if (tied) {
        const tiedNorm = averageOf(tied, tiedSum!);
        if (stage === 0) part += tiedNorm;
      }
      squaredNorm += part;
    });
    return Number.isFinite(squaredNorm) ? squaredNorm : null;
  }

  #update(step: number, squaredNorm: number | null): void {
    for (const { replica, gradients, tied } of this.stages) {
      if (squaredNorm === null) {
        replica.skip();
        continue;
      }
      const scale = Math.min(1, this.job.optimizer.maximumGradientNorm / (Math.sqrt(squaredNorm) + 1e-6));
      tidy(() => {
        const byParameter = new Map([...gradients.gradients(scale), ...(tied?.gradients(scale) ?? [])]);
        replica.update(replica.parameters.map(({ parameter }) => byParameter.get(parameter)), this.#schedule(step));
      });
    }
  }

  /** The worker of a host, in the modes that the assignment asks for. */
  #workerOf(pipeline: number, { stage, from, modes }: HostAssignment): VirtualWorker {
    const name = slotName({ pipeline, stage });
    let worker = this.#workers.get(name);
    if (worker === undefined) {
      worker = { projections: new ProjectionStore(this.job.projection, { seed: this.job.seed }), executors: new Map() };
      this.#workers.set(name, worker);
    }
    const { projections, executors } = worker;
    modes.forEach((mode, i) => {
      const hosted = from + i;
      const { model } = this.stages[hosted]!.replica;
      if (!executors.has(hosted)) {
        const sums = new GradientSums();
        executors.set(hosted, { sums, executor: new StageExecutor(model, { mode: {}, projections, sums }) });
        const [first, end] = model.blockRange;
        for (let block = first; block < end; block++) projections.reset(block);
      }
      executors.get(hosted)!.executor.setMode(mode);
    });
    return worker;
  }

  /** A worker that dies takes its projections along. */
  #bury(isLive: (slot: Slot) => boolean): void {
    const { pipelines, stages } = this.job.grid;
    for (let pipeline = 0; pipeline < pipelines; pipeline++) {
      for (let stage = 0; stage < stages; stage++) {
        const name = slotName({ pipeline, stage });
        if (isLive({ pipeline, stage })) continue;
        const worker = this.#workers.get(name);
        worker?.projections.dispose();
        for (const { sums } of worker?.executors.values() ?? []) sums.dispose();
        this.#workers.delete(name);
      }
    }
  }

  /** Workers let go of stages that they host no more, once a step is taken without them. */
  #forget({ pipelines }: Assignment): void {
    for (const { pipeline, hosts } of pipelines) {
      for (const { stage, from, to } of hosts) {
        const { executors } = this.#workers.get(slotName({ pipeline, stage }))!;
        for (const hosted of executors.keys()) if (hosted < from || hosted >= to) executors.delete(hosted);
      }
    }
  }
}
