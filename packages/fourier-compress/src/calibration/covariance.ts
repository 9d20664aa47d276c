import { matmul, tensor, tidy, transpose, type Tensor } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";

/** What rows say of each channel alone. */
export interface ChannelStatistics {
  /** [hiddenSize]. */
  readonly mean: Float32Array;
  /** Mean |x - mean|, [hiddenSize]. */
  readonly channelScale: Float32Array;
  /** Mean x², [hiddenSize]. */
  readonly secondMoment: Float32Array;
}

/** Rows of one product: bounds what a covariance takes beside its result. */
const ROWS_OF_A_PRODUCT = 4096;

/** Number of rows in [rows, hiddenSize]. @throws SettingsError for none, or a broken one */
export function countRows(rows: Float32Array, hiddenSize: number): number {
  const count = rows.length / hiddenSize;
  if (!Number.isInteger(count) || count < 1) {
    throw new SettingsError(`${rows.length} values are not rows of ${hiddenSize}; give at least one whole row`);
  }
  return count;
}

/** @param rows [rows, hiddenSize] @throws SettingsError */
export function channelStatistics(rows: Float32Array, hiddenSize: number): ChannelStatistics {
  const count = countRows(rows, hiddenSize);
  const mean = new Float64Array(hiddenSize);
  const secondMoment = new Float64Array(hiddenSize);
  const scale = new Float64Array(hiddenSize);
  for (let place = 0; place < rows.length; ) {
    for (let channel = 0; channel < hiddenSize; channel++, place++) {
      const value = rows[place]!;
      mean[channel]! += value / count;
      secondMoment[channel]! += (value * value) / count;
    }
  }
  // The codecs subtract the mean as it is stored.
  const stored = Float32Array.from(mean);
  for (let place = 0; place < rows.length; ) {
    for (let channel = 0; channel < hiddenSize; channel++, place++) scale[channel]! += Math.abs(rows[place]! - stored[channel]!) / count;
  }
  return { mean: stored, channelScale: Float32Array.from(scale), secondMoment: Float32Array.from(secondMoment) };
}

/** Mean of (x - mean)ᵀ(x - mean), [hiddenSize, hiddenSize], for the caller to dispose. @throws SettingsError */
export function covariance(rows: Float32Array, mean: Float32Array): Tensor<"cpu"> {
  const width = mean.length;
  const count = countRows(rows, width);
  return tidy(() => {
    const center = tensor(mean, [width], { device: "cpu" });
    let total: Tensor<"cpu"> | undefined;
    for (let first = 0; first < count; first += ROWS_OF_A_PRODUCT) {
      const taken = Math.min(ROWS_OF_A_PRODUCT, count - first);
      const part = tidy(() => {
        const chunk = tensor(rows.subarray(first * width, (first + taken) * width), [taken, width], { device: "cpu" });
        const centred = chunk.subtract(center);
        const product = matmul(transpose(centred), centred);
        return total === undefined ? product : total.add(product);
      });
      total?.dispose();
      total = part;
    }
    return total!.multiply(1 / count);
  });
}
