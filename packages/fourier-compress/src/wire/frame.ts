import { FrameError } from "../errors.ts";
import { crc32c } from "./crc32c.ts";

/** "FCSP" in a hex dump. */
export const FRAME_MAGIC = 0x5053_4346;
/** Version of the frame layout and of the messages in it; others are refused. */
export const PROTOCOL_VERSION = 1;
/** Bytes before the payload. */
export const FRAME_HEADER_BYTES = 44;
/** Longest payload of the frames that carry JSON, whatever the limits. */
export const LONGEST_CONTROL_BYTES: number = 1 << 16;
/** Types from here on carry bytes, those below JSON. */
const FIRST_BINARY_TYPE = 16;

/** Kinds of frames. Those below 16 carry JSON (control-messages.ts), the others bytes. Numbers are never reused. */
export const FRAME_TYPES = {
  hello: 1,
  challenge: 2,
  authenticate: 3,
  welcome: 4,
  open: 5,
  opened: 6,
  resume: 7,
  resumed: 8,
  close: 9,
  closed: 10,
  error: 11,
  /** Client to server: hidden states of one sequence as a codec message. */
  activation: 16,
  /** Server to client: what became of the activation of the same sequence number. */
  result: 17,
} as const;

/** Name of a kind of frame. */
export type FrameType = keyof typeof FRAME_TYPES;

/** Bits of `Frame.flags`. */
export const FRAME_FLAGS = {
  /** activation: answer with a value; without it the result only acknowledges. result: the payload holds a value. */
  value: 1,
  /** activation, result: the value is of every row, not of the last alone. */
  allRows: 2,
  /** result, token: generation ends with this token. */
  endOfSequence: 4,
} as const;

const KNOWN_FLAGS = FRAME_FLAGS.value | FRAME_FLAGS.allRows | FRAME_FLAGS.endOfSequence;

/** What a payload's numbers are. */
export const FRAME_DTYPES = { none: 0, float32: 1, float16: 2, codec: 3, token: 4 } as const;

/** Name of a payload's kind. */
export type FrameDtype = keyof typeof FRAME_DTYPES;

/** One frame. Fields that a type has no use for are 0. */
export interface Frame {
  readonly type: FrameType;
  readonly flags: number;
  /** Handle of the session on this connection, given by `opened` and `resumed`; 0 for the connection itself. */
  readonly session: number;
  /** Of an activation in its session, from 1, and of the result that answers it. */
  readonly sequence: number;
  /** activation: position of its first token; what the server holds beyond it is forgotten first. result: tokens held afterwards. */
  readonly position: number;
  /** Rows: of the activation, or of the result's value. */
  readonly tokens: number;
  readonly hiddenSize: number;
  /** The block whose input an activation is. */
  readonly block: number;
  /** Id of the codec of an activation; first byte of its message without flags. */
  readonly codec: number;
  readonly dtype: FrameDtype;
  /** First four bytes of the codec table's hash, little-endian; 0 without a table. */
  readonly table: number;
  readonly payload: Uint8Array;
}

/** Bounds that a frame is held against before anything is allocated for it. */
export interface FrameLimits {
  readonly payloadBytes: number;
  readonly tokens: number;
  readonly hiddenSize: number;
  readonly position: number;
  readonly block: number;
}

/** Wide enough for every model there is; servers and clients narrow them to theirs. */
export const DEFAULT_FRAME_LIMITS: FrameLimits = {
  payloadBytes: 1 << 26, tokens: 1 << 17, hiddenSize: 1 << 16, position: 1 << 24, block: 1 << 12,
};

const NAMES_OF_TYPES: ReadonlyMap<number, FrameType> = new Map(Object.entries(FRAME_TYPES).map(([name, id]) => [id, name as FrameType]));
const NAMES_OF_DTYPES: ReadonlyMap<number, FrameDtype> = new Map(
  Object.entries(FRAME_DTYPES).map(([name, id]) => [id, name as FrameDtype]),
);

const hexadecimal = (value: number): string => `0x${value.toString(16).padStart(8, "0")}`;

/** A frame with the given fields, the others 0. */
export function makeFrame(type: FrameType, fields: Partial<Omit<Frame, "type">> = {}): Frame {
  return {
    type, flags: 0, session: 0, sequence: 0, position: 0, tokens: 0, hiddenSize: 0, block: 0, codec: 0, dtype: "none", table: 0,
    payload: new Uint8Array(0), ...fields,
  };
}

/** The fields that are written as numbers, with the largest value of each. */
const NUMBERS = {
  flags: 0xffff, session: 0xffff_ffff, sequence: 0xffff_ffff, position: 0xffff_ffff, tokens: 0xffff_ffff, hiddenSize: 0xffff_ffff,
  block: 0xffff, codec: 0xff, table: 0xffff_ffff,
} as const;

/**
 * The bytes of a frame, little-endian: magic u32, version u8, type u8, flags u16, session u32, sequence u32, position u32, tokens u32,
 * hiddenSize u32, block u16, codec u8, dtype u8, table u32, payload length u32, CRC-32C u32 of all that precedes and the payload; payload.
 * @throws FrameError for a number that its field cannot hold: it would be read as another
 */
export function encodeFrame(frame: Frame): Uint8Array<ArrayBuffer> {
  const { payload } = frame;
  for (const [name, most] of Object.entries(NUMBERS)) {
    const value = frame[name as keyof typeof NUMBERS];
    if (!Number.isInteger(value) || value < 0 || value > most) {
      throw new FrameError(`${frame.type}: ${name} ${value}; a frame holds 0 to ${most}`);
    }
  }
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, FRAME_MAGIC, true);
  view.setUint8(4, PROTOCOL_VERSION);
  view.setUint8(5, FRAME_TYPES[frame.type]);
  view.setUint16(6, frame.flags, true);
  view.setUint32(8, frame.session, true);
  view.setUint32(12, frame.sequence, true);
  view.setUint32(16, frame.position, true);
  view.setUint32(20, frame.tokens, true);
  view.setUint32(24, frame.hiddenSize, true);
  view.setUint16(28, frame.block, true);
  view.setUint8(30, frame.codec);
  view.setUint8(31, FRAME_DTYPES[frame.dtype]);
  view.setUint32(32, frame.table, true);
  view.setUint32(36, payload.length, true);
  bytes.set(payload, FRAME_HEADER_BYTES);
  view.setUint32(40, crc32c(payload, crc32c(bytes.subarray(0, 40))), true);
  return bytes;
}

/**
 * Length of the payload from the first bytes of a frame, for transports that cut a stream into frames.
 * @throws FrameError for another magic, an unknown version, or a payload above the limit (of control frames 64 KiB at most), before it is
 * waited for
 */
export function payloadLength(header: Uint8Array, limits: Pick<FrameLimits, "payloadBytes"> = DEFAULT_FRAME_LIMITS): number {
  if (header.length < FRAME_HEADER_BYTES) throw new FrameError(`${header.length} bytes are shorter than a frame's header`);
  const view = new DataView(header.buffer, header.byteOffset, FRAME_HEADER_BYTES);
  const magic = view.getUint32(0, true);
  if (magic !== FRAME_MAGIC) throw new FrameError(`no frame begins with ${hexadecimal(magic)}`);
  const version = view.getUint8(4);
  if (version !== PROTOCOL_VERSION) throw new FrameError(`protocol version ${version}; this end speaks ${PROTOCOL_VERSION}`);
  const length = view.getUint32(36, true);
  const limit = view.getUint8(5) < FIRST_BINARY_TYPE ? Math.min(LONGEST_CONTROL_BYTES, limits.payloadBytes) : limits.payloadBytes;
  if (length > limit) throw new FrameError(`a payload of ${length} bytes exceeds the limit of ${limit}`);
  return length;
}

/**
 * A frame from exactly its bytes; the payload is a view of them.
 * @throws FrameError for anything that `encodeFrame` would not have made within the limits
 */
export function decodeFrame(bytes: Uint8Array, limits: FrameLimits = DEFAULT_FRAME_LIMITS): Frame {
  const length = payloadLength(bytes, limits);
  if (bytes.length !== FRAME_HEADER_BYTES + length) {
    throw new FrameError(`${bytes.length - FRAME_HEADER_BYTES} payload bytes, the header announces ${length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const payload = bytes.subarray(FRAME_HEADER_BYTES);
  const expected = view.getUint32(40, true);
  const actual = crc32c(payload, crc32c(bytes.subarray(0, 40)));
  if (actual !== expected) throw new FrameError(`checksum ${hexadecimal(actual)}, the frame says ${hexadecimal(expected)}`);
  const type = NAMES_OF_TYPES.get(view.getUint8(5));
  if (type === undefined) throw new FrameError(`unknown frame type ${view.getUint8(5)}`);
  const dtype = NAMES_OF_DTYPES.get(view.getUint8(31));
  if (dtype === undefined) throw new FrameError(`unknown dtype ${view.getUint8(31)}`);
  const flags = view.getUint16(6, true);
  if ((flags & ~KNOWN_FLAGS) !== 0) throw new FrameError(`unknown flags 0x${flags.toString(16)}`);
  const within = (name: keyof FrameLimits, value: number): number => {
    if (value > limits[name]) throw new FrameError(`${name} ${value} exceeds the limit of ${limits[name]}`);
    return value;
  };
  return {
    type, flags, dtype, payload,
    session: view.getUint32(8, true),
    sequence: view.getUint32(12, true),
    position: within("position", view.getUint32(16, true)),
    tokens: within("tokens", view.getUint32(20, true)),
    hiddenSize: within("hiddenSize", view.getUint32(24, true)),
    block: within("block", view.getUint16(28, true)),
    codec: view.getUint8(30),
    table: view.getUint32(32, true),
  };
}
