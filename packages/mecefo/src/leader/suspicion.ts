import type { Timeouts } from "../job/timeouts.ts";
import { median } from "../statistics.ts";

/** Which limits a monitor goes by. */
export type SuspicionLimits = Pick<Timeouts, "suspicionFloor" | "suspicionCeiling" | "suspicionDeviations">;

interface Arrivals {
  last: number;
  /** The last intervals, overwritten in turn. */
  readonly intervals: number[];
  next: number;
}

/** Intervals that a limit is taken from. */
const WINDOW = 64;
/** Before so many intervals are known, only the ceiling holds: processes start slowly and all at once. */
const ENOUGH = 8;
/** What is taken for granted of a stretch of time that was shifted: as long as the owner's usual time between two calls. */
const USUAL_GAP = 50;

/**
 * Tells from heartbeats who is taken for dead: whoever was silent for longer than the median of its own intervals plus k median absolute
 * deviations, within a floor and a ceiling. All times are milliseconds of one monotonic clock, given by the caller.
 *
 * Whoever judges may itself have been stopped (SIGSTOP, a sleeping laptop, a blocked event loop): nothing was heard then because nobody
 * listened. So it has to be called often (`suspected` or `tick`, every 50 ms or so); after a gap of half the floor or more all arrivals are
 * shifted by it.
 */
export class SuspicionMonitor {
  readonly #limits: SuspicionLimits;
  readonly #members = new Map<string, Arrivals>();
  #lastCall: number | undefined;
  #pauses = 0;
  #untold = 0;

  constructor(limits: SuspicionLimits) {
    this.#limits = limits;
  }

  /** Stretches of time that were shifted so far. */
  get pauses(): number {
    return this.#pauses;
  }

  /** A sign of life; the first one makes the member known. */
  heartbeat(id: string, now: number): void {
    this.#notice(now);
    const arrivals = this.#members.get(id);
    if (arrivals === undefined) {
      this.#members.set(id, { last: now, intervals: [], next: 0 });
      return;
    }
    arrivals.intervals[arrivals.next] = Math.max(0, now - arrivals.last);
    arrivals.next = (arrivals.next + 1) % WINDOW;
    arrivals.last = now;
  }

  /** The member left or was evicted. */
  forget(id: string): void {
    this.#members.delete(id);
  }

  /** Milliseconds since its last sign of life; undefined for a stranger. */
  silentFor(id: string, now: number): number | undefined {
    this.#notice(now);
    const arrivals = this.#members.get(id);
    return arrivals === undefined ? undefined : Math.max(0, now - arrivals.last);
  }

  /** Silence, in milliseconds, from which on the member is suspected. */
  limitOf(id: string): number {
    const { suspicionFloor, suspicionCeiling, suspicionDeviations } = this.#limits;
    const intervals = this.#members.get(id)?.intervals ?? [];
    if (intervals.length < ENOUGH) return suspicionCeiling;
    const middle = median(intervals)!;
    const deviation = median(intervals.map((interval) => Math.abs(interval - middle)))!;
    return Math.min(suspicionCeiling, Math.max(suspicionFloor, middle + suspicionDeviations * deviation));
  }

  /** Ids of everybody who was silent for longer than its limit, the most silent first. */
  suspected(now: number): string[] {
    this.#notice(now);
    return [...this.#members]
      .filter(([id, { last }]) => now - last > this.limitOf(id))
      .sort(([, a], [, b]) => a.last - b.last)
      .map(([id]) => id);
  }

  /**
   * Lets time pass. Gives the milliseconds that were shifted since the last tick, by whatever call: 0 unless the caller itself was
   * stopped.
   */
  tick(now: number): number {
    this.#notice(now);
    const untold = this.#untold;
    this.#untold = 0;
    return untold;
  }

  /** Nobody listened for so many milliseconds: they count for nobody. */
  pause(milliseconds: number): void {
    this.#pauses++;
    this.#untold += milliseconds;
    for (const arrivals of this.#members.values()) arrivals.last += milliseconds;
  }

  #notice(now: number): void {
    const gap = this.#lastCall === undefined ? 0 : now - this.#lastCall;
    this.#lastCall = Math.max(now, this.#lastCall ?? now);
    if (gap >= Math.max(2 * USUAL_GAP, this.#limits.suspicionFloor / 2)) this.pause(gap - USUAL_GAP);
  }
}
