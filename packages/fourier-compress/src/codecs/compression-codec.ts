import type { ActivationCodec, ActivationContext } from "@frugal/language-model";
import type { Tensor } from "@frugal/tensor-core";

/** A message, with the numbers in it as papers count them. */
export interface CompressedActivation {
  /** The whole message, its header included. */
  readonly bytes: Uint8Array;
  /**
   * Numbers that the message holds, however many bytes each takes: kept coefficients (a complex one counts as one, the generous reading of
   * FourierCompress), entries of factors, values of Top-k without their indices, rows sent exactly.
   */
  readonly elements: number;
}

/** An `ActivationCodec` that also says how many numbers it kept. Every codec of the registry is one. */
export interface CompressionCodec extends ActivationCodec {
  /**
   * hidden [tokens, hiddenSize], float32. `encode` is this without the count.
   * @throws CodecTargetError, FourierCompressError as `encode`
   */
  compress(hidden: Tensor, context: ActivationContext): Promise<CompressedActivation>;
}

/** How much smaller messages are than the activations in them. Papers give the first; networks carry the others. */
export interface CompressionRatios {
  /** tokens · hiddenSize / elements. */
  readonly elementRatio: number;
  /** Bytes of the activations in float16 / bytes of the messages, headers included. */
  readonly byteRatioFloat16: number;
  /** The same against float32, the baseline that FourierCompress implies. */
  readonly byteRatioFloat32: number;
}

/** @param values tokens · hiddenSize of all messages together */
export function compressionRatios(
  values: number, { bytes, elements }: { readonly bytes: number; readonly elements: number },
): CompressionRatios {
  return { elementRatio: values / elements, byteRatioFloat16: (2 * values) / bytes, byteRatioFloat32: (4 * values) / bytes };
}
