/** A worker's communication without the worker: for measuring what moves bytes. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSocketTransport, createThreadedTransport, Mailbox, startNetworkThread, type Transport } from "@frugal/mecefo";

/** Over what, and whether sockets live in a thread of their own, as workers' do. */
export interface NodeOptions {
  readonly id: string;
  readonly protocol: "unix" | "tcp";
  readonly threaded: boolean;
}

/** A transport with its mailbox. */
export interface TransportNode {
  readonly id: string;
  readonly transport: Transport;
  readonly mailbox: Mailbox;
}

let made = 0;

/** An address that nobody else listens on. */
export function freshAddress(protocol: "unix" | "tcp"): string {
  return protocol === "tcp" ? "tcp://127.0.0.1:0" : `unix:${join(tmpdir(), `frugal-bench-${process.pid}-${made++}.sock`)}`;
}

/** Listens. */
export async function openNode({ id, protocol, threaded }: NodeOptions): Promise<TransportNode> {
  const options = { id, listen: freshAddress(protocol), token: "of the benchmark only" };
  const transport = threaded
    ? await createThreadedTransport({ port: startNetworkThread({ transport: options }).transportPort })
    : await createSocketTransport(options);
  return { id, transport, mailbox: new Mailbox({ transport }) };
}
