import type { Shard } from "../membership/worker-report.ts";

/** Makes one checkpoint of shards that are all on disk; gives its folder. */
export type CommitCheckpoint = (step: number, shards: readonly Shard[], degraded: boolean) => Promise<string>;

/** Gathers what stages have written. */
export class CheckpointBook {
  readonly #stages: number;
  readonly #steps = new Map<number, Map<number, Shard>>();
  readonly #done = new Set<number>();

  constructor(stages: number) {
    this.#stages = stages;
  }

  /** All shards of the step once the last one is there; once only. */
  add(shard: Shard): readonly Shard[] | undefined {
    if (this.#done.has(shard.step)) return undefined;
    const shards = this.#steps.get(shard.step) ?? new Map<number, Shard>();
    this.#steps.set(shard.step, shards.set(shard.stage, shard));
    if (shards.size < this.#stages) return undefined;
    this.#done.add(shard.step);
    // Older ones that are not complete by now will never be: who was to write them is gone.
    for (const step of this.#steps.keys()) if (step <= shard.step) this.#steps.delete(step);
    return [...shards.values()].toSorted((a, b) => a.stage - b.stage);
  }

  /** Training goes back: parts of checkpoints that are not whole yet belong to steps that count no more. */
  goBack(): void {
    this.#steps.clear();
  }

  /** A checkpoint that could not be made may be tried again. */
  forget(step: number): void {
    this.#done.delete(step);
  }
}
