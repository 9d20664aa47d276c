import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameError } from "../errors.ts";
import { BufferPool, sizeClass } from "./buffer-pool.ts";
import { controlKinds, encodeControlFrame, encodeHeader, encodeMessageHeader, headerBytes, parseHeader } from "./frame.ts";
import { CountingPool, forge, frameOf, fuzz, readAll } from "./frame.testing.ts";
import { messageKinds } from "./transport.ts";
import type { MessageKind } from "./transport.ts";

const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const kind = fc.constantFrom(...(Object.keys(messageKinds) as MessageKind[]));
const tags = fc.record({ kind, epoch: uint32, step: uint32, channel: uint32, sequence: uint32 });
const messages = fc.array(fc.tuple(tags, fc.uint8Array({ maxLength: 200 })), { maxLength: 12 });

describe("frames", () => {
  it("come out of a stream as they went in, however it is cut", () => {
    fc.assert(fc.property(messages, fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 20 }), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(([tag, payload]) => frameOf(tag, payload)));
      const chunks: Uint8Array[] = [];
      for (let offset = 0, i = 0; offset < stream.byteLength; i++) {
        const length = cuts[i % cuts.length]!;
        chunks.push(stream.subarray(offset, offset + length));
        offset += length;
      }
      const { frames, reader } = readAll(chunks);
      expect(reader.midFrame).toBe(false);
      expect(frames.map(({ header: { payloadBytes: _bytes, checksum: _checksum, ...tag }, payload }) => [tag, [...payload]]))
        .toEqual(sent.map(([tag, payload]) => [tag, [...payload]]));
    }), { numRuns: 300 });
  });

  it("have headers that parse to what was encoded", () => {
    fc.assert(fc.property(tags, fc.integer({ min: 0, max: 1024 }), uint32, (tag, payloadBytes, checksum) => {
      expect(parseHeader(encodeHeader({ ...tag, payloadBytes, checksum }), 1024)).toEqual({ ...tag, payloadBytes, checksum });
    }));
  });

  it("name what is wrong with them", () => {
    const good = frameOf({ kind: "activation", epoch: 7, step: 8, channel: 9, sequence: 10 }, new Uint8Array([1, 2, 3]));
    const damaged = good.slice();
    damaged[headerBytes + 1]! ^= 4;
    expect(() => readAll([damaged])).toThrow("checksum mismatch in activation frame (epoch 7, step 8, channel 9, sequence 10)");
    const header = good.slice();
    header[9]! ^= 1;
    expect(() => readAll([header])).toThrow("checksum mismatch in a frame's header");
    const request = Buffer.from("GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    expect(() => readAll([request])).toThrow(/no frame: begins with 0x20544547/);
    expect(() => parseHeader(new Uint8Array(3))).toThrow("3 bytes are no header, which has 40");
    expect(() => parseHeader(forge((view) => { view.setUint8(4, 9); }))).toThrow("frame of version 9; this is version 1");
    expect(() => parseHeader(forge((view) => { view.setUint8(5, 99); }))).toThrow("frame of unknown kind 99");
    expect(() => parseHeader(forge((view) => { view.setUint16(6, 1, true); }))).toThrow("state frame with unknown flags");
    expect(() => parseHeader(forge((view) => { view.setUint32(24, 2 ** 31, true); })))
      .toThrow("state frame of 2147483648 bytes, over the limit of 67108864");
    for (const number of [-1, 0.5, 2 ** 32, Number.NaN]) {
      const tag = { kind: "state", epoch: number, step: 0, channel: 0, sequence: 0 } as const;
      expect(() => encodeMessageHeader(tag, new Uint8Array(0))).toThrow(FrameError);
    }
  });

  it("reserve no memory for a length over the limit", () => {
    const pool = new CountingPool();
    expect(() => readAll([forge((view) => { view.setUint32(24, 1025, true); })], 1024, pool)).toThrow(FrameError);
    expect(pool.largest).toBe(0);
  });

  it("survive hostile streams: every one is read or refused by FrameError, within bounds", () => {
    const { refused, read, largest } = fuzz(20_000, 1);
    expect(largest).toBeLessThanOrEqual(64);
    // The mix has to reach both ends.
    expect(refused).toBeGreaterThan(2000);
    expect(read).toBeGreaterThan(2000);
  });

  it("have control kinds apart from message kinds", () => {
    const numbers = [...Object.values(messageKinds), ...Object.values(controlKinds)];
    expect(new Set(numbers).size).toBe(numbers.length);
    const { frames } = readAll([encodeControlFrame("bye", 3, new Uint8Array([1]))]);
    expect(frames[0]!.header).toMatchObject({ kind: "bye", epoch: 3, payloadBytes: 1 });
  });
});

describe("BufferPool", () => {
  it("gives memory out again by size class", () => {
    const pool = new BufferPool();
    const first = pool.take(5000);
    expect(first.byteLength).toBe(5000);
    pool.give(first.buffer);
    expect(pool.freeBytes).toBe(5120);
    expect(pool.take(5100).buffer).toBe(first.buffer);
    expect(pool.freeBytes).toBe(0);
  });

  it("wastes at most a fifth, and has classes that are their own class", () => {
    fc.assert(fc.property(fc.integer({ min: 4096, max: 2 ** 30 }), (bytes) => {
      const size = sizeClass(bytes);
      expect(size).toBeGreaterThanOrEqual(bytes);
      expect(bytes).toBeGreaterThanOrEqual(size * 0.8 - 1);
      expect(sizeClass(size)).toBe(size);
    }));
  });

  it("keeps no more than it was told, and nothing that went to another thread", () => {
    const pool = new BufferPool(10_000);
    for (let i = 0; i < 3; i++) pool.give(new ArrayBuffer(4096));
    expect(pool.freeBytes).toBe(8192);
    pool.give(structuredClone(new ArrayBuffer(0)));
    pool.give(new ArrayBuffer(4097));
    expect(pool.freeBytes).toBe(8192);
  });
});
