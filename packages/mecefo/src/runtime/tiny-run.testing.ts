import { rawActivationCodec, smallModelConfiguration } from "@frugal/language-model";
import { createJob, type JobOptions } from "../job/create-job.ts";
import { decoderStageFactory } from "../job/decoder-stages.ts";
import type { Job } from "../job/job.ts";
import { createSampler } from "../job/sampler.ts";
import type { RunEvent } from "../membership/run-event.ts";
import { InProcessGrid, type InProcessGridOptions } from "./in-process-grid.ts";

const VOCABULARY = 40;

/** A model of a few thousand parameters. */
export const tinyConfiguration = (tied = true): ReturnType<typeof smallModelConfiguration> => smallModelConfiguration({
  vocabularySize: VOCABULARY, hiddenSize: 16, intermediateSize: 40, numHiddenLayers: 4, numAttentionHeads: 2, maxPositionEmbeddings: 16,
  tieWordEmbeddings: tied,
});

/** Text with something to learn: ids that follow one another mostly. */
export function tinyTokens(): Int32Array {
  let at = 1;
  return Int32Array.from({ length: 4000 }, (_, i) => (at = (at * 7 + (i % 3)) % VOCABULARY));
}

/** A job of the tiny model; its data are never read from a folder. */
export function tinyJob(options: Partial<JobOptions> = {}, tied = true): Job {
  return createJob({
    model: tinyConfiguration(tied), data: { folder: "/nowhere", sha256: "0".repeat(64), vocabularySize: VOCABULARY }, grid: "2x2", microbatches: 3,
    microbatchSize: 2, sequenceLength: 8, steps: 6, seed: 3, threads: 1, timeouts: { heartbeatInterval: 50 }, ...options,
  });
}

/** A grid of the tiny model in this process, and what its leader tells of. */
export function tinyGrid(job: Job, more: Partial<InProcessGridOptions> = {}, tied = true): { grid: InProcessGrid; events: RunEvent[] } {
  const events: RunEvent[] = [];
  const grid = new InProcessGrid({
    job, factory: decoderStageFactory(tinyConfiguration(tied)), sampler: createSampler(tinyTokens(), job), codec: rawActivationCodec("float32"),
    onEvent: (event) => events.push(event), ...more,
  });
  return { grid, events };
}
