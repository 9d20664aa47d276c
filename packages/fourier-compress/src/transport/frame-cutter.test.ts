import { describe, expect, it } from "vitest";
import { FrameError } from "../errors.ts";
import { FRAME_HEADER_BYTES } from "../wire/frame.ts";
import { FrameCutter } from "./frame-cutter.ts";
import { numberedFrame } from "./transports.testing.ts";

const sizes = [0, 1, 100, 0, 5000, 3];
const frames = sizes.map((size, index) => numberedFrame(index, size));
const stream = Buffer.concat(frames);

describe("FrameCutter", () => {
  it.each([1, 2, 43, 44, 45, 88, 100, 4096, stream.length])("cuts a stream in pieces of %d bytes", (size) => {
    const cutter = new FrameCutter({ payloadBytes: 5000 });
    const came: Uint8Array[] = [];
    for (let offset = 0; offset < stream.length; offset += size) {
      cutter.push(stream.subarray(offset, offset + size), (frame) => came.push(frame));
    }
    expect(came.map((frame) => Buffer.from(frame).toString("hex"))).toEqual(frames.map((frame) => Buffer.from(frame).toString("hex")));
    expect(cutter.heldBytes).toBe(0);
  });

  it("hands out copies, so that a small frame keeps no large chunk", () => {
    const chunk = new Uint8Array(stream);
    const came: Uint8Array[] = [];
    new FrameCutter({ payloadBytes: 5000 }).push(chunk, (frame) => came.push(frame));
    for (const frame of came) expect(frame.buffer.byteLength).toBe(frame.length);
    chunk.fill(0);
    expect(came[0]![0]).toBe(0x46);
  });

  it("refuses a payload above the limit as soon as its header is there, after the frames before it", () => {
    const cutter = new FrameCutter({ payloadBytes: 4999 });
    const came: Uint8Array[] = [];
    const upTo = frames.slice(0, 4).reduce((total, frame) => total + frame.length, 0) + FRAME_HEADER_BYTES;
    cutter.push(stream.subarray(0, upTo - 1), (frame) => came.push(frame));
    expect(() => cutter.push(stream.subarray(upTo - 1, upTo), (frame) => came.push(frame))).toThrow(FrameError);
    expect(came).toHaveLength(4);
  });

  it("holds what has come, not what was announced", () => {
    const cutter = new FrameCutter({ payloadBytes: 1 << 26 });
    const header = numberedFrame(1, 1 << 20).subarray(0, FRAME_HEADER_BYTES + 10);
    new DataView(header.buffer).setUint32(36, 1 << 26, true);
    const before = process.memoryUsage().arrayBuffers;
    cutter.push(header, () => {});
    expect(cutter.heldBytes).toBe(header.length);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });
});
