import { MecefoError } from "../errors.ts";
import { slotName, slotsOf } from "../grid/grid.ts";
import type { Job } from "../job/job.ts";
import type { ClusterObserver } from "../membership/cluster-observer.ts";
import type { ClusterState, Member } from "../membership/cluster-state.ts";
import type { WorkerOutcome } from "../worker/worker.ts";
import type { GridRuntime, WorkerFault } from "./grid-runtime.ts";
import { WorkerProcesses } from "./worker-processes.ts";

/** What a run's workers join, seen from the process that launches them. */
export interface LaunchedControl extends ClusterObserver {
  /** What workers are told to join. */
  readonly joinUrl: string;
  /** A worker's process is known to have ended; nothing where the leader is elsewhere. */
  exited(memberId: string, how: string): void;
}

/** What a grid of processes is made of. */
export interface ProcessGridOptions {
  readonly job: Job;
  readonly control: LaunchedControl;
  readonly token: string;
  /** Of the workers that are started here. */
  readonly socketFolder: string;
  /** Start the workers here. False: they are started elsewhere (Kubernetes, other machines), this process only looks on and leads. */
  readonly launch: boolean;
  readonly allowFaults: boolean;
  /** Milliseconds after which a worker that ended is started again; undefined: never. */
  readonly restartDelay: number | undefined;
  readonly onLine?: (slot: string, line: string) => void;
}

/** Workers that are processes of this machine, or of others that join by themselves. */
export class ProcessGrid implements GridRuntime {
  readonly #options: ProcessGridOptions;
  readonly #processes: WorkerProcesses;
  readonly #timers = new Set<NodeJS.Timeout>();
  #end: ((outcome: WorkerOutcome) => void) | undefined;

  constructor(options: ProcessGridOptions) {
    this.#options = options;
    const { control, token, socketFolder, allowFaults, restartDelay, onLine } = options;
    this.#processes = new WorkerProcesses({
      join: control.joinUrl, token, socketFolder, allowFaults, restartDelay,
      onLine: (slot, line) => onLine?.(slot, line),
      onGivenUp: (slot, lastLine) => {
        // Later, the others go on without it.
        if ((control.state?.epoch ?? 0) === 0) this.#end?.({ kind: "failed", reason: `the worker of ${slot} does not start: ${lastLine}` });
      },
      onExit: (slot, pid, how) => {
        const member = this.#members().find((candidate) => candidate.pid === pid && slotName(candidate.slot) === slot);
        if (member) control.exited(member.id, how);
      },
    });
  }

  #members(): readonly Member[] {
    return this.#options.control.state?.members ?? [];
  }

  get live(): readonly string[] {
    return this.#members().map(({ slot }) => slotName(slot));
  }

  async run(): Promise<WorkerOutcome> {
    const { job, control, launch } = this.#options;
    const outcome = new Promise<WorkerOutcome>((resolve) => {
      this.#end = resolve;
    });
    const stop = control.onState((state: ClusterState) => {
      if (state.phase === "finished") this.#end?.({ kind: "finished", step: state.step });
      if (state.phase === "failed") this.#end?.({ kind: "failed", reason: state.reason });
    });
    try {
      if (launch) for (const slot of slotsOf(job.grid)) this.#processes.start(slotName(slot));
      return await outcome;
    } finally {
      stop();
    }
  }

  async inject(slot: string, fault: WorkerFault): Promise<void> {
    const { allowFaults, control } = this.#options;
    if (!allowFaults) throw new MecefoError("faults are not allowed in this run: start it with --allow-faults");
    if (fault.kind === "kill" && this.#processes.pid(slot) !== undefined) {
      if (fault.repairAfter !== undefined) {
        this.#processes.hold(slot);
        this.#later(fault.repairAfter, () => {
          this.#processes.start(slot);
        });
      }
      this.#processes.signal(slot, "SIGKILL");
      return;
    }
    if (fault.kind === "stop") {
      this.#processes.signal(slot, "SIGSTOP");
      const pid = this.#processes.pid(slot);
      this.#later(fault.durationMilliseconds, () => {
        if (this.#processes.pid(slot) === pid) this.#processes.signal(slot, "SIGCONT");
      });
      return;
    }
    const member = this.#members().find((candidate) => slotName(candidate.slot) === slot);
    if (member === undefined) throw new MecefoError(`${slot} has no live worker`);
    const isTold = await control.command(member.id, fault.kind === "kill" ? { kind: "kill" } : { kind: "fault", fault });
    if (!isTold) throw new MecefoError(`the worker of ${slot} cannot be reached`);
  }

  #later(milliseconds: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, milliseconds);
    this.#timers.add(timer);
  }

  requestStop(): void {
    void this.#options.control.requestStop();
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#processes.close();
    await this.#options.control.close();
  }
}
