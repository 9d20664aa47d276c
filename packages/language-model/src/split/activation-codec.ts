import { DtypeError, tensor, type DeviceName, type Tensor } from "@frugal/tensor-core";
import { LanguageModelError } from "../errors.ts";

/** What both ends know of activations without reading them. */
export interface ActivationContext {
  /** Position of the first token in its sequence. */
  readonly positionOffset: number;
  /** The block whose input this is. */
  readonly block: number;
  /** Upper bound for both axes of what `decode` may allocate. */
  readonly limits: { readonly tokens: number; readonly hiddenSize: number };
}

/**
 * Turns hidden states into bytes and back, between the device part and the server part of a split model, or between pipeline stages.
 * Implementations may lose precision; `decode(encode(x))` has x's shape. Encoders may run on any device, so both are asynchronous.
 */
export interface ActivationCodec {
  /** Name on the wire, e.g. "float16". */
  readonly name: string;
  /** hidden [tokens, hiddenSize], float32. */
  encode(hidden: Tensor, context: ActivationContext): Promise<Uint8Array>;
  /** @throws LanguageModelError for bytes that are not of this codec or exceed the limits, before large allocations */
  decode(bytes: Uint8Array, context: ActivationContext, device: DeviceName): Promise<Tensor>;
}

const headerBytes = 8;

/** Uncompressed activations: float32 (exact) or float16, after two little-endian uint32 (tokens, hiddenSize). */
export function rawActivationCodec(dtype: "float32" | "float16" = "float32"): ActivationCodec {
  const itemBytes = dtype === "float32" ? 4 : 2;
  return {
    name: dtype,
    async encode(hidden) {
      if (hidden.rank !== 2 || hidden.dtype !== "float32") {
        throw new DtypeError(`${dtype} codec: expected float32 [tokens, hiddenSize], got ${hidden.dtype} of rank ${hidden.rank}`);
      }
      const half = dtype === "float16" ? hidden.cast("float16") : undefined;
      const values = half ? await half.data("float16") : await hidden.data("float32");
      half?.dispose();
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
      if (tokens > limits.tokens || hiddenSize > limits.hiddenSize || bytes.byteLength !== headerBytes + tokens * hiddenSize * itemBytes) {
        throw new LanguageModelError(
          `${dtype} codec: ${bytes.byteLength} bytes for [${tokens}, ${hiddenSize}] are not a message within ` +
            `[${limits.tokens}, ${limits.hiddenSize}]`,
        );
      }
      const body = bytes.slice(headerBytes).buffer;
      const received = tensor(dtype === "float32" ? new Float32Array(body) : new Uint16Array(body), [tokens, hiddenSize], { device });
      if (dtype === "float32") return received;
      const widened = received.cast("float32");
      received.dispose();
      return widened;
    },
  };
}

