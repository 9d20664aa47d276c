import type { DeviceName, Tensor } from "@frugal/tensor-core";
import type { ByteReader } from "./byte-reader.ts";
import type { CompressedActivation } from "./compression-codec.ts";

/** What a coder has to reach for the rows it is given. Byte counts are of the body alone. */
export type RowTarget =
  | { readonly kind: "bytes"; readonly bytes: number }
  | { readonly kind: "elements"; readonly elements: number }
  | { readonly kind: "relativeError"; readonly relativeError: number }
  | { readonly kind: "step"; readonly step: number }
  /** For coders of a fixed rate. */
  | { readonly kind: "none" };

/**
 * The heart of a codec: rows of ONE sequence into bytes and back. `createCompressionCodec` puts around it what all codecs share: the
 * header, bounds, several sequences in a message, exact rows, modes. Rows reach `decode` in the order and number that `encode` was
 * given.
 */
export interface RowCoder {
  /** Name in the registry and on the wire, e.g. "channel". */
  readonly name: string;
  /** First byte of its messages, 1 to 63. */
  readonly id: number;
  /**
   * The kinds of target it can work towards; others are refused before `encode` is called. Empty for a fixed rate: `encode` gets
   * "none".
   */
  readonly targets: readonly Exclude<RowTarget["kind"], "none">[];
  /** Most rows of a message; more are refused before allocation. Default: the context's limit alone. */
  readonly maxTokens?: number;
  /**
   * rows [tokens, hiddenSize] with tokens >= 1, float32, finite, on any device; not disposed here.
   * For target bytes: at most that many bytes. @throws CodecTargetError when it cannot be reached
   */
  encode(rows: Tensor, target: RowTarget): Promise<CompressedActivation>;
  /**
   * Reads exactly its own bytes. The result [tokens, hiddenSize] float32 on `device` belongs to the caller. Sizes read from the bytes are
   * checked before anything is allocated for them. @throws CodecMessageError
   */
  decode(reader: ByteReader, tokens: number, hiddenSize: number, device: DeviceName): Promise<Tensor>;
}
