import { crc32 } from "node:zlib";
import { FrameError } from "../errors.ts";
import { BufferPool } from "./buffer-pool.ts";
import { FrameReader } from "./frame-reader.ts";
import { encodeHeader, encodeMessageHeader } from "./frame.ts";
import type { FrameHeader } from "./frame.ts";
import { messageKinds } from "./transport.ts";
import type { MessageKind, MessageTag } from "./transport.ts";

/** A whole frame. */
export function frameOf(tag: MessageTag, payload: Uint8Array): Uint8Array {
  return Buffer.concat([encodeMessageHeader(tag, payload), payload]);
}

/** A frame that was read. */
export interface ReadFrame {
  readonly header: FrameHeader;
  readonly payload: Uint8Array;
}

/** Reads a stream that comes in these chunks. @throws FrameError */
export function readAll(
  chunks: readonly Uint8Array[], maximumPayloadBytes = 1024, pool: BufferPool = new BufferPool(),
): { readonly frames: ReadFrame[]; readonly reader: FrameReader } {
  const frames: ReadFrame[] = [];
  const reader = new FrameReader(pool, maximumPayloadBytes, (header, payload) => {
    frames.push({ header, payload: payload.slice() });
    pool.give(payload.buffer);
  });
  for (const chunk of chunks) reader.push(chunk);
  return { frames, reader };
}

/** A header whose own checksum is right, whatever it says. */
export function forge(change: (view: DataView) => void): Uint8Array {
  const bytes = encodeHeader({ kind: "state", epoch: 1, step: 2, channel: 3, sequence: 4, payloadBytes: 0, checksum: 0 });
  const view = new DataView(bytes.buffer);
  change(view);
  view.setUint32(36, crc32(bytes.subarray(0, 36)), true);
  return bytes;
}

/** A pool that remembers the most that it was asked for. */
export class CountingPool extends BufferPool {
  largest: number = 0;
  override take(bytes: number): Uint8Array<ArrayBuffer> {
    this.largest = Math.max(this.largest, bytes);
    return super.take(bytes);
  }
}

/** Reads seeded hostile streams: whole, cut, flipped, with forged headers. Throws if one does anything but be read or refused. */
export function fuzz(streams: number, seed: number): { refused: number; read: number; largest: number } {
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const names = Object.keys(messageKinds) as MessageKind[];
  let refused = 0;
  let read = 0;
  let largest = 0;
  for (let i = 0; i < streams; i++) {
    const count = 1 + random(3);
    const stream = Buffer.concat(Array.from({ length: count }, () => {
      const payload = Uint8Array.from({ length: random(40) }, () => random(256));
      return random(4) === 0
        ? Buffer.concat([forge((view) => { view.setUint32(4 * random(9), random(2 ** 32), true); }), payload])
        : frameOf({ kind: names[random(names.length)]!, epoch: random(9), step: random(9), channel: 0, sequence: random(9) }, payload);
    }));
    const flips = random(4);
    for (let flip = 0; flip < flips; flip++) stream[random(stream.byteLength)]! ^= 1 << random(8);
    const length = random(3) === 0 ? random(stream.byteLength) : stream.byteLength;
    const cut = random(length + 1);
    const pool = new CountingPool();
    try {
      const { frames } = readAll([stream.subarray(0, cut), stream.subarray(cut, length)], 64, pool);
      read += frames.length;
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      refused++;
    }
    largest = Math.max(largest, pool.largest);
  }
  return { refused, read, largest };
}
