import type { Timeouts } from "../job/timeouts.ts";
import { median } from "../statistics.ts";

/** Steps whose times the limit is taken from. */
const STEP_WINDOW = 21;
/** Milliseconds, before any step has been timed. */
const FIRST_STEP_LIMIT = 120_000;

/** How long a step may take, by how long the last ones took. Times are milliseconds of one monotonic clock, given by the caller. */
export class StepDeadline {
  readonly #limits: Pick<Timeouts, "stepFactor" | "stepFloor" | "stepCeiling">;
  #times: number[] = [];
  #began: number;

  constructor(limits: Pick<Timeouts, "stepFactor" | "stepFloor" | "stepCeiling">, now: number) {
    this.#limits = limits;
    this.#began = now;
  }

  /** The step in flight begins. */
  begin(now: number): void {
    this.#began = now;
  }

  /** The step in flight is taken, and the next one begins. @returns how long it took */
  taken(now: number): number {
    const milliseconds = now - this.#began;
    this.#times = [...this.#times.slice(1 - STEP_WINDOW), milliseconds];
    this.#began = now;
    return milliseconds;
  }

  /** So many milliseconds count for nothing. */
  shift(milliseconds: number, now: number): void {
    this.#began = Math.min(now, this.#began + milliseconds);
  }

  /** Milliseconds that a step may take at present. */
  get limit(): number {
    const { stepCeiling, stepFactor, stepFloor } = this.#limits;
    const usual = median(this.#times);
    return usual === undefined ? FIRST_STEP_LIMIT : Math.min(stepCeiling, Math.max(stepFloor, stepFactor * usual));
  }

  isOver(now: number): boolean {
    return now - this.#began > this.limit;
  }
}
