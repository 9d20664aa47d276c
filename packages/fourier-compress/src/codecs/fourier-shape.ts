import { SettingsError } from "../errors.ts";

/** A block of low frequencies: KS of the token axis by KD of the hidden axis. */
export interface BlockShape {
  /** KS: frequencies 0..KS-1 along the tokens. */
  readonly tokens: number;
  /** KD: frequencies 0..KD-1 along the channels. */
  readonly channels: number;
}

/** How the sides of a block follow from its size; FourierCompress does not say. Where a side is used up, the other grows alone. */
export type FourierShape =
  /** KS / S = KD / D. */
  | { readonly kind: "proportional" }
  /** KS as given, or S where the message is shorter. */
  | { readonly kind: "fixed"; readonly tokens: number }
  /** KS / S as given, in (0, 1]; the best one for a model comes from calibration (`CodecTable.fourierTokenShare`). */
  | { readonly kind: "tokenShare"; readonly tokenShare: number };

/** The blocks that a codec chooses among: each holds the ones before it. */
export interface BlockSequence {
  readonly length: number;
  at(index: number): BlockShape;
}

/** The same shape. @throws SettingsError for values outside their range */
export function checkShape(shape: FourierShape): FourierShape {
  switch (shape.kind) {
    case "proportional":
      return shape;
    case "fixed":
      if (!Number.isInteger(shape.tokens) || shape.tokens < 1)
        throw new SettingsError(`block shape: tokens ${shape.tokens}; use an integer >= 1`);
      return shape;
    case "tokenShare":
      if (!(shape.tokenShare > 0 && shape.tokenShare <= 1))
        throw new SettingsError(`block shape: tokenShare ${shape.tokenShare}; use a number in (0, 1]`);
      return shape;
    default:
      throw new SettingsError(`block shape ${JSON.stringify(shape)}; use proportional, fixed or tokenShare`);
  }
}

/**
 * Blocks of a shape, from one frequency to all of `largest`.
 * @param tokensOf KS of a share of the tokens: low-pass blocks count frequencies and their negatives
 */
export function blockSequence(shape: FourierShape, largest: BlockShape, tokensOf: (share: number) => number): BlockSequence {
  if (shape.kind === "proportional") {
    const length = Math.max(largest.tokens, largest.channels);
    const side = (whole: number, index: number): number => Math.max(1, Math.round(((index + 1) * whole) / length));
    return { length, at: (index) => ({ tokens: side(largest.tokens, index), channels: side(largest.channels, index) }) };
  }
  const wanted = shape.kind === "fixed" ? shape.tokens : tokensOf(shape.tokenShare);
  const tokens = Math.max(1, Math.min(largest.tokens, wanted));
  return {
    length: largest.tokens + largest.channels - 1,
    at(index) {
      if (index < tokens) return { tokens: index + 1, channels: 1 };
      const channels = Math.min(largest.channels, index - tokens + 2);
      return { tokens: index - channels + 2, channels };
    },
  };
}

/** First index for which `holds`, which stays true once it is; `length` when it never is. */
export function firstIndex(length: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
