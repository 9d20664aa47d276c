/** mecefo's transport and all-reduce between processes; the variant says whether sockets live in a thread of their own, as workers' do. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { ringAllReduce, type Peer } from "@frugal/mecefo";
import mecefo from "@frugal/mecefo/package.json" with { type: "json" };
import { openNode, type NodeOptions, type TransportNode } from "../mecefo/transport-node.ts";
import type { NodeCommand } from "../mecefo/transport-process.ts";
import { sampleOf, uniform } from "../src/inputs.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

const program = fileURLToPath(new URL("../mecefo/transport-process.ts", import.meta.url));

interface Group {
  readonly node: TransportNode;
  readonly others: readonly ChildProcess[];
  readonly participants: readonly Peer[];
  close(): Promise<void>;
}

const tell = (child: ChildProcess, command: NodeCommand): void => void child.send(command);

/** This process and others, all connected. */
async function openGroup(processes: number, options: Omit<NodeOptions, "id">): Promise<Group> {
  const node = await openNode({ ...options, id: "rank0" });
  const others = Array.from({ length: processes - 1 }, (_, i) => (
    fork(program, [JSON.stringify({ ...options, id: `rank${i + 1}` })], { execArgv: [] })
  ));
  const addresses = await Promise.all(others.map(async (child) => (await once(child, "message") as [string])[0]));
  const participants = [node.transport.address, ...addresses].map((address, rank): Peer => ({ id: `rank${rank}`, address }));
  for (const child of others) tell(child, { kind: "begin", peers: participants });
  await Promise.all(others.map((child) => once(child, "message")));
  node.mailbox.beginEpoch(1);
  node.transport.beginEpoch(1, participants);
  return {
    node, others, participants,
    async close() {
      for (const child of others) child.kill("SIGKILL");
      node.mailbox.close();
      await node.transport.close();
      // Those who were killed could not.
      for (const { address } of participants) if (address.startsWith("unix:")) await rm(address.slice("unix:".length), { force: true });
    },
  };
}

async function pointToPoint({ bytes, protocol }: Extract<Task, { kind: "pointToPoint" }>, threaded: boolean): Promise<Prepared> {
  const { node: { transport, mailbox }, participants: [, other], close } = await openGroup(2, { protocol, threaded });
  const payload = new Uint8Array(uniform(bytes / 4, 1).buffer);
  let sequence = 0;
  return {
    async runAsync() {
      const tag = { epoch: 1, step: 0, channel: 0, sequence: sequence++ };
      const sent = transport.send(other!, { ...tag, kind: "activation" }, payload);
      transport.release(await mailbox.receive(other!.id, { ...tag, kind: "gradient" }));
      await sent;
    },
    sample: () => [],
    dispose: close,
  };
}

async function allReduce({ bytes, processes, protocol }: Extract<Task, { kind: "allReduce" }>, threaded: boolean): Promise<Prepared> {
  const { node, others, participants, close } = await openGroup(processes, { protocol, threaded });
  const buffer = new Float32Array(bytes / 4);
  let step = 0;
  return {
    async runAsync() {
      others.forEach((child, i) => {
        tell(child, { kind: "reduce", step, bytes, participants, rank: i + 1 });
      });
      buffer.fill(1);
      await ringAllReduce(buffer, { ...node, epoch: 1, step: step++, channel: 0, participants, rank: 0 });
    },
    sample: () => sampleOf(buffer),
    dispose: close,
  };
}

export const adapter: Adapter = {
  open: async (_threads, variant) => await Promise.resolve({
    version: mecefo.version,
    async prepare(task) {
      const threaded = variant !== "direct";
      if (task.kind === "pointToPoint") return await pointToPoint(task, threaded);
      if (task.kind === "allReduce") return await allReduce(task, threaded);
      return undefined;
    },
  }),
};
