import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { MecefoError } from "../errors.ts";

/** How workers are started. */
export interface WorkerProcessesOptions {
  /** Where they join. */
  readonly join: string;
  readonly token: string;
  /** Folder for their sockets, which is removed with this process: workers that are killed leave theirs behind. */
  readonly socketFolder: string;
  readonly allowFaults: boolean;
  /** Milliseconds after which a worker that ended is started again; undefined: never. */
  readonly restartDelay: number | undefined;
  /** Lines that workers write. */
  readonly onLine?: (slot: string, line: string) => void;
  /** A worker crashed too often and is not started again; the last line that it wrote. */
  readonly onGivenUp?: (slot: string, lastLine: string) => void;
  /** A worker's process has ended. */
  readonly onExit?: (slot: string, pid: number, how: string) => void;
}

/** A worker that ends this many times within `CRASH_WINDOW` milliseconds of its start is not started again. */
const CRASH_LIMIT = 5;
const CRASH_WINDOW = 3000;

/** The command that this package installs, from source or built. */
function commandFile(): string {
  // In dist all modules lie flat beside cli.js.
  return fileURLToPath(new URL(import.meta.url.endsWith(".ts") ? "../cli.ts" : "./cli.js", import.meta.url));
}

/** Worker processes of one machine: started, started again when they end, and ended with this process. */
export class WorkerProcesses {
  readonly #options: WorkerProcessesOptions;
  readonly #children = new Map<string, ChildProcess>();
  readonly #crashes = new Map<string, number>();
  readonly #lastLines = new Map<string, string>();
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #held = new Set<string>();
  #closing = false;
  readonly #onProcessExit = (): void => {
    for (const child of this.#children.values()) child.kill("SIGKILL");
  };

  constructor(options: WorkerProcessesOptions) {
    this.#options = options;
    process.on("exit", this.#onProcessExit);
  }

  /** Starts the worker of a slot, unless it runs. */
  start(slot: string): void {
    this.#held.delete(slot);
    if (this.#closing || this.#children.has(slot)) return;
    const { join, token, socketFolder, allowFaults, onLine } = this.#options;
    const flags = ["worker", "--join", join, "--slot", slot, ...(allowFaults ? ["--allow-faults"] : [])];
    const child = spawn(process.execPath, [...process.execArgv.filter((flag) => !flag.startsWith("--inspect")), commandFile(), ...flags], {
      // The secret stays out of the list of processes.
      env: {
        ...process.env, MECEFO_TOKEN: token,
        MECEFO_LAUNCHER: String(process.pid), MECEFO_SOCKETS: socketFolder,
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#children.set(slot, child);
    const startedAt = performance.now();
    let rest = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!.slice(-4096);
      for (const line of lines) {
        this.#lastLines.set(slot, line);
        onLine?.(slot, line);
      }
    });
    const ended = (how: string, isCrash: boolean): void => {
      if (this.#children.get(slot) !== child) return;
      this.#children.delete(slot);
      if (rest !== "") onLine?.(slot, rest);
      this.#options.onExit?.(slot, child.pid ?? 0, how);
      this.#restart(slot, isCrash && performance.now() - startedAt < CRASH_WINDOW);
    };
    child.on("error", (error) => {
      ended(error.message, true);
    });
    child.on("exit", (code, signal) => {
      // Whoever is killed by a signal has not crashed by itself.
      ended(signal === null ? `ended with code ${code}` : `ended by ${signal}`, signal === null);
    });
  }

  #restart(slot: string, hasCrashed: boolean): void {
    const { restartDelay } = this.#options;
    const crashes = hasCrashed ? (this.#crashes.get(slot) ?? 0) + 1 : 0;
    this.#crashes.set(slot, crashes);
    if (this.#closing || restartDelay === undefined || this.#held.has(slot)) return;
    if (crashes >= CRASH_LIMIT) {
      const lastLine = this.#lastLines.get(slot) ?? "it wrote nothing";
      this.#options.onLine?.(slot, `ended ${crashes} times within ${CRASH_WINDOW} ms of its start: not started again`);
      this.#options.onGivenUp?.(slot, lastLine);
      return;
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.start(slot);
    }, restartDelay * (1 + crashes));
    this.#timers.add(timer);
  }

  /** Keeps a slot's worker from being started again until `start`. */
  hold(slot: string): void {
    this.#held.add(slot);
  }

  /** Process id of a slot's worker, if it runs. */
  pid(slot: string): number | undefined {
    return this.#children.get(slot)?.pid;
  }

  /** Sends a signal: SIGKILL, SIGSTOP, SIGCONT. @throws MecefoError when no worker runs there */
  signal(slot: string, signal: NodeJS.Signals): void {
    const child = this.#children.get(slot);
    if (child?.kill(signal) !== true) throw new MecefoError(`no worker process runs for ${slot}`);
  }

  /** Waits until all have ended by themselves, then ends those that have not. */
  async close(patience: number = 5000): Promise<void> {
    this.#closing = true;
    for (const timer of this.#timers) clearTimeout(timer);
    const ends = [...this.#children.values()].map((child) => new Promise<void>((resolve) => {
      child.once("exit", () => {
        resolve();
      });
      const timer = setTimeout(() => {
        // One that was stopped is woken by nothing else.
        child.kill("SIGKILL");
      }, patience);
      timer.unref();
    }));
    await Promise.all(ends);
    process.off("exit", this.#onProcessExit);
  }
}
