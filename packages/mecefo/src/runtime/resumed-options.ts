import type { JobOptions } from "../job/create-job.ts";
import type { Job } from "../job/job.ts";
import { parseGrid, type Grid } from "../grid/grid.ts";

type ResumedOptions = Omit<JobOptions, "data" | "checkpoint">;

/** The values that were given. */
function given<Values extends object>(values: Values | undefined): Partial<Values> {
  return Object.fromEntries(Object.entries(values ?? {}).filter(([, value]) => value !== undefined)) as Partial<Values>;
}

/** Microbatches of each pipeline, so that the global batch stays what it was. */
function microbatchesOn(grid: Grid, { grid: { pipelines }, microbatches }: Job): number {
  const total = pipelines * microbatches;
  // Where they cannot be shared out, `checkResume` says what differs.
  return total % grid.pipelines === 0 ? total / grid.pipelines : microbatches;
}

/**
 * What a run goes on with: the options it had, except for those that are given. With another grid each pipeline has as many microbatches as
 * leave the global batch as it was; with another strategy, that strategy's techniques.
 */
export function resumedOptions(saved: Job, options: ResumedOptions): ResumedOptions {
  const grid = typeof options.grid === "string" ? parseGrid(options.grid) : (options.grid ?? saved.grid);
  const { name, model, microbatchSize, sequenceLength, steps, seed, strategy, techniques, maximumChain, lostPipeline, sharing, emptyMixer, codec } = saved;
  const isSameStrategy = options.strategy === undefined || options.strategy === strategy;
  const isSameGrid = grid.pipelines === saved.grid.pipelines && grid.stages === saved.grid.stages;
  return {
    name, microbatchSize, sequenceLength, steps, seed, strategy, sharing, emptyMixer, codec, hashEvery: saved.hashEvery, timeouts: saved.timeouts,
    model: model.kind === "module" ? { module: model.path } : (model.configuration as NonNullable<JobOptions["model"]>),
    ...(isSameStrategy && { lostPipeline }),
    ...(isSameGrid && { maximumChain, threads: saved.threads }),
    ...given(options),
    grid,
    microbatches: options.microbatches ?? microbatchesOn(grid, saved),
    optimizer: { ...saved.optimizer, ...given(options.optimizer) },
    projection: { ...saved.projection, ...given(options.projection) },
    techniques: isSameStrategy ? { ...techniques, ...given(options.techniques) } : options.techniques,
  };
}
