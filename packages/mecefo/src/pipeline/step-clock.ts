import type { StepTimings } from "../membership/worker-report.ts";

/** Milliseconds of processor time that this thread has used; of the wall clock where Node does not tell (before 23.9). */
function threadMilliseconds(): number {
  if (typeof process.threadCpuUsage !== "function") return performance.now();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/**
 * Where a step's time goes. Computing is counted in processor time of the main thread, so that workers that share a core do not count each
 * other's work; waiting and reducing in time on the wall.
 */
export class StepClock {
  readonly #began: number = performance.now();
  #busy = 0;
  #waiting = 0;
  #allReduce = 0;

  /** Runs something that computes. */
  async computing<Result>(run: () => Result | Promise<Result>): Promise<Result> {
    const began = threadMilliseconds();
    try {
      return await run();
    } finally {
      this.#busy += threadMilliseconds() - began;
    }
  }

  /** Waits for a peer. */
  async waiting<Result>(wait: Promise<Result>): Promise<Result> {
    const began = performance.now();
    try {
      return await wait;
    } finally {
      this.#waiting += performance.now() - began;
    }
  }

  /** Waits for gradients to be reduced. */
  async reducing<Result>(reduce: Promise<Result>): Promise<Result> {
    const began = performance.now();
    try {
      return await reduce;
    } finally {
      this.#allReduce += performance.now() - began;
    }
  }

  timings(): StepTimings {
    return { step: performance.now() - this.#began, busy: Math.max(0, this.#busy), waiting: this.#waiting, allReduce: this.#allReduce };
  }
}
