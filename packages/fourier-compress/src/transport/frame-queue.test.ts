import { describe, expect, it } from "vitest";
import { ConnectionError } from "../errors.ts";
import { FrameQueue } from "./frame-queue.ts";
import { connectionPair } from "./in-process.ts";

const bytes = (count: number): Uint8Array => new Uint8Array(count);

describe("FrameQueue", () => {
  it("hands out in order, counts what waits, and tells of what was taken", async () => {
    let taken = 0;
    const queue = new FrameQueue(() => taken++);
    queue.push(bytes(3));
    queue.push(bytes(5));
    expect(queue.bytes).toBe(8);
    expect((await queue.receive())?.length).toBe(3);
    expect([queue.bytes, taken]).toEqual([5, 1]);
    expect((await queue.receive())?.length).toBe(5);
    const waiting = queue.receive();
    queue.push(bytes(7));
    expect((await waiting)?.length).toBe(7);
    expect([queue.bytes, taken]).toEqual([0, 2]);
  });

  it("gives what waits before its end, then the end every time", async () => {
    const queue = new FrameQueue();
    queue.push(bytes(1));
    queue.end(new ConnectionError("cut"));
    queue.end();
    queue.push(bytes(2));
    expect((await queue.receive())?.length).toBe(1);
    await expect(queue.receive()).rejects.toThrow(/cut/);
    await expect(queue.receive()).rejects.toThrow(/cut/);
  });

  it("forgets what waits, and its error, when it is discarded", async () => {
    const queue = new FrameQueue();
    queue.push(bytes(1));
    queue.end(new ConnectionError("cut"));
    queue.discard();
    expect(queue.bytes).toBe(0);
    expect(await queue.receive()).toBeUndefined();
  });

  it("refuses a second receiver", async () => {
    const queue = new FrameQueue();
    const first = queue.receive();
    await expect(queue.receive()).rejects.toThrow(/called again/);
    queue.push(bytes(1));
    expect((await first)?.length).toBe(1);
  });
});

describe("connectionPair", () => {
  it("holds no more than its mark and one frame", async () => {
    const [near, far] = connectionPair({ highWaterMark: 100 });
    let sent = 0;
    const sending = (async () => {
      for (; sent < 10; sent++) await near.send(bytes(60));
    })();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(sent).toBe(1);
    await far.receive();
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(sent).toBe(2);
    for (let rest = 0; rest < 9; rest++) await far.receive();
    await sending;
  });

  it("lets go of those who wait when either end closes", async () => {
    for (const closer of [0, 1]) {
      const pair = connectionPair({ highWaterMark: 10 });
      const sending = Promise.all([1, 2].map(() => expect(pair[0].send(bytes(60))).rejects.toThrow(ConnectionError)));
      pair[closer]!.close();
      await sending;
    }
  });
});
