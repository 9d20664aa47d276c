/** The costs that `mecefo simulate --costs` takes, measured on this machine. */
import { cpus } from "node:os";
import { tensor, tidy } from "@frugal/tensor-core";
import {
  createJob, createSampler, decoderStageFactory, parseCostProfile, presetConfiguration, VirtualGrid, type CostProfile,
} from "@frugal/mecefo";
import { adapter as checkpointAdapter } from "../peers/mecefo-checkpoint.ts";
import { adapter as transportAdapter } from "../peers/mecefo-transport.ts";
import { tokenIds } from "../src/inputs.ts";
import { median } from "../src/measure.ts";
import type { Effort } from "../src/rounds.ts";
import type { OpenAdapter, Task } from "../src/workload.ts";
import { measureRecoveries, presetStage } from "./cost-claims.ts";
import { isQuick } from "./runs.ts";
import { measureStage } from "./stage-passes.ts";

const stages = 8;
const microbatches = 8;
const vocabularySize = 256;

/** Median seconds of a task of an adapter. */
async function secondsOf(library: OpenAdapter, task: Task, rounds: number): Promise<number> {
  const prepared = (await library.prepare(task))!;
  const times: number[] = [];
  try {
    for (let round = -2; round < rounds; round++) {
      const began = performance.now();
      await prepared.runAsync!();
      if (round >= 0) times.push((performance.now() - began) / 1000);
    }
  } finally {
    await prepared.dispose?.();
  }
  return median(times);
}

/** Seconds of an optimizer step of one stage, and its parameters. */
async function optimizerStep(rounds: number): Promise<{ readonly seconds: number; readonly parameters: number }> {
  const model = presetConfiguration("small", { vocabularySize });
  const job = createJob({
    model, data: { folder: ".", sha256: "0".repeat(64), vocabularySize }, grid: { pipelines: 1, stages }, strategy: "none", microbatches: 1,
    microbatchSize: 1, sequenceLength: 8, steps: 1,
  });
  using grid = new VirtualGrid({ job, factory: decoderStageFactory(model), sampler: createSampler(tokenIds(4000, vocabularySize), job) });
  // One from the middle: without embedding and head, which the profile leaves out.
  const { replica } = grid.stages[stages >> 1]!;
  const times: number[] = [];
  for (let round = -1; round < rounds; round++) {
    tidy(() => {
      const gradients = replica.parameters.map(({ parameter }) => tensor(new Float32Array(parameter.size).fill(1e-3), parameter.shape));
      const began = performance.now();
      replica.update(gradients, 1);
      if (round >= 0) times.push((performance.now() - began) / 1000);
    });
  }
  await grid.hashes();
  return { seconds: median(times), parameters: replica.parameters.reduce((sum, { parameter }) => sum + parameter.size, 0) };
}

/** Measures everything but the interval between checkpoints, which is a choice. */
export async function measureCosts(effort: Effort): Promise<CostProfile> {
  const rounds = isQuick(effort) ? 3 : 15;
  const shape = presetStage("small", stages);
  const { refreshSeconds, ...costs } = await measureStage(shape, shape.blocks, microbatches, rounds);
  const transport = await transportAdapter.open(1, "threaded");
  const checkpoint = await checkpointAdapter.open(1, undefined);
  const tokensPerMicrobatch = shape.microbatchSize * shape.sequenceLength;
  const activations = { kind: "pointToPoint", bytes: 4 * tokensPerMicrobatch * shape.hiddenSize, protocol: "unix" } as const;
  const linkSeconds = await secondsOf(transport, activations, rounds);
  const { seconds: optimizer, parameters } = await optimizerStep(rounds);
  const allReduce = await secondsOf(transport, { kind: "allReduce", bytes: 4 * parameters, processes: 2, protocol: "unix" }, rounds);
  const { killed, joined, detection, formingMilliseconds } = await measureRecoveries(effort, "small");
  const recoveries = [...killed, ...joined];
  const transfers = recoveries.flatMap((recovery) => recovery.transfers);
  const slowest = (one: (typeof recoveries)[number]): number => Math.max(0, ...one.transfers.map(({ milliseconds }) => milliseconds));
  const profile: CostProfile = {
    formatVersion: 1,
    name: "measured-small",
    basis:
      `preset small in ${stages} stages on one thread of ${cpus()[0]?.model.trim() ?? "unknown"} (processor time of passes; times on the wall, `
      + "between processes of one machine, of links, all-reduce over two pipelines, recoveries and checkpoints); embedding and head left out",
    tokensPerMicrobatch, microbatches, stages: [costs], linkSeconds,
    updateSeconds: allReduce + optimizer,
    projection: { seconds: refreshSeconds, refreshInterval: 100 },
    state: {
      bytes: 12 * parameters,
      bytesPerSecond: median(transfers.map(({ bytes, milliseconds }) => bytes / (milliseconds / 1000))),
    },
    detectionSeconds: median(detection) / 1000,
    settlingSeconds: median(recoveries.map((one) => Math.max(0, one.milliseconds - slowest(one)))) / 1000,
    checkpoint: {
      everySeconds: 1800,
      writeSeconds: await secondsOf(checkpoint, { kind: "checkpoint", part: "write", shape }, rounds),
      restoreSeconds: await secondsOf(checkpoint, { kind: "checkpoint", part: "read", shape }, rounds),
      restartSeconds: formingMilliseconds / 1000,
    },
  };
  return parseCostProfile(JSON.stringify(profile), "the measured costs");
}
