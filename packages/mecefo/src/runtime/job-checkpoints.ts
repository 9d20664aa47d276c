import { commitCheckpoint, pruneCheckpoints } from "../checkpoint/commit-checkpoint.ts";
import { checkResume } from "../checkpoint/manifest.ts";
import { latestCheckpoint, openCheckpoint, readStage, type Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { writeShard } from "../checkpoint/stage-shard.ts";
import { CheckpointError } from "../errors.ts";
import { partitionBlocks } from "../grid/stage-partition.ts";
import type { Job } from "../job/job.ts";
import { jobHash } from "../job/job-hash.ts";
import type { StageFactory } from "../job/stage-factory.ts";
import type { CommitCheckpoint } from "../leader/checkpoint-book.ts";
import type { RestorePoint } from "../membership/cluster-state.ts";
import type { WorkerCheckpoints } from "../worker/worker.ts";

/** A worker's side of a job's checkpoints; undefined where the job writes none and was not taken up from one. */
export function workerCheckpoints(job: Job, factory: StageFactory): WorkerCheckpoints {
  const partition = partitionBlocks(factory.blockCount, job.grid.stages);
  const hash = jobHash(job);
  return {
    async read(folder, wanted) {
      const checkpoint = await openCheckpoint(folder);
      return await readStage(checkpoint, wanted);
    },
    async write(state) {
      if (job.checkpoint === undefined) throw new CheckpointError(`${job.name} writes no checkpoints`);
      return await writeShard(job.checkpoint.folder, state, { jobHash: hash, blocks: partition[state.stage]! });
    },
  };
}

/** The leader's side. */
export interface LeaderCheckpoints {
  readonly commitCheckpoint: CommitCheckpoint | undefined;
  readonly restorePoint: () => Promise<RestorePoint | undefined>;
}

/** The leader's side of a job's checkpoints: it makes one of shards, and knows the last. */
export function leaderCheckpoints(job: Job): LeaderCheckpoints {
  const { checkpoint } = job;
  if (checkpoint === undefined) return { commitCheckpoint: undefined, restorePoint: async () => await Promise.resolve(undefined) };
  return {
    async commitCheckpoint(step, shards, degraded) {
      const folder = await commitCheckpoint(checkpoint.folder, step, shards, { job, degraded });
      await pruneCheckpoints(checkpoint.folder, checkpoint.keep);
      return folder;
    },
    async restorePoint() {
      // A damaged one is passed over: an older one is better than none.
      const latest = await latestCheckpoint(checkpoint.folder, () => {});
      return latest && pointOf(job, latest);
    },
  };
}

/** Where a run of this job begins when it is taken up from a checkpoint. @throws CheckpointError when it is damaged or of another run */
export async function resumePoint(job: Job, folder: string): Promise<RestorePoint> {
  return pointOf(job, await openCheckpoint(folder));
}

function pointOf(job: Job, { folder, manifest }: Checkpoint): RestorePoint {
  checkResume(manifest, job);
  return { load: { from: "checkpoint", folder }, step: manifest.step };
}
