import { setTimeout as sleep } from "node:timers/promises";
import { MecefoError } from "../errors.ts";
import type { RunEvent } from "../membership/run-event.ts";
import type { WorkerFault } from "../runtime/grid-runtime.ts";
import type { Fault } from "./fault-schedule-format.ts";
import type { FaultSource } from "./replayed-faults.ts";

/** What faults are brought about in. */
export interface ChaosTarget {
  inject(slot: string, fault: WorkerFault): Promise<void>;
  /** Ends the run in order. */
  stop(): void;
}

/** Options of `Chaos`. */
export interface ChaosOptions {
  /** A `FaultSchedule`, or `ReplayedFaults`. */
  readonly schedule: FaultSource;
  /** Steps that are taken in good health after the last fault before the run is ended. Default 3. */
  readonly calmSteps?: number | undefined;
  /** Milliseconds without a step after which the run hangs. Default 60,000. */
  readonly hangLimit?: number | undefined;
  readonly onFault?: (fault: Fault) => void;
}

/** What chaos did. */
export interface ChaosReport {
  readonly faults: readonly Fault[];
  /** Times that no step was taken for longer than the limit. */
  readonly hangs: number;
  /** Faults whose worker could not be told: they did not take place. */
  readonly undelivered: number;
  /** Longest time without a step, in milliseconds. */
  readonly longestPause: number;
}

const POLL = 20;
/** Milliseconds that the last faults may go on, beyond the limit for hangs, before everybody has to be back. */
const REPAIR_ALLOWANCE = 60_000;
/** Milliseconds in which a worker has to be told of its fault. */
const DELIVERY_LIMIT = 20_000;

/**
 * Brings a schedule's faults about in a run, one when it is due and whether or not the last one is mended, then waits until all workers are
 * back and ends the run. It learns what it needs from the run's events: give it all of them.
 */
export class Chaos {
  readonly #options: ChaosOptions;
  readonly #hangLimit: number;
  readonly #done: Fault[] = [];
  #undelivered = 0;
  /** Slots whose worker has been there through a whole recovery. */
  #settled = new Set<string>();
  #live: readonly string[] = [];
  #healthySteps = 0;
  #healthy = false;
  #ended = false;
  #begun = false;
  #lastStep: number = performance.now();
  #longestPause = 0;
  /** Until when a slot's worker stands still. */
  readonly #stopped = new Map<string, number>();

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#hangLimit = options.hangLimit ?? 60_000;
  }

  /** Takes in what happens. */
  observe(event: RunEvent): void {
    const now = performance.now();
    switch (event.kind) {
      case "epoch":
        this.#live = event.live;
        this.#healthy = event.healthy;
        this.#settled = new Set([...this.#settled].filter((slot) => event.live.includes(slot)));
        this.#healthySteps = 0;
        break;
      case "recovery":
        for (const slot of this.#live) this.#settled.add(slot);
        if (!this.#begun) this.#lastStep = now;
        this.#begun = true;
        break;
      case "step":
        this.#longestPause = Math.max(this.#longestPause, now - this.#lastStep);
        this.#lastStep = now;
        if (this.#healthy) this.#healthySteps++;
        break;
      case "finished":
      case "failed":
        this.#ended = true;
        break;
      default:
    }
  }

  /** Brings a fault about, as soon as its worker can be told. False: it cannot; the fault did not take place. */
  async #deliver(target: ChaosTarget, { slot, ...fault }: Fault): Promise<boolean> {
    for (const until = performance.now() + DELIVERY_LIMIT; ;) {
      try {
        await target.inject(slot, toWorkerFault({ slot, ...fault }));
        return true;
      } catch (error) {
        // The way to it may be what the last fault has struck.
        if (!(error instanceof MecefoError)) throw error;
        if (this.#ended || !this.#live.includes(slot) || performance.now() > until) {
          this.#undelivered++;
          return false;
        }
        await sleep(10 * POLL);
      }
    }
  }

  /** A run that is under way already, of whose beginning nothing was heard: who is there. */
  begin(live: readonly string[]): void {
    this.#live = live;
    this.#settled = new Set(live);
    this.#begun = true;
    this.#healthy = true;
    this.#lastStep = performance.now();
  }

  /** Until the schedule is done and the run is well again, or ends, or hangs, or the signal aborts. */
  async run(target: ChaosTarget, signal?: AbortSignal): Promise<ChaosReport> {
    const { schedule, calmSteps = 3, onFault } = this.#options;
    while (!this.#begun && !this.#ended && !signal?.aborted) await sleep(POLL);
    const began = performance.now();
    let hangs = 0;
    let calmBy: number | undefined;
    for (;;) {
      await sleep(POLL);
      if (this.#ended || signal?.aborted) break;
      const now = performance.now();
      if (now - this.#lastStep > this.#hangLimit) {
        hangs++;
        break;
      }
      if (schedule.remaining === 0) {
        // In calm: everybody is back, and steps are taken.
        if (this.#healthySteps >= calmSteps) break;
        // A worker that never comes back is a hang as well, though the others train on.
        calmBy ??= now + this.#hangLimit + REPAIR_ALLOWANCE;
        if (now > calmBy) {
          hangs++;
          break;
        }
        continue;
      }
      if (now - began < schedule.due!) continue;
      const well = [...this.#settled].filter((slot) => (this.#stopped.get(slot) ?? 0) < now);
      const fault = schedule.next(well, Math.round(now - began));
      if (fault === undefined) continue;
      this.#healthySteps = 0;
      if (fault.kind === "stop") this.#stopped.set(fault.slot, now + fault.duration);
      // Killed: whoever comes next in its slot has to settle first.
      if (fault.kind === "kill") this.#settled.delete(fault.slot);
      if (!(await this.#deliver(target, fault))) continue;
      this.#done.push(fault);
      onFault?.(fault);
    }
    this.#longestPause = Math.max(this.#longestPause, this.#ended ? 0 : performance.now() - this.#lastStep);
    if (!this.#ended) target.stop();
    return { faults: this.#done, undelivered: this.#undelivered, hangs, longestPause: this.#longestPause };
  }
}

/** A schedule's fault as a worker's. */
export function toWorkerFault(fault: Fault): WorkerFault {
  switch (fault.kind) {
    case "kill":
      return { kind: "kill", repairAfter: fault.repairAfter };
    case "stop":
      return { kind: "stop", durationMilliseconds: fault.duration };
    case "cut":
      return { kind: "cut" };
    case "slow":
      return { kind: "slow", delayMilliseconds: fault.delay, durationMilliseconds: fault.duration };
    case "corrupt":
      return { kind: "corrupt", frames: fault.frames };
  }
}
