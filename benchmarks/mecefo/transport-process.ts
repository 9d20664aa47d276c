/** Program of the other side: acknowledges messages, takes part in all-reduces. Argument: JSON of `NodeOptions`; ends with its parent. */
import { ringAllReduce, type Peer } from "@frugal/mecefo";
import { openNode, type NodeOptions } from "./transport-node.ts";

/** What the parent asks for. */
export type NodeCommand =
  | { readonly kind: "begin"; readonly peers: readonly Peer[] }
  | {
    readonly kind: "reduce"; readonly step: number; readonly bytes: number; readonly participants: readonly Peer[]; readonly rank: number;
  };

const { transport, mailbox } = await openNode(JSON.parse(process.argv[2]!) as NodeOptions);
const empty = new Uint8Array(0);
let peers: readonly Peer[] = [];
let buffer = new Float32Array(0);
/** Until then the buffer belongs to the all-reduce before, though others may be through with it. */
let reduced = Promise.resolve();

mailbox.handle("activation", (message) => {
  const to = peers.find(({ id }) => id === message.from)!;
  transport.release(message);
  void transport.send(to, { ...message.tag, kind: "gradient" }, empty);
});

process.on("message", (command: NodeCommand) => {
  if (command.kind === "begin") {
    ({ peers } = command);
    mailbox.beginEpoch(1);
    transport.beginEpoch(1, peers);
    process.send!("ready");
    return;
  }
  const { step, bytes, participants, rank } = command;
  reduced = reduced.then(async () => {
    if (buffer.byteLength !== bytes) buffer = new Float32Array(bytes / 4);
    // As every call's, so that sums can be told from parts.
    buffer.fill(rank + 1);
    await ringAllReduce(buffer, { transport, mailbox, epoch: 1, step, channel: 0, participants, rank });
  });
});
process.on("disconnect", () => process.exit());
process.send!(transport.address);
