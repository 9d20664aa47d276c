import type { Trouble } from "../membership/worker-report.ts";

/** So many epochs in a row may end by troubles without a step. */
export const BARREN_EPOCHS = 6;

/** Epochs in a row that troubles ended before a step was taken: links that fail again and again have an end that is to blame. */
export class BarrenEpochs {
  #blamed: string[][] = [];

  /** An epoch ended by these. */
  add(troubles: readonly Trouble[]): void {
    if (troubles.length > 0) this.#blamed.push(troubles.flatMap(({ peer }) => peer ?? []));
  }

  /** A step was taken, or somebody was held responsible: counting begins again. */
  clear(): void {
    this.#blamed = [];
  }

  get tooMany(): boolean {
    return this.#blamed.length >= BARREN_EPOCHS;
  }

  /** The member that most troubles were about; undefined where none was about anybody. */
  get worst(): string | undefined {
    const counts = new Map<string, number>();
    for (const peer of this.#blamed.flat()) counts.set(peer, (counts.get(peer) ?? 0) + 1);
    return [...counts].toSorted(([, a], [, b]) => b - a)[0]?.[0];
  }
}
