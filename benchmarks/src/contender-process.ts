import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Reply, Request } from "./child.ts";
import type { Contender } from "./workload.ts";

const program = fileURLToPath(new URL("child.ts", import.meta.url));

/** A library that hangs is given up. */
const patienceSeconds = 300;

/** A library at work in a process of its own: JIT compilers, heaps and thread pools of different libraries do not disturb each other. */
export class ContenderProcess {
  readonly contender: Contender;
  readonly #child: ChildProcess;
  #errors = "";

  private constructor(contender: Contender) {
    this.contender = contender;
    // Libraries print on stdout, which belongs to the table; what they print on stderr is shown if they fail.
    this.#child = fork(program, [], {
      execArgv: [...(contender.nodeFlags ?? [])],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      env: { ...process.env, NODE_ENV: "production" },
    });
    this.#child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-4000);
    });
  }

  /** Starts the process and its library; says which version. @throws when the library cannot be loaded */
  static async open(contender: Contender): Promise<{ readonly process: ContenderProcess; readonly version: string }> {
    const process = new ContenderProcess(contender);
    try {
      const { version } = await process.ask(
        { type: "open", module: contender.module, threads: contender.threads, variant: contender.variant },
        "opened",
      );
      return { process, version };
    } catch (error) {
      process.close();
      throw error;
    }
  }

  /** Whether it still runs. */
  get alive(): boolean {
    return this.#child.connected;
  }

  /** Sends a request and waits for its answer. @throws when the child fails or ends */
  async ask<Type extends Reply["type"]>(request: Request, answer: Type): Promise<Extract<Reply, { type: Type }>> {
    const reply = await new Promise<Reply>((resolve, reject) => {
      const onExit = (code: number | null, signal: string | null): void => {
        clearTimeout(timer);
        reject(new Error(`${this.contender.name} ended with ${signal ?? `code ${code}`}: ${this.#errors}`));
      };
      const timer = setTimeout(() => {
        this.close();
        reject(new Error(`${this.contender.name} did not answer in ${patienceSeconds} s`));
      }, patienceSeconds * 1000);
      this.#child.once("exit", onExit);
      this.#child.once("message", (message) => {
        clearTimeout(timer);
        this.#child.off("exit", onExit);
        resolve(message as Reply);
      });
      this.#child.send(request);
    });
    if (reply.type === "failed") throw new Error(reply.message);
    if (reply.type !== answer) throw new Error(`${this.contender.name} answered ${reply.type} instead of ${answer}`);
    return reply as Extract<Reply, { type: Type }>;
  }

  /** Ends the process. */
  close(): void {
    this.#child.removeAllListeners();
    if (this.#child.connected) this.#child.disconnect();
    this.#child.kill("SIGKILL");
  }
}
