import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConnectionError, FrameError, SettingsError } from "../errors.ts";
import { decodeFrame, encodeFrame, makeFrame } from "../wire/frame.ts";
import type { Connection } from "./connection.ts";
import { dataChannelConnection, dataChannelTransport } from "./data-channel.ts";

const MEBIBYTE = 1 << 20;
const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

function frameOf(sequence: number, bytes: number): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(bytes);
  for (let index = 0; index < bytes; index += 997) payload[index] = (index * 31 + sequence) & 0xff;
  return encodeFrame(makeFrame("activation", { sequence, payload }));
}

/** Two ends of a channel between two peer connections of this page. */
async function channelPair(settings: RTCDataChannelInit = {}): Promise<{ near: RTCDataChannel; far: RTCDataChannel; end(): void }> {
  const [caller, callee] = [new RTCPeerConnection(), new RTCPeerConnection()];
  caller.addEventListener("icecandidate", ({ candidate }) => void callee.addIceCandidate(candidate ?? undefined));
  callee.addEventListener("icecandidate", ({ candidate }) => void caller.addIceCandidate(candidate ?? undefined));
  const far = new Promise<RTCDataChannel>((resolve) => callee.addEventListener("datachannel", ({ channel }) => resolve(channel)));
  const near = caller.createDataChannel("split", settings);
  await caller.setLocalDescription();
  await callee.setRemoteDescription(caller.localDescription!);
  await callee.setLocalDescription();
  await caller.setRemoteDescription(callee.localDescription!);
  return {
    near,
    far: await far,
    end() {
      caller.close();
      callee.close();
    },
  };
}

describe("WebRTC data channels", () => {
  let channels: Awaited<ReturnType<typeof channelPair>>;
  let client: Connection;
  let server: Connection;

  beforeEach(async () => {
    channels = await channelPair();
    server = dataChannelConnection(channels.far);
    client = await dataChannelTransport(channels.near)();
  });

  afterEach(() => channels.end());

  it("carry frames both ways in order, small ones and ones of many pieces", async () => {
    const echo = (async () => {
      for (let frame = await server.receive(); frame !== undefined; frame = await server.receive()) await server.send(frame);
    })();
    const sizeOf = (sequence: number): number => [0, 5, 16_340, 16_384, 40_000][sequence % 5]!;
    // Not awaited one by one: pieces of different frames must not mix.
    const sending = Promise.all(Array.from({ length: 100 }, (_, index) => client.send(frameOf(index + 1, sizeOf(index + 1)))));
    for (let sequence = 1; sequence <= 100; sequence++) {
      const frame = decodeFrame((await client.receive())!);
      expect([frame.sequence, frame.payload.length]).toEqual([sequence, sizeOf(sequence)]);
    }
    await sending;
    client.close();
    await echo;
    await expect(client.send(frameOf(1, 1))).rejects.toThrow(ConnectionError);
  });

  it("carry a frame of 16 MiB, holding its sender back", async () => {
    const frame = frameOf(9, 16 * MEBIBYTE);
    let highest = 0;
    const watch = setInterval(() => (highest = Math.max(highest, channels.near.bufferedAmount)), 1);
    const [, received] = await Promise.all([client.send(frame), server.receive()]);
    clearInterval(watch);
    expect(received!.every((byte, index) => byte === frame[index])).toBe(true);
    expect(highest).toBeGreaterThan(0);
    expect(highest).toBeLessThan(2 * MEBIBYTE);
  });

  it("fail with a clear error when frames pile up that nobody asks for", async () => {
    const other = await channelPair();
    const slow = dataChannelConnection(other.far, { receiveBytes: 2 * MEBIBYTE });
    const fast = dataChannelConnection(other.near);
    while (other.near.readyState !== "open") await pause(5);
    const sending = (async () => {
      for (;;) await fast.send(frameOf(1, MEBIBYTE));
    })();
    await expect(sending).rejects.toThrow(ConnectionError);
    const drain = async (): Promise<void> => {
      while ((await slow.receive()) !== undefined);
    };
    await expect(drain()).rejects.toThrow(/bytes of frames wait to be received, more than 2097152, and data channels cannot be paused/);
    other.end();
  });

  it("refuse what is no frame, and text", async () => {
    channels.near.send(new Uint8Array(64));
    await expect(server.receive()).rejects.toThrow(FrameError);
    const other = await channelPair();
    const reading = dataChannelConnection(other.far);
    while (other.near.readyState !== "open") await pause(5);
    other.near.send("hello");
    await expect(reading.receive()).rejects.toThrow(/a text message/);
    other.end();
  });

  it("end when the other end does", async () => {
    await server.send(frameOf(1, 10));
    server.close();
    expect(await client.receive()).toBeDefined();
    expect(await client.receive()).toBeUndefined();
  });

  it("refuse a channel that may lose messages", async () => {
    const other = await channelPair({ maxRetransmits: 0 });
    expect(() => dataChannelConnection(other.near)).toThrow(SettingsError);
    other.end();
  });

  it("connect a single channel once", async () => {
    const transport = dataChannelTransport(channels.near);
    await transport();
    await expect(transport()).rejects.toThrow(/was used before/);
  });
});
