import type { Tensor } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";
import { halfWidth, type FourierMode } from "./fourier-bins.ts";
import { FourierEnergy } from "./fourier-energy.ts";
import { chooseBins, readSpectrum } from "./fourier.ts";

/** Shares of the token frequencies that `searchFourierTokenShare` tries. */
export const TOKEN_SHARES: readonly number[] = [0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1];

/** Settings of `searchFourierTokenShare`. */
export interface TokenShareSearch {
  /** Default "hermitian". */
  readonly mode?: FourierMode;
  /** Compression against float16 at which the shares are compared. Default 7.6, the paper's mean. */
  readonly ratio?: number;
  /** What the ratio counts, as in `CodecMode`. Default "bytes". */
  readonly of?: "bytes" | "elements";
}

/** The best share, and how the others did. */
export interface TokenShareResult {
  /** KS / S. */
  readonly tokenShare: number;
  /** ‖A′ - A‖ / ‖A‖ over all prompts together, float16 rounding left out. */
  readonly relativeErrors: readonly { readonly tokenShare: number; readonly relativeError: number }[];
}

/**
 * Which share of the token frequencies the Fourier block should keep for a model: the one with the least error over calibration prompts, by
 * Parseval's identity from one transform of each.
 * @param prompts rows [tokens, hiddenSize] of one prompt each, any device
 * @throws SettingsError without prompts; CodecTargetError for a ratio that the shortest prompt cannot reach
 */
export async function searchFourierTokenShare(
  prompts: readonly Tensor[],
  { mode = "hermitian", ratio = 7.6, of = "bytes" }: TokenShareSearch = {},
): Promise<TokenShareResult> {
  if (prompts.length === 0) throw new SettingsError("the search for the Fourier block's shape needs prompts");
  const lost = TOKEN_SHARES.map(() => 0);
  let total = 0;
  for (const rows of prompts) {
    const grid = { tokens: rows.shape[0]!, hiddenSize: rows.shape[1]! };
    const energy = new FourierEnergy(await readSpectrum(rows, halfWidth(grid.hiddenSize)), grid);
    total += energy.total;
    const target =
      of === "bytes"
        ? ({ kind: "bytes", bytes: Math.floor((2 * rows.size) / ratio) } as const)
        : ({ kind: "elements", elements: Math.floor(rows.size / ratio) } as const);
    TOKEN_SHARES.forEach((tokenShare, index) => {
      const options = { shape: { kind: "tokenShare", tokenShare }, component: "float16" } as const;
      lost[index]! += energy.lost(chooseBins(`fourier-${mode}`, mode, options, grid, target));
    });
  }
  const relativeErrors = TOKEN_SHARES.map((tokenShare, index) => ({
    tokenShare,
    relativeError: total === 0 ? 0 : Math.sqrt(lost[index]! / total),
  }));
  const best = relativeErrors.reduce((least, each) => (each.relativeError < least.relativeError ? each : least));
  return { tokenShare: best.tokenShare, relativeErrors };
}
