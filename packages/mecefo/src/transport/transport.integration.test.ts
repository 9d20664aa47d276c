import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { ringAllReduce, ringReduceInOrder } from "../collectives/ring-all-reduce.ts";
import { LinkError, SettingsError } from "../errors.ts";
import { startNetworkThread } from "../start-network-thread.ts";
import type { NetworkThread } from "../start-network-thread.ts";
import type { EchoCommand } from "./echo-process.testing.ts";
import { fuzz } from "./frame.testing.ts";
import { createSocketTransport } from "./socket-transport.ts";
import type { SocketTransportOptions } from "./socket-transport.ts";
import { createThreadedTransport } from "./threaded-transport.ts";
import { activation, freshUnixAddress, testNode, until } from "./transport.testing.ts";
import type { TestNode } from "./transport.testing.ts";
import type { Peer } from "./transport.ts";

const children: ChildProcess[] = [];
const nodes: TestNode[] = [];
const threads: NetworkThread[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await Promise.all(threads.splice(0).map((thread) => thread.terminate()));
});

async function startEcho(id: string, listen: string, threaded: boolean): Promise<{ child: ChildProcess; peer: Peer }> {
  const file = fileURLToPath(new URL("./echo-process.testing.ts", import.meta.url));
  const child: ChildProcess = fork(file, [JSON.stringify({ id, listen, token: "secret", threaded })], { execArgv: [] });
  children.push(child);
  const [address] = await once(child, "message") as [string];
  return { child, peer: { id, address } };
}

async function startNode(id: string, listen: string, threaded: boolean, onDeath?: (error: Error) => void): Promise<TestNode> {
  const options: SocketTransportOptions = { id, listen, token: "secret" };
  if (!threaded) return testNode(id, await createSocketTransport(options));
  const thread = startNetworkThread({ transport: options, ...(onDeath === undefined ? {} : { onDeath }) });
  threads.push(thread);
  return testNode(id, await createThreadedTransport({ port: thread.transportPort }));
}

function command(child: ChildProcess, what: EchoCommand): void {
  child.send(what);
}

function freshPort(): string {
  return "tcp://127.0.0.1:0";
}

describe.each([
  ["Unix sockets", freshUnixAddress, false],
  ["Unix sockets in threads", freshUnixAddress, true],
  ["TCP", freshPort, false],
  ["TCP in threads", freshPort, true],
] as const)("two processes over %s", (_name, listen, threaded) => {
  async function connectPair(): Promise<{ child: ChildProcess; peer: Peer; node: TestNode; begin: (epoch: number) => void }> {
    const { child, peer } = await startEcho("echo", listen(), threaded);
    const node = await startNode("main", listen(), threaded);
    nodes.push(node);
    const begin = (epoch: number): void => {
      command(child, { kind: "begin", epoch, peers: [node.peer] });
      node.mailbox.beginEpoch(epoch);
      node.transport.beginEpoch(epoch, [peer]);
    };
    begin(1);
    return { child, peer, node, begin };
  }

  it("carry large messages there and back, in several epochs", async () => {
    const { peer, node, begin } = await connectPair();
    for (const epoch of [1, 2]) {
      if (epoch > 1) begin(epoch);
      const payloads = [5_000_000, 0, 123_457].map((length, i) => Uint8Array.from({ length }, (_, j) => (i + 7 * j) & 255));
      const sends = payloads.map((payload, i) => node.transport.send(peer, activation(epoch, i), payload));
      for (const [i, payload] of payloads.entries()) {
        const echo = await node.mailbox.receive("echo", { ...activation(epoch, i), kind: "gradient" });
        expect(Buffer.compare(echo.payload, payload)).toBe(0);
        node.transport.release(echo);
      }
      await Promise.all(sends);
    }
    expect(node.failures).toEqual([]);
  });

  it("sum over a ring", async () => {
    const { child, peer, node } = await connectPair();
    const buffers = [3, 5].map((factor) => Float32Array.from({ length: 20_001 }, (_, i) => Math.sin(factor * i)));
    const participants = [node.peer, peer];
    command(child, { kind: "reduce", epoch: 1, step: 4, values: [...buffers[1]!], participants, rank: 1 });
    const there = once(child, "message") as Promise<[number[]]>;
    const sum = buffers[0]!.slice();
    await ringAllReduce(sum, { ...node, epoch: 1, step: 4, channel: 0, participants, rank: 0, frameBytes: 4096 });
    const expected = [...ringReduceInOrder(buffers)];
    expect([...sum]).toEqual(expected);
    expect((await there)[0]).toEqual(expected);
  });

  it("notice that the other is killed", async () => {
    const { child, peer, node } = await connectPair();
    await node.transport.send(peer, activation(1, 0), new Uint8Array(10));
    await node.mailbox.receive("echo", { ...activation(1, 0), kind: "gradient" });
    const waiting = node.mailbox.receive("echo", { ...activation(1, 1), kind: "gradient" }).catch((error: unknown) => error);
    child.kill("SIGKILL");
    expect(await waiting).toBeInstanceOf(LinkError);
    expect(node.failures).toHaveLength(1);
    expect(node.failures[0]).toMatch(/^echo: closed: /);
    await expect(node.transport.send(peer, activation(1, 2), new Uint8Array(10))).rejects.toThrow(LinkError);
  });
});

describe("the network thread", () => {
  it("sends and receives while the main thread is busy", async () => {
    const { child, peer } = await startEcho("echo", freshUnixAddress(), false);
    const node = await startNode("main", freshUnixAddress(), true);
    nodes.push(node);
    command(child, { kind: "begin", epoch: 1, peers: [node.peer] });
    node.beginEpoch(1, [{ ...node, peer }]);
    const sends = Array.from({ length: 20 }, (_, i) => node.transport.send(peer, activation(1, i), new Uint8Array(100_000).fill(i)));
    // Nothing below lets the event loop turn.
    const deadline = performance.now() + 10_000;
    while (node.transport.statistics().messagesReceived < 20 && performance.now() < deadline);
    expect(node.transport.statistics()).toMatchObject({ messagesSent: 20, messagesReceived: 20 });
    await Promise.all(sends);
    for (let i = 0; i < 20; i++) {
      const echo = await node.mailbox.receive("echo", { ...activation(1, i), kind: "gradient" });
      expect([echo.payload.byteLength, echo.payload[99_999]]).toEqual([100_000, i]);
      node.transport.release(echo);
    }
  });

  it("sends shared memory from where it lies", async () => {
    const { child, peer } = await startEcho("echo", freshUnixAddress(), true);
    const node = await startNode("main", freshUnixAddress(), true);
    nodes.push(node);
    command(child, { kind: "begin", epoch: 1, peers: [node.peer] });
    node.beginEpoch(1, [{ ...node, peer }]);
    const payload = new Uint8Array(new SharedArrayBuffer(100_000), 4096, 50_000).fill(8);
    await node.transport.send(peer, activation(1, 0), payload);
    const echo = await node.mailbox.receive("echo", { ...activation(1, 0), kind: "gradient" });
    expect(Buffer.compare(echo.payload, payload)).toBe(0);
  });

  it("brings errors over as they were", async () => {
    const node = await startNode("main", freshUnixAddress(), true);
    nodes.push(node);
    node.beginEpoch(1, []);
    await expect(node.transport.send({ id: "x", address: "unix:/x" }, activation(1, 0), new Uint8Array(1)))
      .rejects.toThrow(new LinkError("x", "is no peer in epoch 1"));
    await expect(startNode("second", node.peer.address, true)).rejects.toThrow(SettingsError);
  });

  it("ends what waits for it when it dies, and says so", async () => {
    const deaths: Error[] = [];
    const { child, peer } = await startEcho("echo", freshUnixAddress(), false);
    const node = await startNode("main", freshUnixAddress(), true, (error) => deaths.push(error));
    command(child, { kind: "begin", epoch: 1, peers: [] });
    node.beginEpoch(1, [{ ...node, peer }]);
    const sending = node.transport.send(peer, activation(1, 0), new Uint8Array(1)).catch((error: unknown) => error);
    // A request that the thread cannot understand: a fault of this package.
    threads[0]!.transportPort.postMessage({ kind: "send", number: 1, to: peer, tag: activation(1, 1), payload: undefined });
    expect(await sending).toBeInstanceOf(LinkError);
    await until(() => deaths.length > 0);
    expect(deaths[0]!.message).toMatch(/^the network thread broke: /);
    await node.close();
  });
});

describe("frames", () => {
  it("survive more hostile streams", () => {
    for (let seed = 2; seed < 7; seed++) {
      const { refused, read, largest } = fuzz(20_000, seed);
      expect(largest).toBeLessThanOrEqual(64);
      expect(Math.min(refused, read)).toBeGreaterThan(2000);
    }
  });
});
