import { MessageChannel, Worker } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { MecefoError } from "./errors.ts";
import type { SocketTransportOptions } from "./transport/socket-transport.ts";

/** What the network thread is to do, as plain data. */
export interface NetworkThreadOptions<Membership = unknown> {
  /** Runs a socket transport: give `transportPort` to `createThreadedTransport`. */
  readonly transport?: SocketTransportOptions;
  /** Runs the membership's connection and its heartbeats. */
  readonly membership?: Membership;
  /**
   * The thread broke: the worker has to end, for nobody hears its heartbeats any more. Without a listener the error is thrown where nobody
   * catches it, which ends the process.
   */
  readonly onDeath?: (error: MecefoError) => void;
}

/** What the network thread finds in its `workerData`. */
export interface NetworkThreadData {
  readonly transport: SocketTransportOptions | undefined;
  readonly transportPort: MessagePort;
  readonly membership: unknown;
  readonly membershipPort: MessagePort;
}

/** A running network thread. */
export interface NetworkThread {
  readonly transportPort: MessagePort;
  readonly membershipPort: MessagePort;
  /** Ends it at once; close the transport and the membership before. */
  terminate(): Promise<void>;
}

/** Starts the thread that a worker's sockets and heartbeats live in (network-thread.ts). */
export function startNetworkThread(options: NetworkThreadOptions): NetworkThread {
  const transport = new MessageChannel();
  const membership = new MessageChannel();
  const data: NetworkThreadData = {
    transport: options.transport,
    transportPort: transport.port2,
    membership: options.membership,
    membershipPort: membership.port2,
  };
  // From source the thread is started from source as well; Node strips its types.
  const file = import.meta.url.endsWith(".ts") ? "./network-thread.ts" : "./network-thread.js";
  const worker = new Worker(new URL(file, import.meta.url), {
    name: "mecefo network",
    workerData: data,
    transferList: [transport.port2, membership.port2],
  });
  let ending = false;
  const die = (detail: string, cause?: unknown): void => {
    if (ending) return;
    ending = true;
    const error = new MecefoError(`the network thread broke: ${detail}`, { cause });
    if (options.onDeath === undefined) throw error;
    options.onDeath(error);
  };
  worker.on("error", (error: Error) => {
    die(error.message, error);
  });
  worker.on("exit", (code) => {
    // It ends by itself, with 0, once everything in it was closed.
    if (code !== 0) die(`it ended with exit code ${code}`);
  });
  return {
    transportPort: transport.port1,
    membershipPort: membership.port1,
    async terminate() {
      ending = true;
      await worker.terminate();
    },
  };
}
