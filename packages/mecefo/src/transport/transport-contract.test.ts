import { afterEach, describe, expect, it } from "vitest";
import { EpochEndedError, FrameError, LinkError, MecefoError } from "../errors.ts";
import { createMemoryTransport, MemoryHub } from "./memory-transport.ts";
import { createSocketTransport } from "./socket-transport.ts";
import { activation, freshUnixAddress, testNode, until } from "./transport.testing.ts";
import type { TestNode } from "./transport.testing.ts";
import type { Transport } from "./transport.ts";

/** Every transport keeps the same promises. */
const limits = { maximumPayloadBytes: 1 << 20, maximumUnreleasedBytes: 1 << 19, linkTimeout: 400 };
let hub = new MemoryHub();
const transports: Readonly<Record<string, (id: string) => Transport | Promise<Transport>>> = {
  "memory": (id) => createMemoryTransport({ id, hub, ...limits }),
  "Unix sockets": (id) => createSocketTransport({ id, listen: freshUnixAddress(), token: "secret", ...limits }),
  "TCP": (id) => createSocketTransport({ id, listen: "tcp://127.0.0.1:0", token: "secret", ...limits }),
};

const nodes: TestNode[] = [];
afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  hub = new MemoryHub();
});

describe.each(Object.entries(transports))("transport over %s", (_name, create) => {
  async function cluster(...ids: string[]): Promise<TestNode[]> {
    const made = await Promise.all(ids.map(async (id) => testNode(id, await create(id))));
    nodes.push(...made);
    return made;
  }

  async function pair(): Promise<[TestNode, TestNode]> {
    const [a, b] = await cluster("a", "b") as [TestNode, TestNode];
    a.beginEpoch(1, [b]);
    b.beginEpoch(1, [a]);
    return [a, b];
  }

  const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

  it("delivers messages whole and in order, both ways, empty ones too", async () => {
    const [a, b] = await pair();
    const arrived: number[] = [];
    const payloads = [0, 1, 40, 4096, 65_536, 1 << 20, 3].map((length, i) => new Uint8Array(length).fill(i + 1));
    const sends = payloads.map((payload, i) => a.send(b, activation(1, i), payload));
    const back = b.send(a, { ...activation(1, 0), kind: "gradient" }, bytes(9));
    for (const [i, payload] of payloads.entries()) {
      const message = await b.receive(a, activation(1, i));
      expect(Buffer.compare(message.payload, payload)).toBe(0);
      expect(message.from).toBe("a");
      arrived.push(i);
      b.transport.release(message);
    }
    await Promise.all([...sends, back]);
    expect([...(await a.receive(b, { ...activation(1, 0), kind: "gradient" })).payload]).toEqual([9]);
    expect(a.transport.statistics()).toMatchObject({ messagesSent: 7, messagesReceived: 1, staleFrames: 0, refusedConnections: 0 });
    expect(b.transport.statistics().bytesReceived).toBe(payloads.reduce((sum, payload) => sum + payload.byteLength, 0));
  });

  it("waits for a peer that begins the epoch later", async () => {
    const [a, b] = await cluster("a", "b") as [TestNode, TestNode];
    a.beginEpoch(5, [b]);
    const sent = a.send(b, activation(5, 0), bytes(1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    b.beginEpoch(5, [a]);
    expect([...(await b.receive(a, activation(5, 0))).payload]).toEqual([1]);
    await sent;
    expect(a.failures).toEqual([]);
  });

  it("keeps messages of a later epoch, and drops and counts those of an older one", async () => {
    const [a, b] = await pair();
    await a.send(b, activation(1, 0), bytes(1));
    b.transport.release(await b.receive(a, activation(1, 0)));
    a.beginEpoch(2, [b]);
    await a.send(b, activation(2, 0), bytes(2));
    await expect(a.send(b, activation(1, 1), bytes(3))).rejects.toThrow(EpochEndedError);
    await until(() => b.mailbox.unclaimedBytes > 0);
    // b is still in epoch 1: what it sends is stale for a.
    await b.send(a, activation(1, 9), bytes(4));
    await until(() => a.transport.statistics().staleFrames === 1);
    b.beginEpoch(2, [a]);
    expect([...(await b.receive(a, activation(2, 0))).payload]).toEqual([2]);
    expect(a.failures.concat(b.failures)).toEqual([]);
  });

  it("tells corruption apart, once on each side, and works again in the next epoch", async () => {
    const [a, b] = await pair();
    await a.send(b, activation(1, 0), bytes(1, 2, 3));
    b.transport.release(await b.receive(a, activation(1, 0)));
    a.transport.inject({ kind: "corrupt", frames: 1 });
    const payload = new Uint8Array(1000).fill(5);
    const sending = a.send(b, activation(1, 1), payload).catch((error: unknown) => error);
    await expect(b.receive(a, activation(1, 1))).rejects.toThrow(LinkError);
    await until(() => a.failures.length > 0);
    await sending;
    expect(b.failures).toEqual(["a: corruption: checksum mismatch in activation frame (epoch 1, step 0, channel 0, sequence 1)"]);
    expect(a.failures).toEqual(["b: closed: the peer closed the connection"]);
    expect(payload.every((value) => value === 5)).toBe(true);
    await expect(a.send(b, activation(1, 2), payload)).rejects.toThrow(/closed: the peer closed/);
    await expect(b.receive(a, activation(1, 2))).rejects.toThrow(/checksum mismatch/);
    a.beginEpoch(2, [b]);
    const again = a.send(b, activation(2, 0), payload);
    b.beginEpoch(2, [a]);
    expect((await b.receive(a, activation(2, 0))).payload.byteLength).toBe(1000);
    await again;
    expect([a.failures.length, b.failures.length]).toEqual([1, 1]);
  });

  it("cuts links to one peer, and leaves the others", async () => {
    const [a, b, c] = await cluster("a", "b", "c") as [TestNode, TestNode, TestNode];
    for (const node of [a, b, c]) node.beginEpoch(1, [a, b, c].filter((other) => other !== node));
    for (const other of [b, c]) {
      await a.send(other, activation(1, 0), bytes(1));
      other.transport.release(await other.receive(a, activation(1, 0)));
    }
    a.transport.inject({ kind: "cut", peer: "b" });
    await until(() => b.failures.length > 0);
    expect(a.failures).toEqual(["b: closed: cut by an injected fault"]);
    expect(b.failures).toEqual(["a: closed: the peer closed the connection"]);
    await a.send(c, activation(1, 1), bytes(2));
    expect([...(await c.receive(a, activation(1, 1))).payload]).toEqual([2]);
    expect(c.failures).toEqual([]);
  });

  it("holds frames back, in order, while it is slow", async () => {
    const [a, b] = await pair();
    await a.send(b, activation(1, 99), bytes(0));
    a.transport.inject({ kind: "slow", delayMilliseconds: 120, durationMilliseconds: 60_000 });
    const begun = performance.now();
    const sends = [0, 1, 2].map((i) => a.send(b, activation(1, i), bytes(i)));
    await b.receive(a, activation(1, 0));
    expect(performance.now() - begun).toBeGreaterThanOrEqual(119);
    for (const i of [1, 2]) expect([...(await b.receive(a, activation(1, i))).payload]).toEqual([i]);
    await Promise.all(sends);
    expect(a.failures).toEqual([]);
  });

  it("rests from reading while too much is unreleased, without losing anything", async () => {
    const [a, b] = await pair();
    const payload = new Uint8Array(1 << 18);
    const sends = Array.from({ length: 24 }, (_, i) => a.send(b, activation(1, i), payload));
    await until(() => b.mailbox.unclaimedBytes > 1 << 19);
    await new Promise((resolve) => setTimeout(resolve, 60));
    // The bound, the frame that exceeded it, and what a last read brought.
    expect(b.mailbox.unclaimedBytes).toBeLessThanOrEqual((1 << 19) + (1 << 18) + 65_536);
    for (let i = 0; i < 24; i++) b.transport.release(await b.receive(a, activation(1, i)));
    await Promise.all(sends);
    expect(b.failures).toEqual([]);
  });

  it("refuses what cannot be sent by typed errors", async () => {
    const [a, b] = await pair();
    await expect(a.send(b, activation(1, 0), new Uint8Array((1 << 20) + 1))).rejects.toThrow(FrameError);
    await expect(a.send(b, activation(0, 0), bytes(1))).rejects.toThrow(EpochEndedError);
    await expect(a.transport.send({ id: "stranger", address: b.transport.address }, activation(1, 0), bytes(1))).rejects.toThrow(LinkError);
    expect(() => {
      a.transport.beginEpoch(0, []);
    }).toThrow(MecefoError);
  });

  it("gives up a peer that is not there", async () => {
    const [a, b] = await pair();
    await b.close();
    await expect(a.send(b, activation(1, 0), bytes(1))).rejects.toThrow(/unreachable: no connection to .* within 400 ms/);
    expect(a.failures).toHaveLength(1);
  });

  it("tells of a peer that leaves", async () => {
    const [a, b] = await pair();
    await a.send(b, activation(1, 0), bytes(1));
    await b.send(a, activation(1, 0), bytes(1));
    await a.receive(b, activation(1, 0));
    await b.close();
    await until(() => a.failures.length > 0);
    expect(a.failures).toEqual(["b: left: said goodbye"]);
    await expect(b.send(a, activation(1, 1), bytes(1))).rejects.toThrow(LinkError);
  });

  it("drops a peer that is none in the next epoch", async () => {
    const [a, b] = await pair();
    await a.send(b, activation(1, 0), bytes(1));
    await b.receive(a, activation(1, 0));
    a.beginEpoch(2, []);
    await until(() => b.failures.length > 0);
    await expect(a.send(b, activation(2, 0), bytes(1))).rejects.toThrow(/is no peer in epoch 2/);
    expect(a.failures).toEqual([]);
  });

  it("ends sends of an epoch that is over", async () => {
    const [a, b] = await cluster("a", "b") as [TestNode, TestNode];
    a.beginEpoch(1, [b]);
    // b is in no epoch yet
    const sending = a.send(b, activation(1, 0), bytes(1)).catch((error: unknown) => error);
    a.beginEpoch(2, [b]);
    expect(await sending).toEqual(new EpochEndedError(1));
  });
});
