import { readFile } from "node:fs/promises";
import { parseFaults, type Fault } from "./fault-schedule-format.ts";

/** Where faults come from, one after another: a seeded schedule, or a list of ones that were brought about before. */
export interface FaultSource {
  /** Faults that are still to come. */
  readonly remaining: number;
  /** When the next one is due, in milliseconds after the beginning; undefined after the last. */
  readonly due: number | undefined;
  /** The next one; undefined when it cannot be brought about in the slots that are alive and well: ask again later. */
  next(live: readonly string[], now: number): Fault | undefined;
}

/** Faults once more, at the times and in the slots that they had. One whose slot has no live worker yet waits for it. */
export class ReplayedFaults implements FaultSource {
  readonly #faults: readonly Fault[];
  #index = 0;

  constructor(faults: readonly Fault[]) {
    this.#faults = faults.toSorted((a, b) => a.at - b.at);
  }

  get remaining(): number {
    return this.#faults.length - this.#index;
  }

  get due(): number | undefined {
    return this.#faults[this.#index]?.at;
  }

  next(live: readonly string[]): Fault | undefined {
    const fault = this.#faults[this.#index];
    if (fault === undefined || !live.includes(fault.slot)) return undefined;
    this.#index++;
    return fault;
  }
}

/** Faults of a soak, as it wrote them to faults.json. @throws FormatError */
export async function readFaults(path: string): Promise<ReplayedFaults> {
  return new ReplayedFaults(parseFaults(await readFile(path, "utf8"), path));
}
