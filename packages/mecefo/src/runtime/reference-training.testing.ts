import { cosineSchedule, tensor, tidy, type Parameter } from "@frugal/tensor-core";
import { ProjectionStore } from "../approximation/projection-store.ts";
import { ringReduceInOrder } from "../collectives/ring-all-reduce.ts";
import { partitionBlocks } from "../grid/stage-partition.ts";
import { decoderStageFactory } from "../job/decoder-stages.ts";
import type { Job } from "../job/job.ts";
import { createSampler } from "../job/sampler.ts";
import { GradientSums } from "../pipeline/gradient-sums.ts";
import { StageExecutor } from "../pipeline/stage-executor.ts";
import { runThrough } from "../pipeline/stage-executor.testing.ts";
import { StageReplica } from "../worker/stage-replica.ts";
import { tinyConfiguration, tinyTokens } from "./tiny-run.testing.ts";

/** What plain training gives: hashes of all stages before each step, and the losses. */
export interface ReferenceTraining {
  readonly hashes: readonly (readonly string[])[];
  readonly losses: readonly number[];
}

/** One replica of every stage, trained by loops: no workers, no messages, no votes. Sums are taken in the order of the ring. */
export async function trainReference(job: Job, tied: boolean): Promise<ReferenceTraining> {
  const { grid: { pipelines, stages }, microbatches, microbatchSize, sequenceLength } = job;
  const factory = decoderStageFactory(tinyConfiguration(tied));
  const sampler = createSampler(tinyTokens(), job);
  const replicas = partitionBlocks(factory.blockCount, stages).map((blocks, stage) =>
    new StageReplica({ stage, parts: { blocks, embedding: stage === 0, head: stage === stages - 1 }, factory, job }));
  const schedule = cosineSchedule({ totalSteps: job.steps, warmupSteps: job.optimizer.warmupSteps, finalScale: job.optimizer.finalLearningRateScale });
  /** The two copies of a tied matrix. */
  const copies = tied && stages > 1
    ? [replicas[0]!.model.embeddingParameters()[0]!, replicas.at(-1)!.model.headParameters().find(({ rank }) => rank === 2)!]
    : [];
  const hashes: string[][] = [];
  const losses: number[] = [];
  for (let step = 0; step < job.steps; step++) {
    hashes.push(await Promise.all(replicas.map((replica) => replica.hash())));
    let loss = 0;
    /** By pipeline, by stage: a parameter's sum over the microbatches. */
    const sums: Map<Parameter, Float32Array>[] = [];
    for (let pipeline = 0; pipeline < pipelines; pipeline++) {
      const executors = replicas.map(({ model }) => {
        const own = new GradientSums();
        return { sums: own, executor: new StageExecutor(model, { mode: {}, projections: new ProjectionStore(job.projection), sums: own }) };
      });
      for (let i = 0; i < microbatches; i++) {
        const { inputs, targets } = sampler.microbatch(step, pipeline * microbatches + i);
        const batch = { ids: inputs, targets, shape: [microbatchSize, sequenceLength] as const };
        loss += await runThrough(executors as unknown as Parameters<typeof runThrough>[0], batch);
      }
      const found = new Map<Parameter, Float32Array>();
      for (const [stage, { parameters }] of replicas.entries()) {
        for (const { parameter } of parameters) found.set(parameter, await executors[stage]!.sums.get(parameter)!.data("float32"));
        executors[stage]!.sums.dispose();
      }
      sums.push(found);
    }
    losses.push(loss / (pipelines * microbatches));
    const count = pipelines * microbatches;
    const averages = new Map<Parameter, Float32Array>();
    let squaredNorm = 0;
    const average = (sum: Float32Array): Float32Array => sum.map((value) => value / count);
    for (const { parameters, model: { blockRange: [from, to] } } of replicas) {
      // Zeros where workers have their counts, one for each mixer and one for the rest: they move the borders of the ring's chunks.
      const counts = new Array<number>(to - from + 1).fill(0);
      const own = parameters.map(({ parameter }) => parameter).filter((parameter) => !copies.includes(parameter));
      const flat = sums.map((found) => Float32Array.from([...own.flatMap((parameter) => [...found.get(parameter)!]), ...counts]));
      const mean = average(ringReduceInOrder(flat));
      let norm = 0;
      for (const value of mean) norm += value * value;
      let offset = 0;
      for (const parameter of own) averages.set(parameter, mean.slice(offset, (offset += parameter.size)));
      if (parameters === replicas[0]!.parameters && copies.length > 0) {
        const parts = sums.flatMap((found) => copies.map((copy) => Float32Array.of(...found.get(copy)!, 0)));
        const tiedMean = average(ringReduceInOrder(parts)).slice(0, -1);
        let tiedNorm = 0;
        for (const value of tiedMean) tiedNorm += value * value;
        norm += tiedNorm;
        for (const copy of copies) averages.set(copy, tiedMean);
      }
      squaredNorm += norm;
    }
    const scale = Math.min(1, job.optimizer.maximumGradientNorm / (Math.sqrt(squaredNorm) + 1e-6));
    for (const replica of replicas) {
      tidy(() => {
        const gradients = replica.parameters.map(({ parameter }) => tensor(averages.get(parameter)!.map((value) => value * scale), parameter.shape));
        replica.update(gradients, schedule(step));
      });
    }
  }
  for (const replica of replicas) replica.dispose();
  return { hashes, losses };
}
