import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConnectionError } from "../errors.ts";
import { decodeFrame } from "../wire/frame.ts";
import type { Connection } from "./connection.ts";
import { ConnectionTrap, numberedFrame, transportKinds } from "./transports.testing.ts";

const MEBIBYTE = 1 << 20;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

const sizeOf = (sequence: number): number => (sequence % 7 === 0 ? 40_000 : sequence % 5);

/** Sends `count` frames of a mebibyte to a reader that takes one every 5 ms; the most bytes that were sent and not read yet. */
async function mostOutstanding(from: Connection, to: Connection, count: number): Promise<number> {
  const frame = numberedFrame(1, MEBIBYTE);
  let sent = 0;
  let received = 0;
  let most = 0;
  const sending = (async () => {
    for (; sent < count; sent++) {
      await from.send(frame);
      most = Math.max(most, sent + 1 - received);
    }
  })();
  const receiving = (async () => {
    for (; received < count; received++) {
      await pause(5);
      expect((await to.receive())?.length).toBe(frame.length);
    }
  })();
  await Promise.all([sending, receiving]);
  return most * frame.length;
}

describe.each(transportKinds)("$name", (kind) => {
  let trap: ConnectionTrap;
  let running: Awaited<ReturnType<typeof kind.start>>;
  let client: Connection;
  let server: Connection;

  beforeEach(async () => {
    trap = new ConnectionTrap();
    running = await kind.start(trap);
    [client, server] = await Promise.all([running.transport(), trap.next()]);
  });

  afterEach(async () => {
    trap.releaseAll();
    client.close();
    await running.stop();
  });

  it("carries frames both ways in order", async () => {
    const echo = (async () => {
      for (let frame = await server.receive(); frame !== undefined; frame = await server.receive()) await server.send(frame);
    })();
    const sending = (async () => {
      for (let sequence = 1; sequence <= 300; sequence++) await client.send(numberedFrame(sequence, sizeOf(sequence)));
    })();
    for (let sequence = 1; sequence <= 300; sequence++) {
      const frame = decodeFrame((await client.receive())!);
      expect(frame.sequence).toBe(sequence);
      expect(frame.payload.length).toBe(sizeOf(sequence));
    }
    await sending;
    client.close();
    await echo;
    expect(client.peer).not.toBe("");
    expect(server.peer).not.toContain("ffff");
  });

  it("carries frames of 16 MiB", async () => {
    const frame = numberedFrame(3, 16 * MEBIBYTE);
    const [, atServer] = await Promise.all([client.send(frame), server.receive()]);
    expect(Buffer.compare(atServer!, frame)).toBe(0);
    const [, atClient] = await Promise.all([server.send(atServer!), client.receive()]);
    expect(Buffer.compare(atClient!, frame)).toBe(0);
  });

  it("ends at the server when the client closes", async () => {
    await client.send(numberedFrame(1));
    expect(await server.receive()).toBeDefined();
    const waiting = server.receive();
    client.close("done");
    client.close();
    expect(await waiting).toBeUndefined();
    expect(await client.receive()).toBeUndefined();
    await expect(client.send(numberedFrame(2))).rejects.toThrow(ConnectionError);
  });

  it("delivers what the server sent before it closed, then the end", async () => {
    for (let sequence = 1; sequence <= 20; sequence++) await server.send(numberedFrame(sequence));
    server.close("enough");
    for (let sequence = 1; sequence <= 20; sequence++) expect(decodeFrame((await client.receive())!).sequence).toBe(sequence);
    expect(await client.receive()).toBeUndefined();
    await expect(server.send(numberedFrame(21))).rejects.toThrow(ConnectionError);
  });

  it("answers a receive that waits when its own end closes", async () => {
    const waiting = client.receive();
    client.close();
    expect(await waiting).toBeUndefined();
    const atServer = server.receive();
    server.close();
    expect(await atServer).toBeUndefined();
  });

  it("holds a fast client back for a slow server", async () => {
    const most = await mostOutstanding(client, server, 96);
    // A mebibyte waits at each end, the rest is in the buffers of the kernel, or the window of the stream.
    expect(most).toBeLessThan(24 * MEBIBYTE);
  });

  it.runIf(kind.clientPauses)("holds a fast server back for a slow client", async () => {
    const most = await mostOutstanding(server, client, 96);
    expect(most).toBeLessThan(24 * MEBIBYTE);
  });

  it("is not held up for good by a reader that goes away", async () => {
    const frame = numberedFrame(1, MEBIBYTE);
    const sending = (async () => {
      for (;;) await client.send(frame);
    })();
    const leaving = (async () => {
      await server.receive();
      await pause(50);
      server.close();
    })();
    await Promise.all([expect(sending).rejects.toThrow(ConnectionError), leaving]);
  });

  it("does not connect with a signal that has aborted", async () => {
    await expect(running.transport({ signal: AbortSignal.abort(new Error("no more")) })).rejects.toThrow(/aborted/);
    expect(trap.accepted).toHaveLength(0);
  });
});
