/** A stage's state to disk and back, as mecefo's workers write and read their shards of a checkpoint. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setThreads } from "@frugal/tensor-core";
import { smallModelConfiguration } from "@frugal/language-model";
import { createJob, createSampler, decoderStageFactory, leaderCheckpoints, VirtualGrid, workerCheckpoints } from "@frugal/mecefo";
import mecefo from "@frugal/mecefo/package.json" with { type: "json" };
import { tokenIds } from "../src/inputs.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

const vocabularySize = 256;

async function prepare(task: Task): Promise<Prepared | undefined> {
  if (task.kind !== "checkpoint") return undefined;
  const { hiddenSize, intermediateSize, heads, blocks, sequenceLength } = task.shape;
  const folder = await mkdtemp(join(tmpdir(), "frugal-checkpoint-"));
  const model = smallModelConfiguration({
    vocabularySize, hiddenSize, intermediateSize, numHiddenLayers: blocks, numAttentionHeads: heads, maxPositionEmbeddings: sequenceLength,
  });
  const job = createJob({
    model, data: { folder, sha256: "0".repeat(64), vocabularySize }, grid: "1x1", strategy: "checkpoint-restart", microbatches: 1,
    microbatchSize: 1, sequenceLength: 8, steps: 1, checkpoint: { folder, every: 1 },
  });
  const factory = decoderStageFactory(model);
  const grid = new VirtualGrid({ job, factory, sampler: createSampler(tokenIds(4000, vocabularySize), job) });
  const { replica } = grid.stages[0]!;
  // Moments that are not all zero.
  await grid.step();
  const checkpoints = workerCheckpoints(job, factory);
  const { step, stage } = replica;
  const shard = await checkpoints.write(await replica.state());
  const wanted = replica.parameters.map(({ name, parameter }) => ({ name, shape: parameter.shape }));
  const whole = task.part === "read"
    ? await leaderCheckpoints(job).commitCheckpoint!(step, [{ kind: "shard", step, stage, ...shard, degraded: false }], false)
    : undefined;
  return {
    runAsync: async () => {
      if (whole === undefined) await checkpoints.write(await replica.state());
      else replica.load({ step, parameters: await checkpoints.read(whole, wanted) });
    },
    sample: () => [],
    bytes: shard.bytes,
    dispose: async () => {
      grid.dispose();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export const adapter: Adapter = {
  async open(threads) {
    setThreads(threads);
    return { version: mecefo.version, prepare };
  },
};
