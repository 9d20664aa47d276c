/** What adapters of libraries that move bytes have in common: a message to another process, and an acknowledgement back. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { uniform } from "../src/inputs.ts";
import type { OpenAdapter, Prepared, Task } from "../src/workload.ts";

const program = fileURLToPath(new URL("link-process.ts", import.meta.url));

/** A library's side that sends. */
export interface Sender {
  /** Where the other process connects. */
  readonly address: string;
  /** Resolves once it is connected; not called where connecting needs no waiting. */
  connected(): Promise<void>;
  /** Resolves when it was acknowledged. */
  send(message: Uint8Array<ArrayBuffer>): Promise<void>;
  close(): void;
}

/** An adapter of a library for `pointToPoint`. @param listen undefined for a protocol that it does not have */
export function linkAdapter(
  library: string, version: string, listen: (protocol: "unix" | "tcp") => Promise<Sender | undefined>,
): OpenAdapter {
  return {
    version,
    async prepare(task: Task): Promise<Prepared | undefined> {
      if (task.kind !== "pointToPoint") return undefined;
      const sender = await listen(task.protocol);
      if (sender === undefined) return undefined;
      const receiver = fork(program, [library, sender.address, `${task.bytes}`], { execArgv: [] });
      await sender.connected();
      const message = new Uint8Array(uniform(task.bytes / 4, 1).buffer);
      return {
        runAsync: () => sender.send(message),
        sample: () => [],
        dispose: () => {
          sender.close();
          receiver.kill("SIGKILL");
        },
      };
    },
  };
}
