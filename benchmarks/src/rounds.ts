import { disagreement, tolerance } from "./agreement.ts";
import { ContenderProcess } from "./contender-process.ts";
import { median } from "./measure.ts";
import type { Contender, Workload } from "./workload.ts";

/** How long to measure. */
export interface Effort {
  readonly rounds: number;
  /** Per contender and round. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

export const fullEffort: Effort = { rounds: 7, seconds: 0.25, warmUpSeconds: 0.4 };
export const quickEffort: Effort = { rounds: 2, seconds: 0.05, warmUpSeconds: 0.05 };

/** Rates of one workload: work units per second, by contender. */
export interface Rates {
  readonly workload: Workload;
  readonly rates: ReadonlyMap<Contender, number>;
  /** Size of the result, of those that say it. */
  readonly bytes: ReadonlyMap<Contender, number>;
  /** Libraries that failed, cannot do the task, or computed something else: name → reason. */
  readonly absent: ReadonlyMap<Contender, string>;
}

const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!;

/** Processes of contenders, started once and kept while the workloads of one kind run. */
export class ContenderPool {
  readonly #processes = new Map<string, Promise<ContenderProcess>>();
  /** Version of each library that was started, by contender name. */
  readonly versions: Map<string, string>;

  constructor(versions: Map<string, string> = new Map<string, string>()) {
    this.versions = versions;
  }

  async #open(contender: Contender): Promise<ContenderProcess> {
    let opening = this.#processes.get(contender.name);
    // One that crashed at its last task gets another chance at the next.
    if (opening === undefined || !(await opening).alive) {
      opening = ContenderProcess.open(contender).then(({ process, version }) => {
        this.versions.set(contender.name, version);
        return process;
      });
      this.#processes.set(contender.name, opening);
    }
    return await opening;
  }

  /**
   * Measures one workload: every contender prepares and is checked against ours, then they take turns, so that a change in the
   * machine's speed meets all of them. @throws when ours fails
   */
  async run(workload: Workload, effort: Effort): Promise<Rates> {
    const absent = new Map<Contender, string>();
    const bytes = new Map<Contender, number>();
    const ready: ContenderProcess[] = [];
    let expected: readonly number[] = [];
    for (const contender of [workload.ours, ...workload.peers]) {
      try {
        const process = await this.#open(contender);
        const request = { type: "prepare", task: workload.task, warmUpSeconds: effort.warmUpSeconds } as const;
        const { sample, bytes: size } = await process.ask(request, "prepared");
        if (sample === undefined) throw new Error("has no such operation");
        if (contender === workload.ours) expected = sample;
        const difference = sample.length === 0 ? 0 : disagreement(expected, sample);
        if (!(difference <= tolerance))
          throw new Error(`computes something else (differs by ${difference.toPrecision(2)} of the largest value)`);
        if (size !== undefined) bytes.set(contender, size);
        ready.push(process);
      } catch (error) {
        if (contender === workload.ours) throw error;
        absent.set(contender, firstLine(error));
      }
    }
    const seconds = new Map<Contender, number[]>(ready.map(({ contender }) => [contender, []]));
    for (let round = 0; round < effort.rounds; round++) {
      for (const process of ready) {
        if (absent.has(process.contender)) continue;
        try {
          seconds.get(process.contender)!.push((await process.ask({ type: "measure", seconds: effort.seconds }, "measured")).seconds);
        } catch (error) {
          if (process.contender === workload.ours) throw error;
          absent.set(process.contender, firstLine(error));
          seconds.delete(process.contender);
        }
      }
    }
    for (const process of ready) if (!absent.has(process.contender)) await process.ask({ type: "release" }, "released");
    const rates = new Map([...seconds].map(([contender, times]) => [contender, workload.work / median(times)]));
    return { workload, absent, bytes, rates };
  }

  /** Ends all processes. */
  async close(): Promise<void> {
    for (const opening of this.#processes.values()) (await opening.catch(() => undefined))?.close();
    this.#processes.clear();
  }
}
