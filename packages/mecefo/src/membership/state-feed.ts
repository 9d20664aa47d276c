import type { ClusterState } from "./cluster-state.ts";
import type { WorkerCommand } from "./worker-report.ts";

/** Whether `state` is from before `other`: an earlier epoch, or an earlier step of the same one. */
export function isOlder(state: Pick<ClusterState, "epoch" | "step">, other: Pick<ClusterState, "epoch" | "step">): boolean {
  return state.epoch < other.epoch || (state.epoch === other.epoch && state.step < other.step);
}

/**
 * Hands states to listeners, and never one that is older than the one before: a registry that came back from a backup contradicts nobody.
 */
export class StateFeed {
  #state: ClusterState | undefined;
  readonly #listeners = new Set<(state: ClusterState) => void>();

  /** The last state. */
  get state(): ClusterState | undefined {
    return this.#state;
  }

  /** Takes a state over and tells it; false: it is older than what is known. */
  accept(state: ClusterState): boolean {
    if (this.#state !== undefined && isOlder(state, this.#state)) return false;
    this.#state = state;
    for (const listener of this.#listeners) listener(state);
    return true;
  }

  /** Calls the listener with every new state, and with the last one at once. Returns what ends it. */
  onState(listener: (state: ClusterState) => void): () => void {
    this.#listeners.add(listener);
    if (this.#state !== undefined) listener(this.#state);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** No listener is called any more. */
  close(): void {
    this.#listeners.clear();
  }
}

/** Hands commands to listeners; those that come before there is one wait for it. */
export class CommandFeed {
  readonly #listeners: ((command: WorkerCommand) => void)[] = [];
  #waiting: WorkerCommand[] = [];

  accept(command: WorkerCommand): void {
    if (this.#listeners.length === 0) this.#waiting.push(command);
    for (const listener of this.#listeners) listener(command);
  }

  onCommand(listener: (command: WorkerCommand) => void): void {
    this.#listeners.push(listener);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const command of waiting) listener(command);
  }

  close(): void {
    this.#listeners.length = 0;
    this.#waiting = [];
  }
}
