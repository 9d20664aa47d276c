import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FrameError } from "../errors.ts";
import { crc32c } from "./crc32c.ts";
import {
  decodeFrame, DEFAULT_FRAME_LIMITS, encodeFrame, FRAME_DTYPES, FRAME_HEADER_BYTES, FRAME_TYPES, LONGEST_CONTROL_BYTES, makeFrame,
  payloadLength, type Frame, type FrameDtype, type FrameType,
} from "./frame.ts";
import { goldenFrames } from "./golden-frames.testing.ts";

/** The bytes of a frame with some changed, and the checksum made right again. */
function forged(frame: Frame, change: (view: DataView) => void): Uint8Array {
  const bytes = encodeFrame(frame);
  const view = new DataView(bytes.buffer);
  change(view);
  view.setUint32(40, crc32c(bytes.subarray(FRAME_HEADER_BYTES), crc32c(bytes.subarray(0, 40))), true);
  return bytes;
}

const activation = makeFrame("activation", { sequence: 1, tokens: 1, hiddenSize: 4, payload: new Uint8Array([1, 2, 3]) });

describe("golden frames", () => {
  it("hold every kind and every dtype of payload in use", () => {
    expect(new Set(goldenFrames.map(({ frame }) => frame.type))).toEqual(new Set(Object.keys(FRAME_TYPES)));
  });

  it.each(goldenFrames)("$frame.type is $header", ({ frame, header, payload }) => {
    const bytes = encodeFrame(frame);
    expect(Buffer.from(bytes).toString("hex")).toBe(header + payload);
    expect(header).toHaveLength(2 * FRAME_HEADER_BYTES);
    expect(decodeFrame(new Uint8Array(Buffer.from(header + payload, "hex")))).toEqual(frame);
  });
});

describe("frames", () => {
  const most = DEFAULT_FRAME_LIMITS;
  const frames = fc.record({
    type: fc.constantFrom(...(Object.keys(FRAME_TYPES) as FrameType[])),
    flags: fc.nat(7),
    session: fc.nat(0xffff_ffff),
    sequence: fc.nat(0xffff_ffff),
    position: fc.nat(most.position),
    tokens: fc.nat(most.tokens),
    hiddenSize: fc.nat(most.hiddenSize),
    block: fc.nat(most.block),
    codec: fc.nat(255),
    dtype: fc.constantFrom(...(Object.keys(FRAME_DTYPES) as FrameDtype[])),
    table: fc.nat(0xffff_ffff),
    payload: fc.uint8Array({ maxLength: 300 }),
  });

  it("come back as they were", () => {
    fc.assert(
      fc.property(frames, fc.nat(9), (frame, offset) => {
        const bytes = encodeFrame(frame);
        const elsewhere = new Uint8Array(bytes.length + 20).subarray(offset, offset + bytes.length);
        elsewhere.set(bytes);
        expect(payloadLength(elsewhere)).toBe(frame.payload.length);
        expect(decodeFrame(elsewhere)).toEqual(frame);
      }),
    );
  });

  it("are refused with any bit flipped, any byte missing and any byte more", () => {
    fc.assert(
      fc.property(frames, fc.nat(), (frame, at) => {
        const bytes = encodeFrame(frame);
        const flipped = bytes.slice();
        flipped[(at >>> 3) % bytes.length]! ^= 1 << (at & 7);
        expect(() => decodeFrame(flipped)).toThrow(FrameError);
        expect(() => decodeFrame(bytes.subarray(0, at % bytes.length))).toThrow(FrameError);
        expect(() => decodeFrame(new Uint8Array([...bytes, 0]))).toThrow(FrameError);
      }),
    );
  });

  it.each<[string, Partial<Omit<Frame, "type">>, RegExp]>([
    ["a negative session", { session: -1 }, /session -1/],
    ["a sequence of 33 bits", { sequence: 2 ** 32 }, /sequence 4294967296/],
    ["a position that is no integer", { position: 1.5 }, /position 1.5/],
    ["a block of 17 bits", { block: 65536 }, /block 65536/],
    ["a codec of 9 bits", { codec: 256 }, /codec 256/],
    ["a count that is no number", { tokens: Number.NaN }, /tokens NaN/],
  ])("are not made with %s", (_, fields, message) => {
    expect(() => encodeFrame(makeFrame("activation", fields))).toThrow(message);
  });

  it.each<[string, (view: DataView) => void, RegExp]>([
    ["another magic", (view) => view.setUint32(0, 0x0a0d_0a0d, true), /no frame begins with 0x0a0d0a0d/],
    ["version 0", (view) => view.setUint8(4, 0), /protocol version 0; this end speaks 1/],
    ["version 2", (view) => view.setUint8(4, 2), /protocol version 2/],
    ["type 0", (view) => view.setUint8(5, 0), /unknown frame type 0/],
    ["type 12", (view) => view.setUint8(5, 12), /unknown frame type 12/],
    ["type 255", (view) => view.setUint8(5, 255), /unknown frame type 255/],
    ["an unknown flag", (view) => view.setUint16(6, 8, true), /unknown flags 0x8/],
    ["the highest flag", (view) => view.setUint16(6, 0x8000, true), /unknown flags 0x8000/],
    ["an unknown dtype", (view) => view.setUint8(31, 5), /unknown dtype 5/],
    ["a position", (view) => view.setUint32(16, (1 << 24) + 1, true), /position 16777217 exceeds the limit of 16777216/],
    ["tokens", (view) => view.setUint32(20, 0xffff_ffff, true), /tokens 4294967295 exceeds/],
    ["a hidden size", (view) => view.setUint32(24, 65_537, true), /hiddenSize 65537 exceeds/],
    ["a block", (view) => view.setUint16(28, 4097, true), /block 4097 exceeds/],
    ["a longer payload than there is", (view) => view.setUint32(36, 4, true), /3 payload bytes, the header announces 4/],
    ["a shorter one", (view) => view.setUint32(36, 2, true), /3 payload bytes, the header announces 2/],
    ["one of 4 GiB", (view) => view.setUint32(36, 0xffff_ffff, true), /4294967295 bytes exceeds the limit of 67108864/],
  ])("are refused for %s, although the checksum is right", (_, change, message) => {
    expect(() => decodeFrame(forged(activation, change))).toThrow(message);
    expect(() => decodeFrame(forged(activation, change))).toThrow(FrameError);
  });

  it("are held against the limits given, the limit itself allowed", () => {
    const limits = { payloadBytes: 3, tokens: 1, hiddenSize: 4, position: 0, block: 0 };
    expect(decodeFrame(encodeFrame(activation), limits)).toEqual(activation);
    expect(() => decodeFrame(encodeFrame(activation), { ...limits, payloadBytes: 2 })).toThrow(/3 bytes exceeds the limit of 2/);
    expect(() => decodeFrame(encodeFrame(activation), { ...limits, hiddenSize: 3 })).toThrow(/hiddenSize 4 exceeds the limit of 3/);
  });

  it("announce their length by the header alone, JSON within 64 KiB", () => {
    const header = encodeFrame(makeFrame("activation", { payload: new Uint8Array(1 << 20) })).subarray(0, FRAME_HEADER_BYTES);
    expect(payloadLength(header)).toBe(1 << 20);
    expect(() => payloadLength(header.subarray(0, 43))).toThrow(/43 bytes are shorter than a frame's header/);
    const hello = encodeFrame(makeFrame("hello", { payload: new Uint8Array(LONGEST_CONTROL_BYTES + 1) }));
    expect(() => payloadLength(hello.subarray(0, FRAME_HEADER_BYTES))).toThrow(/65537 bytes exceeds the limit of 65536/);
  });

  it("hand out the payload as a view", () => {
    const bytes = encodeFrame(activation);
    expect(decodeFrame(bytes).payload.buffer).toBe(bytes.buffer);
  });
});
