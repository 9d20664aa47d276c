import { crc32 } from "node:zlib";
import { FrameError } from "../errors.ts";
import { messageKinds } from "./transport.ts";
import type { MessageKind, MessageTag } from "./transport.ts";

/**
 * How bytes travel: frames of a header and a payload, one after another. All numbers are little endian.
 *
 * | offset | bytes | what |
 * |---|---|---|
 * | 0 | 4 | "MCFO" |
 * | 4 | 1 | version of this format, 1 |
 * | 5 | 1 | kind: `messageKinds`, or one of `controlKinds` |
 * | 6 | 2 | flags, 0 |
 * | 8 | 4 × 4 | epoch, step, channel, sequence |
 * | 24 | 4 | bytes of payload |
 * | 28 | 4 | CRC-32 of the payload |
 * | 32 | 4 | 0 |
 * | 36 | 4 | CRC-32 of the 36 bytes before |
 *
 * The header has a checksum of its own, so that a length is believed, and memory taken for it, only after it was proven whole.
 */
export const headerBytes = 40;

/** Version of the frame format and of the handshake. */
export const frameVersion = 1;

/** Largest payload that is sent or received unless a transport is told otherwise: 64 MiB. */
export const defaultMaximumPayloadBytes: number = 64 * 1024 * 1024;

/** Kinds of frames that are no messages: the handshake, and the farewell of a worker that leaves on purpose. */
export const controlKinds = { hello: 240, challenge: 241, proof: 242, welcome: 243, refusal: 244, bye: 245 } as const;

/** Name of a kind of frame that is no message. */
export type ControlKind = keyof typeof controlKinds;

/** What a frame's header says. */
export interface FrameHeader extends Omit<MessageTag, "kind"> {
  readonly kind: MessageKind | ControlKind;
  readonly payloadBytes: number;
  /** CRC-32 of the payload. */
  readonly checksum: number;
}

const MAGIC = 0x4f46434d; // "MCFO" read little endian
const LARGEST_UINT32 = 0xffffffff;
const kindNumbers: Readonly<Record<string, number>> = { ...messageKinds, ...controlKinds };
const kindNames = new Map(Object.entries(kindNumbers).map(([name, number]) => [number, name as MessageKind | ControlKind]));

/** Whether frames of this kind carry a message. */
export function isMessageKind(kind: MessageKind | ControlKind): kind is MessageKind {
  return kind in messageKinds;
}

/**
 * The header of a frame.
 * @throws FrameError for a tag's number that is no unsigned 32-bit integer
 */
export function encodeHeader(header: FrameHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(headerBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint8(4, frameVersion);
  view.setUint8(5, kindNumbers[header.kind]!);
  const fields = [header.epoch, header.step, header.channel, header.sequence, header.payloadBytes, header.checksum];
  for (const [i, value] of fields.entries()) {
    if (!Number.isInteger(value) || value < 0 || value > LARGEST_UINT32) {
      throw new FrameError(`${describeFrame(header)}: ${value} does not fit into an unsigned 32-bit integer`);
    }
    view.setUint32(8 + 4 * i, value, true);
  }
  view.setUint32(36, crc32(bytes.subarray(0, 36)), true);
  return bytes;
}

/** The header of a message's frame, its payload's checksum computed. @throws FrameError */
export function encodeMessageHeader(tag: MessageTag, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return encodeHeader({ ...tag, payloadBytes: payload.byteLength, checksum: crc32(payload) });
}

/** A whole control frame. */
export function encodeControlFrame(kind: ControlKind, epoch: number, payload: Uint8Array = new Uint8Array(0)): Uint8Array<ArrayBuffer> {
  const header = { kind, epoch, step: 0, channel: 0, sequence: 0, payloadBytes: payload.byteLength, checksum: crc32(payload) };
  const frame = new Uint8Array(headerBytes + payload.byteLength);
  frame.set(encodeHeader(header));
  frame.set(payload, headerBytes);
  return frame;
}

/**
 * Reads and checks a header.
 * @param bytes at least `headerBytes` of them
 * @throws FrameError naming what is wrong with it
 */
export function parseHeader(bytes: Uint8Array, maximumPayloadBytes: number = defaultMaximumPayloadBytes): FrameHeader {
  if (bytes.byteLength < headerBytes) throw new FrameError(`${bytes.byteLength} bytes are no header, which has ${headerBytes}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  const magic = view.getUint32(0, true);
  if (magic !== MAGIC) throw new FrameError(`no frame: begins with 0x${magic.toString(16).padStart(8, "0")} instead of "MCFO"`);
  if (view.getUint32(36, true) !== crc32(bytes.subarray(0, 36))) throw new FrameError("checksum mismatch in a frame's header");
  const version = view.getUint8(4);
  if (version !== frameVersion) throw new FrameError(`frame of version ${version}; this is version ${frameVersion}`);
  const kind = kindNames.get(view.getUint8(5));
  if (kind === undefined) throw new FrameError(`frame of unknown kind ${view.getUint8(5)}`);
  if (view.getUint16(6, true) !== 0 || view.getUint32(32, true) !== 0) throw new FrameError(`${kind} frame with unknown flags`);
  const [epoch, step, channel, sequence, payloadBytes, checksum] =
    [8, 12, 16, 20, 24, 28].map((offset) => view.getUint32(offset, true)) as [number, number, number, number, number, number];
  if (payloadBytes > maximumPayloadBytes) {
    throw new FrameError(`${kind} frame of ${payloadBytes} bytes, over the limit of ${maximumPayloadBytes}`);
  }
  return { kind, epoch, step, channel, sequence, payloadBytes, checksum };
}

/** A frame in words, for errors and logs. */
export function describeFrame({ kind, epoch, step, channel, sequence }: Omit<FrameHeader, "payloadBytes" | "checksum">): string {
  return `${kind} frame (epoch ${epoch}, step ${step}, channel ${channel}, sequence ${sequence})`;
}
