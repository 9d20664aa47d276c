import { afterEach, describe, expect, it } from "vitest";
import { EpochEndedError, LinkError, StateTransferError } from "../errors.ts";
import { createMemoryTransport, MemoryHub } from "../transport/memory-transport.ts";
import { testNode, until, type TestNode } from "../transport/transport.testing.ts";
import type { MessageTag } from "../transport/transport.ts";
import { encodeState, STATE_CHUNK_BYTES, type EncodedState } from "./state-encoding.ts";
import type { StageReplica } from "./stage-replica.ts";
import type { StageState } from "./stage-state.ts";
import { fetchState, PartialState, StateDonor, type StateWish } from "./state-transfer.ts";
import { tinyReplica, update } from "./state.testing.ts";

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** The first node fetches; the others are there to give. */
function nodes(count: number): TestNode[] {
  const hub = new MemoryHub();
  const made = Array.from({ length: count }, (_, i) => testNode(`n${i}`, createMemoryTransport({ hub, id: `n${i}`, linkTimeout: 300 })));
  ends.push(...made.map((node) => () => node.close()));
  begin(made, 1);
  return made;
}

function begin(all: readonly TestNode[], epoch: number): void {
  for (const node of all) node.beginEpoch(epoch, all.filter((other) => other !== node));
}

/** A replica's stand-in with a state of several chunks. */
function bigReplica(step = 3, change: (state: StageState) => void = () => {}): { replica: StageReplica; encoded: EncodedState } {
  const size = Math.ceil((2.5 * STATE_CHUNK_BYTES) / 12);
  const state: StageState = {
    stage: 1, step, parameters: [{
      name: "w", shape: [size], steps: 2, weight: Float32Array.from({ length: size }, (_, i) => i), firstMoment: new Float32Array(size).fill(2),
      secondMoment: Float32Array.from({ length: size }, (_, i) => -i),
    }],
  };
  change(state);
  return { replica: { step, state: async () => await Promise.resolve(state) } as unknown as StageReplica, encoded: encodeState(state) };
}

function donate({ transport, mailbox, peer }: TestNode, all: readonly TestNode[], epoch: number, replica: StageReplica | undefined): StateDonor {
  const donor = new StateDonor({ transport, mailbox }, (stage) => (stage === 1 ? replica : undefined));
  donor.beginEpoch(epoch, all.map((node) => node.peer).filter(({ id }) => id !== peer.id));
  return donor;
}

/** By checksum: comparing millions of numbers one by one takes seconds. */
function expectSame(state: StageState, encoded: EncodedState): void {
  expect(encodeState(state).header).toEqual(encoded.header);
}

const total = (received: ReadonlyMap<string, number>): number => [...received.values()].reduce((sum, bytes) => sum + bytes, 0);
const chunkOf = ({ bytes }: EncodedState, chunk: number): Uint8Array => bytes.slice(chunk * STATE_CHUNK_BYTES, (chunk + 1) * STATE_CHUNK_BYTES);

const wish = (donors: readonly TestNode[], { encoded, ...more }: Partial<StateWish> & { encoded: EncodedState }): StateWish => ({
  stage: 1, epoch: 1, step: 3, byteLength: encoded.header.byteLength, donors: donors.map(({ peer }) => peer), stall: 2000,
  partial: new PartialState(), ...more,
});

const tag = (kind: "state" | "stateRequest", sequence: number, epoch = 1): MessageTag => ({ kind, epoch, step: 3, channel: 1, sequence });

describe("fetchState", () => {
  it("makes a replica another's equal", async () => {
    const [receiver, giver] = nodes(2) as [TestNode, TestNode];
    const [donor, replica] = [tinyReplica(1), tinyReplica(1)];
    ends.push(() => donor.dispose(), () => replica.dispose());
    for (let i = 0; i < 3; i++) update(donor, i);
    donate(giver, [receiver, giver], 1, donor);
    const { state, received } = await fetchState(receiver, wish([giver], { encoded: encodeState(await donor.state()) }));
    replica.load(state);
    expect(await replica.hash()).toBe(await donor.hash());
    expect(total(received)).toBeGreaterThan(encodeState(state).bytes.byteLength);
  });

  it.each([1, 2, 3, 4])("takes its chunks from %i donors, each once", async (count) => {
    const [receiver, ...givers] = nodes(count + 1) as [TestNode, ...TestNode[]];
    const { replica, encoded } = bigReplica();
    for (const giver of givers) donate(giver, [receiver, ...givers], 1, replica);
    const { state, received } = await fetchState(receiver, wish(givers, { encoded }));
    expectSame(state, encoded);
    expect([...received.keys()]).toEqual(givers.map((_, i) => `n${i + 1}`));
    expect(Math.min(...received.values())).toBeGreaterThan(0);
    expect(total(received)).toBeGreaterThan(encoded.bytes.byteLength);
    const sent = givers.map(({ transport }) => transport.statistics().messagesSent);
    // A description from each, and three chunks together.
    expect(sent.reduce((sum, messages) => sum + messages, 0)).toBe(count + 3);
    expect(Math.max(...sent) - Math.min(...sent)).toBeLessThanOrEqual(1);
  });

  it("goes on where it was when it broke, with another donor under another epoch", async () => {
    const all = nodes(3);
    const [receiver, first, second] = all as [TestNode, TestNode, TestNode];
    const { replica, encoded } = bigReplica();
    const partial = new PartialState();
    // The first donor gives its description and two chunks, and is heard of no more.
    first.mailbox.handle("stateRequest", ({ from }) => {
      void (async () => {
        await first.send(receiver, tag("state", 0), new TextEncoder().encode(JSON.stringify(encoded.header)));
        for (const chunk of [0, 1]) await first.send(receiver, tag("state", chunk + 1), chunkOf(encoded, chunk));
        expect(from).toBe("n0");
      })();
    });
    const failing = fetchState(receiver, wish([first], { encoded, partial, stall: 60_000 }));
    const ended = failing.catch((error: unknown) => error);
    await until(() => partial.chunks.size === 2);
    begin(all, 2);
    expect(await ended).toBeInstanceOf(EpochEndedError);
    donate(second, all, 2, replica);
    const { state, received } = await fetchState(receiver, wish([second], { encoded, partial, epoch: 2 }));
    expectSame(state, encoded);
    expect(total(received)).toBeLessThan(encoded.bytes.byteLength - 2 * STATE_CHUNK_BYTES + 1000);
    expect(second.transport.statistics().messagesSent).toBe(1 + 1);
  });

  it("begins anew for a later step", async () => {
    const [receiver, giver] = nodes(2) as [TestNode, TestNode];
    const { replica, encoded } = bigReplica(3, ({ parameters }) => parameters[0]!.weight.fill(7));
    const old = bigReplica(2).encoded;
    const partial = new PartialState();
    partial.begin(old.header, { stage: 1, step: 2, byteLength: old.header.byteLength }).set(old.bytes);
    donate(giver, [receiver, giver], 1, replica);
    const { state } = await fetchState(receiver, wish([giver], { encoded, partial }));
    expectSame(state, encoded);
  });

  it("names a donor that has another step, or not the stage at all", async () => {
    const [receiver, giver] = nodes(2) as [TestNode, TestNode];
    const { replica, encoded } = bigReplica(4);
    donate(giver, [receiver, giver], 1, replica);
    await expect(fetchState(receiver, wish([giver], { encoded }))).rejects.toMatchObject({
      name: "StateTransferError", peer: "n1", message: "stage 1: n1 does not hold step 3 of it",
    });
    await expect(fetchState(receiver, wish([giver], { encoded, stage: 0 }))).rejects.toThrow(/stage 0: n1 does not hold/);
  });

  it("gives up a donor that stalls, and an epoch that ends while a donor cannot be reached", async () => {
    const [receiver, giver, gone] = nodes(3) as [TestNode, TestNode, TestNode];
    const { encoded } = bigReplica();
    giver.mailbox.handle("stateRequest", () => {});
    await expect(fetchState(receiver, wish([giver], { encoded, stall: 30 }))).rejects.toMatchObject({
      peer: "n1", message: "stage 1: n1 has sent nothing for 30 ms",
    });
    await gone.close();
    await expect(fetchState(receiver, wish([gone], { encoded }))).rejects.toThrow(LinkError);
    receiver.mailbox.endEpoch(1);
    await expect(fetchState(receiver, wish([giver], { encoded }))).rejects.toThrow(EpochEndedError);
  });

  it("refuses changed bytes, and gets whole ones by the next attempt", async () => {
    const [receiver, giver] = nodes(2) as [TestNode, TestNode];
    const { replica, encoded } = bigReplica();
    const partial = new PartialState();
    const bytes = partial.begin(encoded.header, { stage: 1, step: 3, byteLength: encoded.header.byteLength });
    bytes.set(encoded.bytes);
    bytes[5_000_000]! ^= 1;
    for (let chunk = 0; chunk < 2; chunk++) partial.chunks.add(chunk);
    donate(giver, [receiver, giver], 1, replica);
    await expect(fetchState(receiver, wish([giver], { encoded, partial }))).rejects.toThrow(/checksum/);
    // Epochs go on.
    begin([receiver, giver], 2);
    donate(giver, [receiver, giver], 2, replica);
    const { state } = await fetchState(receiver, wish([giver], { encoded, partial, epoch: 2 }));
    expectSame(state, encoded);
  });

  it("refuses donors whose states differ, and believes neither", async () => {
    const [receiver, ...givers] = nodes(3) as [TestNode, ...TestNode[]];
    const { replica, encoded } = bigReplica();
    const other = bigReplica(3, ({ parameters }) => parameters[0]!.weight.fill(1));
    const partial = new PartialState();
    donate(givers[0]!, [receiver, ...givers], 1, replica);
    donate(givers[1]!, [receiver, ...givers], 1, other.replica);
    await expect(fetchState(receiver, wish(givers, { encoded, partial }))).rejects.toThrow(/two donors have different states of step 3/);
    expect(partial.header).toBeUndefined();
  });

  it.each([
    ["no JSON", (header: object) => `${JSON.stringify(header)}}`],
    ["another length", (header: object) => JSON.stringify({ ...header, byteLength: 2 ** 40 })],
    ["another stage", (header: object) => JSON.stringify({ ...header, stage: 0 })],
    ["a negative step", (header: object) => JSON.stringify({ ...header, step: -3 })],
    ["shapes that do not fit", (header: object) => JSON.stringify({ ...header, parameters: [{ name: "w", shape: [1e9, 1e9], steps: 1 }] })],
  ])("refuses a hostile description: %s", async (_, describeState) => {
    const [receiver, giver] = nodes(2) as [TestNode, TestNode];
    const { encoded } = bigReplica();
    giver.mailbox.handle("stateRequest", () => {
      void (async () => {
        await giver.send(receiver, tag("state", 0), new TextEncoder().encode(describeState(encoded.header)));
        for (let chunk = 0; chunk < 3; chunk++) {
          await giver.send(receiver, tag("state", chunk + 1), chunkOf(encoded, chunk));
        }
      })().catch(() => {});
    });
    await expect(fetchState(receiver, wish([giver], { encoded }))).rejects.toThrow(StateTransferError);
  });

  it("refuses chunks of another length", async () => {
    const [receiver, giver] = nodes(2) as [TestNode, TestNode];
    const { encoded } = bigReplica();
    giver.mailbox.handle("stateRequest", () => {
      void (async () => {
        await giver.send(receiver, tag("state", 0), new TextEncoder().encode(JSON.stringify(encoded.header)));
        await giver.send(receiver, tag("state", 1), new Uint8Array(100));
      })().catch(() => {});
    });
    await expect(fetchState(receiver, wish([giver], { encoded }))).rejects.toThrow(/chunk 0 of n1 has 100 bytes/);
  });
});

describe("StateDonor", () => {
  it("leaves requests that are none, of strangers' epochs or malformed, without an answer", async () => {
    const all = nodes(2);
    const [receiver, giver] = all as [TestNode, TestNode];
    const { replica, encoded } = bigReplica();
    donate(giver, all, 1, replica);
    const requests = [
      "", "{", "[]", '{"first":0,"of":0,"have":[]}', '{"first":-1,"of":1,"have":[]}', `{"first":0,"of":1,"have":["${"x".repeat(999)}"]}`,
    ];
    for (const [i, text] of requests.entries()) {
      await receiver.send(giver, tag("stateRequest", i), new TextEncoder().encode(text));
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(giver.transport.statistics().messagesSent).toBe(0);
    const { state } = await fetchState(receiver, wish([giver], { encoded }));
    expectSame(state, encoded);
  });
});
