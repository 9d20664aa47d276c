import { FrameError } from "../errors.ts";
import { FrameCutter } from "../transport/frame-cutter.ts";
import { controlMessage, type ControlType } from "./control-messages.ts";
import { crc32c } from "./crc32c.ts";
import { decodeFrame, encodeFrame, FRAME_HEADER_BYTES, makeFrame, type Frame, type FrameLimits } from "./frame.ts";
import { spoiledJson } from "./fuzz-json.testing.ts";
import type { FuzzRandom } from "./fuzz-random.testing.ts";
import { goldenFrames } from "./golden-frames.testing.ts";

/** What became of one input. */
export interface FuzzOutcome {
  readonly strategy: string;
  readonly input: Uint8Array;
  readonly accepted: boolean;
}

/** Limits as a server of a small model has. */
const LIMITS: FrameLimits = { payloadBytes: 1 << 20, tokens: 512, hiddenSize: 4096, position: 4096, block: 64 };

const frames: readonly Frame[] = goldenFrames.map(({ frame }) => frame);
const controls = frames.filter(({ type }) => type !== "activation" && type !== "result");

/** The length and the checksum made right, as an attacker would. */
export function sealed(bytes: Uint8Array): Uint8Array {
  if (bytes.length < FRAME_HEADER_BYTES) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint32(36, bytes.length - FRAME_HEADER_BYTES, true);
  view.setUint32(40, crc32c(bytes.subarray(FRAME_HEADER_BYTES), crc32c(bytes.subarray(0, 40))), true);
  return bytes;
}

/** Offset and bytes of the fields behind the magic and before the length. */
const HEADER_FIELDS = [[4, 1], [5, 1], [6, 2], [8, 4], [12, 4], [16, 4], [20, 4], [24, 4], [28, 2], [30, 1], [31, 1], [32, 4]] as const;

/** A frame with one to three fields of its header overwritten, and its checksum right. */
export function withHostileHeader(random: FuzzRandom, frame: Uint8Array): Uint8Array {
  const bytes = frame.slice();
  const view = new DataView(bytes.buffer);
  for (let changes = 1 + random.below(3); changes > 0; changes--) {
    const [offset, size] = random.pick(HEADER_FIELDS);
    if (size === 1) view.setUint8(offset, random.hostile());
    else if (size === 2) view.setUint16(offset, random.hostile(), true);
    else view.setUint32(offset, random.hostile(), true);
  }
  return sealed(bytes);
}

const strategies: { readonly [name: string]: (random: FuzzRandom) => Uint8Array } = {
  "random bytes": (random) => random.bytes(random.length(400)),
  "random bytes behind a good header": (random) => {
    const bytes = encodeFrame(random.pick(frames));
    return new Uint8Array([...bytes.subarray(0, 5 + random.below(40)), ...random.bytes(random.length(200))]);
  },
  "truncated": (random) => {
    const bytes = encodeFrame(random.pick(frames));
    return bytes.subarray(0, random.below(bytes.length));
  },
  "bits flipped": (random) => {
    const bytes = encodeFrame(random.pick(frames));
    for (let flips = 1 + random.below(8); flips > 0; flips--) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    return bytes;
  },
  "spoiled, checksum right": (random) => sealed(random.spoil(encodeFrame(random.pick(frames)))),
  "hostile header": (random) => withHostileHeader(random, encodeFrame(random.pick(frames))),
  "hostile length": (random) => {
    const bytes = encodeFrame(random.pick(frames));
    new DataView(bytes.buffer).setUint32(36, random.hostile(), true);
    return bytes;
  },
  "strange JSON": (random) => {
    const frame = random.pick(controls);
    const message = controlMessage(frame.type as ControlType, frame);
    return encodeFrame(makeFrame(frame.type, { payload: spoiledJson(random, message) }));
  },
  "the JSON of another type": (random) => encodeFrame({ ...random.pick(controls), type: random.pick(controls).type }),
  "untouched": (random) => encodeFrame(random.pick(frames)),
};
const names = Object.keys(strategies);

/** Reads one frame as a connection would. @throws what is no FrameError: a crash */
export function fuzzWire(random: FuzzRandom, begin: (strategy: string, input: Uint8Array) => void): FuzzOutcome {
  const strategy = random.pick(names);
  const input = strategies[strategy]!(random);
  begin(strategy, input);
  let accepted = false;
  try {
    const frame = decodeFrame(input, LIMITS);
    if (frame.type !== "activation" && frame.type !== "result") controlMessage(frame.type, frame);
    accepted = true;
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    if (error.message.length > 1000) throw new Error(`a complaint of ${error.message.length} characters`, { cause: error });
  }
  if (strategy === "untouched" && !accepted && decodable(input)) throw new Error("a good frame was refused");
  if (random.oneIn(8)) fuzzCutter(random, input);
  return { strategy, input, accepted };
}

/** Whether the limits allow a good frame. */
function decodable(input: Uint8Array): boolean {
  const view = new DataView(input.buffer, input.byteOffset);
  return view.getUint32(16, true) <= LIMITS.position && view.getUint32(20, true) <= LIMITS.tokens &&
    view.getUint32(24, true) <= LIMITS.hiddenSize && view.getUint16(28, true) <= LIMITS.block;
}

/** Good frames and then the input as a stream in pieces: the good ones come out, whatever follows. */
function fuzzCutter(random: FuzzRandom, input: Uint8Array): void {
  const good = encodeFrame(random.pick(frames));
  const stream = new Uint8Array([...good, ...good, ...input]);
  const cutter = new FrameCutter(LIMITS);
  const came: Uint8Array[] = [];
  try {
    for (let offset = 0; offset < stream.length;) {
      const size = 1 + random.length(300);
      cutter.push(stream.subarray(offset, offset + size), (frame) => came.push(frame));
      offset += size;
    }
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
  }
  for (const index of [0, 1]) {
    if (came[index] === undefined || Buffer.compare(came[index], good) !== 0) throw new Error(`good frame ${index} did not come out`);
  }
  if (cutter.heldBytes > stream.length) throw new Error("the cutter holds more than has come");
}
