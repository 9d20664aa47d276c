import { createSampler } from "../job/sampler.ts";
import type { Job } from "../job/job.ts";
import type { EpochEvent, RecoveryEvent, RunEvent, StepEvent } from "../membership/run-event.ts";
import type { WorkerOutcome } from "../worker/worker.ts";
import type { InProcessGrid, InProcessGridOptions } from "./in-process-grid.ts";
import { tinyGrid, tinyTokens } from "./tiny-run.testing.ts";

/** A run that has ended, and what its leader told of. */
export interface EndedRun {
  readonly outcome: WorkerOutcome;
  readonly events: readonly RunEvent[];
  readonly steps: readonly StepEvent[];
  readonly epochs: readonly EpochEvent[];
  readonly recoveries: readonly RecoveryEvent[];
}

/** Something that happens to a grid. */
export type Action = (grid: InProcessGrid) => unknown;

/** Options of `runGrid`. */
export interface GridRunOptions {
  /** By the number of a step: what happens when it was taken first. */
  readonly after?: { readonly [step: number]: Action };
  /** Called for every event. */
  readonly on?: (event: RunEvent, grid: InProcessGrid) => void;
  readonly tied?: boolean;
  readonly more?: Partial<InProcessGridOptions>;
}

const isKind = <Kind extends RunEvent["kind"]>(kind: Kind) => (event: RunEvent): event is Extract<RunEvent, { kind: Kind }> => event.kind === kind;

/** Trains the tiny model to the end, with accidents. */
export async function runGrid(job: Job, { after = {}, on, tied = true, more = {} }: GridRunOptions = {}): Promise<EndedRun> {
  const pending = new Map(Object.entries(after));
  const { grid, events } = tinyGrid(job, {
    ...more,
    onEvent: (event) => {
      events.push(event);
      on?.(event, grid);
      const key = event.kind === "step" ? String(event.step) : "";
      const action = pending.get(key);
      pending.delete(key);
      void action?.(grid);
    },
  }, tied);
  const outcome = await grid.run();
  return {
    outcome, events, steps: events.filter(isKind("step")), epochs: events.filter(isKind("epoch")), recoveries: events.filter(isKind("recovery")),
  };
}

/** Kills the workers of these slots. */
export const kill = (...slots: readonly string[]): Action => (grid) => {
  for (const slot of slots) void grid.kill(slot);
};

/** Starts workers for these slots. */
export const start = (...slots: readonly string[]): Action => (grid) => {
  for (const slot of slots) grid.start(slot);
};

/** The microbatches that a step of a job has, with the hashes of their tokens: all, or those of the pipelines named. */
export function expectedBatches(job: Job, step: number, pipelines?: readonly number[]): StepEvent["batches"] {
  const sampler = createSampler(tinyTokens(), job);
  return Array.from({ length: sampler.microbatchesPerStep }, (_, microbatch) => microbatch)
    .filter((microbatch) => pipelines === undefined || pipelines.includes(Math.floor(microbatch / job.microbatches)))
    .map((microbatch) => ({ microbatch, hash: sampler.microbatch(step, microbatch).hash }));
}

/** Each stage's hash before each step. */
export const hashesOf = (steps: readonly StepEvent[]): string[][] => steps.map(({ stateHashes }) => stateHashes.map(({ hash }) => hash));
