import type { MessagePort } from "node:worker_threads";
import { MecefoError } from "../errors.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { Membership } from "./membership.ts";
import { fromMembershipErrorRecord, toMembershipErrorRecord, type MembershipNotice, type MembershipRequest } from "./network-messages.ts";
import { encodeReport } from "./report-limit.ts";
import { CommandFeed, StateFeed } from "./state-feed.ts";
import type { WorkerCommand, WorkerReport } from "./worker-report.ts";

/**
 * Runs a worker's membership in this thread, heartbeats included, for `createThreadedMembership` at the other end of the port. One that
 * cannot be made is told of by a notice.
 */
export async function serveMembership(port: MessagePort, create: () => Promise<Membership>): Promise<void> {
  const notify = (notice: MembershipNotice): void => {
    port.postMessage(notice);
  };
  let membership: Membership;
  try {
    membership = await create();
  } catch (error) {
    notify({ kind: "unusable", error: toMembershipErrorRecord(error) });
    port.close();
    return;
  }
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => await (closing ??= membership.close());
  port.on("message", (request: MembershipRequest) => {
    if (request.kind === "report") {
      membership.report(request.report);
    } else {
      void close().then(() => {
        notify({ kind: "closed" });
        port.close();
      });
    }
  });
  port.on("close", () => void close());
  notify({ kind: "ready" });
  membership.onState((state) => {
    notify({ kind: "state", state });
  });
  membership.onCommand((command) => {
    notify({ kind: "command", command });
  });
}

/**
 * The main thread's side of a membership that runs in the network thread, where kernels on the main thread cannot hold up its heartbeats.
 * @throws LinkError, MembershipError when the thread's membership could not be made
 */
export async function createThreadedMembership(port: MessagePort): Promise<Membership> {
  const membership = new ThreadedMembership(port);
  await membership.ready;
  return membership;
}

class ThreadedMembership implements Membership {
  readonly ready: Promise<void>;
  readonly #port: MessagePort;
  readonly #states = new StateFeed();
  readonly #commands = new CommandFeed();
  #closed = false;

  constructor(port: MessagePort) {
    this.#port = port;
    this.ready = new Promise((resolve, reject) => {
      port.on("message", (notice: MembershipNotice) => {
        if (notice.kind === "ready") resolve();
        else if (notice.kind === "unusable") reject(fromMembershipErrorRecord(notice.error));
        else if (notice.kind === "state") this.#states.accept(notice.state);
        else if (notice.kind === "command") this.#commands.accept(notice.command);
      });
      port.on("close", () => {
        this.#closed = true;
        reject(new MecefoError("the network thread ended before its membership was ready"));
      });
    });
  }

  get state(): ClusterState | undefined {
    return this.#states.state;
  }

  onState(listener: (state: ClusterState) => void): () => void {
    return this.#states.onState(listener);
  }

  onCommand(listener: (command: WorkerCommand) => void): void {
    this.#commands.onCommand(listener);
  }

  report(report: WorkerReport): void {
    encodeReport(report); // refuses what is too large here, where it can be caught
    this.#port.postMessage({ kind: "report", report } satisfies MembershipRequest);
  }

  async close(): Promise<void> {
    this.#states.close();
    this.#commands.close();
    if (this.#closed) return;
    const closed = new Promise<void>((resolve) => {
      this.#port.once("close", resolve);
    });
    this.#port.postMessage({ kind: "close" } satisfies MembershipRequest);
    await closed;
  }
}
