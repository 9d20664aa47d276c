import { Mailbox } from "./mailbox.ts";
import { createSocketTransport } from "./socket-transport.ts";
import type { SocketTransportOptions } from "./socket-transport.ts";
import { createThreadedTransport } from "./threaded-transport.ts";
import { startNetworkThread } from "../start-network-thread.ts";
import { ringAllReduce } from "../collectives/ring-all-reduce.ts";
import type { Peer, Transport } from "./transport.ts";

/**
 * A process for tests: it sends every activation back as a gradient, and takes part in all-reduces. Started by `fork` with the transport's
 * options as its argument; it sends its address, and is sent what to do.
 */
export type EchoCommand =
  | { readonly kind: "begin"; readonly epoch: number; readonly peers: readonly Peer[] }
  | {
    readonly kind: "reduce"; readonly epoch: number; readonly step: number; readonly values: readonly number[];
    readonly participants: readonly Peer[]; readonly rank: number;
  };

const { threaded, ...options } = JSON.parse(process.argv[2]!) as SocketTransportOptions & { readonly threaded: boolean };
const transport: Transport = threaded
  ? await createThreadedTransport({ port: startNetworkThread({ transport: options }).transportPort })
  : await createSocketTransport(options);
const mailbox = new Mailbox({ transport });
let peers: readonly Peer[] = [];
mailbox.handle("activation", (message) => {
  const to = peers.find(({ id }) => id === message.from)!;
  void transport.send(to, { ...message.tag, kind: "gradient" }, message.payload).catch(() => {}).finally(() => {
    transport.release(message);
  });
});
process.on("message", (command: EchoCommand) => {
  if (command.kind === "begin") {
    peers = command.peers;
    mailbox.beginEpoch(command.epoch);
    transport.beginEpoch(command.epoch, peers);
    return;
  }
  const buffer = Float32Array.from(command.values);
  void ringAllReduce(buffer, { transport, mailbox, ...command, channel: 0, frameBytes: 4096 }).then(() => process.send!([...buffer]));
});
process.on("disconnect", () => {
  process.exit();
});
process.send!(transport.address);
