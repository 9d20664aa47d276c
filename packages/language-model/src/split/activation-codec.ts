import { DtypeError, ShapeError, tensor, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { LanguageModelError } from "../errors.ts";

/** Rows of a message that belong to one sequence, in order. */
export interface SequenceRows {
  /** Position of the first token in its sequence. */
  readonly positionOffset: number;
  readonly tokens: number;
}

/** What both ends know of a message without reading it. */
export interface ActivationContext {
  /** Hidden states on their way forward, or the loss's gradients with respect to them on their way back. */
  readonly kind: "activation" | "gradient";
  /** The block whose input this is. */
  readonly block: number;
  /**
   * The conversation that the message belongs to: one cache's tokens, or one link of a pipeline. Messages of a stream are encoded one
   * after another and decoded in that order; streams interleave freely.
   */
  readonly streamId: string;
  /** The sequences whose rows follow one another; their tokens add up to the rows of the message. */
  readonly sequences: readonly SequenceRows[];
  /** Upper bound of the rows that `decode` may allocate, and the number of columns that it has to find. */
  readonly limits: { readonly tokens: number; readonly hiddenSize: number };
}

/**
 * Turns hidden states into bytes and back, between the device part and the server part of a split model, or between pipeline stages.
 * Implementations may lose precision; `decode(encode(x))` has x's shape. Encoders may run on any device, so both are asynchronous, and
 * calls of different streams may overlap. A message stands alone: a codec remembers nothing of earlier ones, so that messages can be
 * repeated, and lost streams taken up by another process. One that does remember says so by `stateful`.
 */
export interface ActivationCodec {
  /** Name on the wire, e.g. "float16". */
  readonly name: string;
  /**
   * Whether messages of a stream depend on those before. Then each `streamId` has a state of its own on either side, every message has to
   * be decoded once and in order, and a stream that failed has to begin anew under another id. Default false.
   */
  readonly stateful?: boolean;
  /** hidden [tokens, hiddenSize], float32. @throws LanguageModelError for values that the codec cannot represent */
  encode(hidden: Tensor, context: ActivationContext): Promise<Uint8Array>;
  /** @throws LanguageModelError for bytes that are not of this codec or exceed the limits, before large allocations */
  decode(bytes: Uint8Array, context: ActivationContext, device: DeviceName): Promise<Tensor>;
}

const headerBytes = 8;

/** Exponent bits of float16: all set in infinities and NaN. */
const FLOAT16_EXPONENT = 0x7c00;

/**
 * Uncompressed activations: float32 (exact) or float16, after two little-endian uint32 (tokens, hiddenSize). The largest finite float16 is
 * 65504: `encode` refuses what rounds to more.
 */
export function rawActivationCodec(dtype: "float32" | "float16" = "float32"): ActivationCodec {
  const itemBytes = dtype === "float32" ? 4 : 2;
  return {
    name: dtype,
    async encode(hidden) {
      if (hidden.rank !== 2) throw new ShapeError(`${dtype} codec: expected [tokens, hiddenSize], got [${hidden.shape.join(", ")}]`);
      if (hidden.dtype !== "float32") throw new DtypeError(`${dtype} codec: expected float32, got ${hidden.dtype}`);
      const values = dtype === "float16" ? await halfBits(hidden) : await hidden.data("float32");
      const bytes = new Uint8Array(headerBytes + values.byteLength);
      const header = new DataView(bytes.buffer);
      header.setUint32(0, hidden.shape[0]!, true);
      header.setUint32(4, hidden.shape[1]!, true);
      bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), headerBytes);
      return bytes;
    },
    async decode(bytes, { limits }, device) {
      if (bytes.byteLength < headerBytes) {
        throw new LanguageModelError(`${dtype} codec: ${bytes.byteLength} bytes are shorter than the header`);
      }
      const header = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
      const [tokens, hiddenSize] = [header.getUint32(0, true), header.getUint32(4, true)];
      const expectedBytes = headerBytes + tokens * hiddenSize * itemBytes;
      if (tokens > limits.tokens || hiddenSize !== limits.hiddenSize || bytes.byteLength !== expectedBytes) {
        throw new LanguageModelError(
          `${dtype} codec: ${bytes.byteLength} bytes for [${tokens}, ${hiddenSize}] are not a message within ` +
            `[${limits.tokens}, ${limits.hiddenSize}]`,
        );
      }
      const body = bytes.slice(headerBytes).buffer;
      const received = tensor(dtype === "float32" ? new Float32Array(body) : new Uint16Array(body), [tokens, hiddenSize], { device });
      if (dtype === "float32") return received;
      try {
        return received.cast("float32");
      } finally {
        received.dispose();
      }
    },
  };
}

async function halfBits(hidden: Tensor): Promise<Uint16Array> {
  const half = hidden.cast("float16");
  let values: Uint16Array;
  try {
    values = await half.data("float16");
  } finally {
    half.dispose();
  }
  const broken = values.findIndex((bits) => (bits & FLOAT16_EXPONENT) === FLOAT16_EXPONENT);
  if (broken < 0) return values;
  const columns = hidden.shape[1]!;
  const place = `row ${Math.floor(broken / columns)}, feature ${broken % columns}`;
  throw new LanguageModelError(`float16 codec: ${place} is not a finite float16 (at most 65504); use float32 for this model`);
}
