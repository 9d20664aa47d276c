import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EpochEndedError, LinkError, SettingsError, StateTransferError } from "../errors.ts";
import { Mailbox } from "../transport/mailbox.ts";
import { createMemoryTransport, MemoryHub } from "../transport/memory-transport.ts";
import type { MemoryTransport } from "../transport/memory-transport.ts";
import { ringAllReduce, ringReduceInOrder } from "./ring-all-reduce.ts";

interface Rank {
  readonly transport: MemoryTransport;
  readonly mailbox: Mailbox;
}

function cluster(size: number) {
  const hub = new MemoryHub();
  const ranks: Rank[] = Array.from({ length: size }, (_, i) => {
    const transport = createMemoryTransport({ hub, id: `w${i}`, linkTimeout: 500 });
    return { transport, mailbox: new Mailbox({ transport }) };
  });
  const participants = ranks.map(({ transport }, i) => ({ id: `w${i}`, address: transport.address }));
  const beginEpoch = (epoch: number): void => {
    for (const [i, { transport, mailbox }] of ranks.entries()) {
      mailbox.beginEpoch(epoch);
      transport.beginEpoch(epoch, participants.filter((_, j) => j !== i));
    }
  };
  beginEpoch(1);
  const reduce = (rank: number, buffer: Float32Array, step = 0, epoch = 1, frameBytes = 64): Promise<void> =>
    ringAllReduce(buffer, { ...ranks[rank]!, epoch, step, channel: 3, participants, rank, frameBytes });
  const close = async (): Promise<void> => {
    for (const { mailbox } of ranks) mailbox.close();
    await Promise.all(ranks.map(({ transport }) => transport.close()));
  };
  return { ranks, participants, beginEpoch, reduce, close };
}

describe("ringAllReduce", () => {
  it("gives every rank the bits of ringReduceInOrder, for any length and number of ranks", async () => {
    const buffers = fc.integer({ min: 1, max: 6 }).chain((size) => fc.integer({ min: 0, max: 300 }).chain((length) =>
      fc.array(fc.float32Array({ minLength: length, maxLength: length, noNaN: true }), { minLength: size, maxLength: size })));
    await fc.assert(fc.asyncProperty(buffers, async (summands) => {
      const { reduce, close } = cluster(summands.length);
      const expected = ringReduceInOrder(summands);
      const results = summands.map((buffer) => buffer.slice());
      await Promise.all(results.map((buffer, rank) => reduce(rank, buffer)));
      await close();
      for (const result of results) expect(new Uint8Array(result.buffer)).toEqual(new Uint8Array(expected.buffer));
    }), { numRuns: 60 });
  });

  it("sums in the order that is promised: chunk c begins with rank c", () => {
    // 1 + 2^-24 + 2^-24 is 1 from the left and 1 + 2^-23 from the right.
    const tiny = 2 ** -24;
    const buffers = [[1, 1, 1], [tiny, tiny, tiny], [tiny, tiny, tiny]].map((values) => new Float32Array(values));
    expect([...ringReduceInOrder(buffers)]).toEqual([1, 1 + 2 ** -23, 1]);
  });

  it("runs several times over the same links, and at once for different channels", async () => {
    const { ranks, participants, close } = cluster(3);
    for (let step = 0; step < 3; step++) {
      const jobs = ranks.flatMap((rank, i) => [0, 1].map(async (channel) => {
        const buffer = new Float32Array(50).fill(i + 10 * channel);
        await ringAllReduce(buffer, { ...rank, epoch: 1, step, channel, participants, rank: i, frameBytes: 16 });
        return [...new Set(buffer)];
      }));
      expect(await Promise.all(jobs)).toEqual([[3], [33], [3], [33], [3], [33]]);
    }
    await close();
  });

  it("ends with LinkError when a participant dies, and works again in the next epoch", async () => {
    const { ranks, reduce, beginEpoch, participants, close } = cluster(3);
    await Promise.all([0, 1, 2].map((rank) => reduce(rank, new Float32Array(100))));
    const failing = [0, 1].map((rank) => reduce(rank, new Float32Array(100), 1));
    ranks[2]!.transport.destroy();
    for (const promise of failing) await expect(promise.catch((error: unknown) => {
      // Whoever waits for a live rank that failed itself is freed by the epoch's end.
      throw error;
    }).finally(() => {
      setImmediate(() => {
        beginEpoch(2);
      });
    })).rejects.toSatisfy((error) => error instanceof LinkError || error instanceof EpochEndedError);
    const pair = participants.slice(0, 2);
    const sums = [new Float32Array([1, 2, 3]), new Float32Array([4, 5, 6])];
    const place = { epoch: 2, step: 1, channel: 0, participants: pair };
    await Promise.all(sums.map((buffer, rank) => ringAllReduce(buffer, { ...ranks[rank]!, ...place, rank })));
    expect(sums.map((sum) => [...sum])).toEqual([[5, 7, 9], [5, 7, 9]]);
    await close();
  });

  it("ends with EpochEndedError when the epoch does", async () => {
    const { reduce, beginEpoch, close } = cluster(2);
    const waiting = reduce(0, new Float32Array(10));
    await new Promise((resolve) => setTimeout(resolve, 20));
    beginEpoch(2);
    await expect(waiting).rejects.toThrow(EpochEndedError);
    await close();
  });

  it("refuses buffers of different lengths and wrong ranks", async () => {
    const { reduce, ranks, beginEpoch, close } = cluster(2);
    const results = await Promise.allSettled([reduce(0, new Float32Array(10)), reduce(1, new Float32Array(8))]);
    expect(results.some((result) => result.status === "rejected" && result.reason instanceof StateTransferError)).toBe(true);
    beginEpoch(2);
    await expect(ringAllReduce(new Float32Array(1), { ...ranks[0]!, epoch: 2, step: 0, channel: 0, participants: [], rank: 0 }))
      .rejects.toThrow(SettingsError);
    await close();
  });
});
