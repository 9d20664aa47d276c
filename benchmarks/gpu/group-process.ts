import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ChildMessage, ChildRequest } from "./messages.ts";

const program = fileURLToPath(new URL("child.ts", import.meta.url));

/** A driver that hangs is given up: nothing is silent for longer, shader compilers of software adapters included. */
const patienceSeconds = 600;

/** A group of workloads in a process of its own, started with the environment of its adapter. */
export class GroupProcess {
  readonly #child: ChildProcess;
  #errors = "";
  /** Why the process ended, where it did not end well. */
  failure: string | undefined;

  constructor(environment: Readonly<Record<string, string>>, request: ChildRequest) {
    this.#child = fork(program, [JSON.stringify(request)], {
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, ...environment },
    });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
  }

  /** Messages until the process ends, or is silent for too long. */
  async *messages(): AsyncGenerator<ChildMessage> {
    const queue: ChildMessage[] = [];
    let ended = false;
    let wake: () => void = () => undefined;
    this.#child.on("message", (message) => {
      queue.push(message as ChildMessage);
      wake();
    });
    this.#child.once("close", (code, signal) => {
      if (code !== 0) this.failure ??= `its process ended with ${signal ?? `code ${code}`}: ${this.#errors.trim()}`;
      ended = true;
      wake();
    });
    for (;;) {
      while (queue.length > 0) yield queue.shift()!;
      if (ended) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          this.failure = `its process said nothing for ${patienceSeconds} s`;
          this.#child.kill("SIGKILL");
        }, patienceSeconds * 1000);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
        if (queue.length > 0 || ended) wake();
      });
    }
  }
}
