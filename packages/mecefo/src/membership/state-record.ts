import type { ClusterState } from "./cluster-state.ts";

/** Keeps a state somewhere that outlives the process; resolves when it is safe there. */
export type PersistState = (state: ClusterState, revision: number) => Promise<void>;

/** The one record of a cluster in memory, changed by compare-and-set. What is persisted is safe before anybody hears of it. */
export class StateRecord {
  #current: { readonly state: ClusterState; readonly revision: number } | undefined;
  readonly #persist: PersistState | undefined;
  readonly #changed: (state: ClusterState) => void;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    changed: (state: ClusterState) => void, persist?: PersistState, initial?: { readonly state: ClusterState; readonly revision: number },
  ) {
    this.#changed = changed;
    this.#persist = persist;
    this.#current = initial;
  }

  /** The record as it is. */
  get current(): { readonly state: ClusterState; readonly revision: number } | undefined {
    return this.#current;
  }

  /** Writes the state if the record still is at `revision` (0: there is none). The new revision, or undefined. */
  compareAndSet(state: ClusterState, revision: number): Promise<number | undefined> {
    return this.#enqueue(async () => {
      if ((this.#current?.revision ?? 0) !== revision) return undefined;
      return await this.#write(state);
    });
  }

  /** Writes the state whatever is there; who leads learns of it by failing to write. */
  overwrite(state: ClusterState): Promise<number> {
    return this.#enqueue(() => this.#write(state));
  }

  async #write(state: ClusterState): Promise<number> {
    const revision = (this.#current?.revision ?? 0) + 1;
    await this.#persist?.(state, revision);
    this.#current = { state, revision };
    this.#changed(state);
    return revision;
  }

  #enqueue<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => undefined);
    return result;
  }
}
