import { describe, expect, it } from "vitest";
import { FrameError } from "../../errors.ts";
import { ControlFrameReader, encodeControlFrame, largestControlFrame, largestUnprovenFrame } from "./control-frames.ts";

describe("control frames", () => {
  const messages = [{ kind: "heartbeat" }, { text: "ü€😀".repeat(300) }, [1, 2, { a: null }], "x"];
  const bytes = Buffer.concat(messages.map((message) => encodeControlFrame(message)));

  it("come through in pieces of any size", () => {
    for (const size of [1, 2, 3, 4, 5, 7, 64, 1000, bytes.length]) {
      const reader = new ControlFrameReader();
      const read: unknown[] = [];
      for (let at = 0; at < bytes.length; at += size) read.push(...reader.push(bytes.subarray(at, at + size)));
      expect(read).toEqual(messages);
    }
  });

  it("are refused by their length, before anything is kept for them", () => {
    for (const length of [0, largestUnprovenFrame + 1, 0xffffffff]) {
      const header = Buffer.alloc(4);
      header.writeUInt32BE(length);
      expect(() => [...new ControlFrameReader().push(header)]).toThrow(FrameError);
    }
    const trusting = new ControlFrameReader();
    trusting.limit = largestControlFrame;
    const large = encodeControlFrame("x".repeat(largestControlFrame - 2));
    expect([...trusting.push(large)]).toHaveLength(1);
    expect(() => encodeControlFrame("x".repeat(largestControlFrame - 1))).toThrow(/at most 1048576/);
  });

  it("are refused when they are not JSON", () => {
    const frame = encodeControlFrame({ kind: "heartbeat" });
    frame[4] = 0x5b;
    expect(() => [...new ControlFrameReader().push(frame)]).toThrow(/not JSON/);
  });

  it("take a limit that is raised between two frames of one piece", () => {
    const reader = new ControlFrameReader();
    const piece = Buffer.concat([encodeControlFrame("first"), encodeControlFrame("y".repeat(10_000))]);
    const read: unknown[] = [];
    for (const message of reader.push(piece)) {
      read.push(message);
      reader.limit = largestControlFrame;
    }
    expect(read).toHaveLength(2);
  });
});
