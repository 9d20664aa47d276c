import type { Job } from "../job/job.ts";
import type { RestorePoint } from "../membership/cluster-state.ts";
import type { Shard } from "../membership/worker-report.ts";

/** Makes one checkpoint of shards that are all on disk; gives its folder. */
export type CommitCheckpoint = (step: number, shards: readonly Shard[], degraded: boolean) => Promise<string>;

/** Options of `CheckpointBook`. */
export interface CheckpointBookOptions {
  readonly job: Pick<Job, "grid" | "checkpoint">;
  readonly commitCheckpoint?: CommitCheckpoint | undefined;
  /** The last whole checkpoint. */
  readonly restorePoint?: (() => Promise<RestorePoint | undefined>) | undefined;
  /** Where a run that is taken up again begins. */
  readonly resume?: RestorePoint | undefined;
}

/** What became of a checkpoint all of whose shards had come. */
export type CheckpointOutcome = { readonly step: number } & (
  | { readonly folder: string; readonly degraded: boolean }
  | { readonly failure: string }
);

/** Gathers what stages have written, makes checkpoints of it, and knows where to go back to. */
export class CheckpointBook {
  readonly #options: CheckpointBookOptions;
  readonly #steps = new Map<number, Map<number, Shard>>();
  readonly #done = new Set<number>();
  #restorePoint: RestorePoint | undefined;

  constructor(options: CheckpointBookOptions) {
    this.#options = options;
  }

  /** Where training goes back to when a stage is lost; undefined: nowhere. */
  get restorePoint(): RestorePoint | undefined {
    return this.#restorePoint;
  }

  /** Looks for what an earlier leader has left. */
  async start(): Promise<void> {
    const { job, restorePoint, resume } = this.#options;
    // Where no checkpoints are written, training that is lost is not begun again without asking.
    const beginning = job.checkpoint && { load: { from: "seed" as const }, step: 0 };
    this.#restorePoint = (await restorePoint?.()) ?? resume ?? beginning;
  }

  /** Takes in one shard; makes the checkpoint when it is the last of its step. */
  async add(shard: Shard): Promise<CheckpointOutcome | undefined> {
    const { step } = shard;
    const { commitCheckpoint } = this.#options;
    const shards = this.#completed(shard);
    if (shards === undefined || commitCheckpoint === undefined) return undefined;
    const degraded = shards.some((part) => part.degraded);
    try {
      const folder = await commitCheckpoint(step, shards, degraded);
      this.#restorePoint = { load: { from: "checkpoint", folder }, step };
      return { step, folder, degraded };
    } catch (error) {
      // It may be tried again.
      this.#done.delete(step);
      return { step, failure: error instanceof Error ? error.message : String(error) };
    }
  }

  /** Training goes back: parts of checkpoints that are not whole yet belong to steps that count no more. */
  goBack(): void {
    this.#steps.clear();
  }

  /** All shards of the step once the last one is there; once only. */
  #completed(shard: Shard): readonly Shard[] | undefined {
    if (this.#done.has(shard.step)) return undefined;
    const shards = this.#steps.get(shard.step) ?? new Map<number, Shard>();
    this.#steps.set(shard.step, shards.set(shard.stage, shard));
    if (shards.size < this.#options.job.grid.stages) return undefined;
    this.#done.add(shard.step);
    // Older ones that are not complete by now will never be: who was to write them is gone.
    for (const step of this.#steps.keys()) if (step <= shard.step) this.#steps.delete(step);
    return [...shards.values()].toSorted((a, b) => a.stage - b.stage);
  }
}
