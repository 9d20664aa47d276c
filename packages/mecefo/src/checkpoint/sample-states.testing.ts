import { createJob, type JobOptions } from "../job/create-job.ts";
import { jobHash } from "../job/job-hash.ts";
import type { Job } from "../job/job.ts";
import { presetConfiguration } from "../job/model-presets.ts";
import { decoderStageFactory } from "../job/decoder-stages.ts";
import { wholeModelName } from "../job/parameter-name.ts";
import type { StageParts } from "../job/stage-factory.ts";
import { partitionBlocks } from "../grid/stage-partition.ts";
import type { ParameterState, StageState } from "../worker/stage-state.ts";
import { commitCheckpoint } from "./commit-checkpoint.ts";
import type { CheckpointShard } from "./manifest.ts";
import { writeShard } from "./stage-shard.ts";

/** A job for tests: four blocks, a vocabulary of bytes. */
export function sampleJob(options: Partial<JobOptions> = {}): Job {
  const data = { folder: "nowhere", sha256: "a".repeat(64), vocabularySize: 258 };
  return createJob({ data, grid: "2x2", microbatches: 4, sequenceLength: 16, threads: 1, ...options });
}

/** A stage's state: the weights that the seed gives, and moments that differ from stage to stage and step to step. */
export function sampleState(job: Job, stage: number, step: number, tieWordEmbeddings = false): StageState {
  const configuration = presetConfiguration("nano", { vocabularySize: 258, tieWordEmbeddings });
  const factory = decoderStageFactory(configuration);
  const { stages } = job.grid;
  const parts: StageParts = { blocks: partitionBlocks(4, stages)[stage]!, embedding: stage === 0, head: stage === stages - 1 };
  const model = factory.create(parts, job.seed);
  const parameters: ParameterState[] = [...model.namedParameters()].map(([path, parameter], index) => {
    const weight = Float32Array.from((parameter as unknown as { dataSync(): Float32Array }).dataSync());
    return {
      name: wholeModelName(factory, path, parts), shape: [...parameter.shape], steps: step - (index % 2), weight,
      firstMoment: weight.map((value, at) => value * 0.5 + (at % 7) * step),
      secondMoment: weight.map((value) => value * value + step),
    };
  });
  model.dispose();
  return { stage, step, parameters };
}

/** A stage's state of a few kilobytes, each number of which is `value`. */
export function tinyState(stage: number, step: number, value: number): StageState {
  const filled = (): Float32Array => new Float32Array(1024).fill(value);
  const parameter: ParameterState = {
    name: `layers.${stage}.weight`, shape: [32, 32], steps: step, weight: filled(), firstMoment: filled(), secondMoment: filled(),
  };
  return { stage, step, parameters: [parameter] };
}

/** Writes shards of all these states, as their workers would. */
export async function writeSampleShards(root: string, job: Job, states: readonly StageState[]): Promise<CheckpointShard[]> {
  const partition = partitionBlocks(4, job.grid.stages);
  return await Promise.all(states.map(async (state) => {
    const blocks = partition[state.stage]!;
    return { stage: state.stage, ...(await writeShard(root, state, { jobHash: jobHash(job), blocks })) };
  }));
}

/** A whole checkpoint. */
export async function writeSampleCheckpoint(
  root: string, job: Job, step: number,
  { degraded = false, tied = false }: { readonly degraded?: boolean; readonly tied?: boolean } = {},
): Promise<string> {
  const states = Array.from({ length: job.grid.stages }, (_, stage) => sampleState(job, stage, step, tied));
  return await commitCheckpoint(root, step, await writeSampleShards(root, job, states), { job, degraded });
}
