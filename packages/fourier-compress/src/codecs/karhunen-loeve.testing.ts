import { channelStatistics } from "../calibration/covariance.ts";
import { crossFittedBasis } from "../calibration/cross-fit.ts";
import type { CodecTable } from "../calibration/codec-table.ts";

/**
 * Rows as activations are: channels of very different scales around a mean, a tenth as many directions as channels mixed in, tokens of
 * their own size. From a linear congruential generator, so that tests repeat.
 */
export function activationLikeRows(tokens: number, width: number, seed: number): Float32Array {
  let state = seed >>> 0;
  const uniform = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const normal = (): number => uniform() + uniform() + uniform() + uniform() - 2;
  const directions = Math.max(1, Math.round(width / 10));
  const rows = new Float32Array(tokens * width);
  for (let token = 0; token < tokens; token++) {
    const size = 2 ** (2 * normal());
    const parts = Array.from({ length: directions }, () => normal() * size);
    for (let channel = 0; channel < width; channel++) {
      const scale = 0.02 / (1 + (channel % 7));
      const common = parts[channel % directions]! + 0.5 * parts[(channel * 3) % directions]!;
      rows[token * width + channel] = scale * (common + 0.4 * normal() * size + ((channel * 5) % 11) - 5);
    }
  }
  return rows;
}

/** A table of such rows. */
export async function activationLikeTable(width: number): Promise<CodecTable> {
  const rows = activationLikeRows(2 * width + 64, width, 99);
  return {
    model: "test", block: 1, hiddenSize: width, rows: rows.length / width, ...channelStatistics(rows, width),
    ...(await crossFittedBasis(rows, width)), spikeNorm: Infinity, fourierTokenShare: 0.2, rates: {}, hash: "",
  };
}

/** ‖A′ - A‖ / ‖A‖. */
export function relativeError(decoded: Float32Array, original: Float32Array): number {
  let [error, energy] = [0, 0];
  for (let place = 0; place < original.length; place++) {
    error += (decoded[place]! - original[place]!) ** 2;
    energy += original[place]! ** 2;
  }
  return Math.sqrt(error / energy);
}
