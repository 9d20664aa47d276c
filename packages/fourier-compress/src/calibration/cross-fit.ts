import { linear, tensor, tidy } from "@frugal/tensor-core";
import { eigh } from "@frugal/tensor-core/linalg";
import { SettingsError } from "../errors.ts";
import { channelStatistics, countRows, covariance } from "./covariance.ts";

/** A principal basis and how large coefficients in it are to be expected. */
export interface CrossFittedBasis {
  /** Orthonormal rows, the most energetic direction first, [hiddenSize, hiddenSize]. */
  readonly basis: Float32Array;
  /** Mean |coefficient| by rank, of rows that the basis was not made from, [hiddenSize]. */
  readonly coefficientScale: Float32Array;
}

/** Settings of `crossFittedBasis`. */
export interface CrossFitOptions {
  /** Ends it early: the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Rows whose coefficients are computed at a time. */
const ROWS_OF_A_PRODUCT = 4096;

/**
 * The basis of all rows, with scales by 2-fold cross-fitting: those of the second half's coefficients in the first half's basis and the
 * other way round, averaged by rank. Scales of the very rows that made the basis are far too small for its last directions, which fit
 * noise: on 4,096 rows of 2,048 channels they cost more than the transform gains. Rows in their order, so that halves share no text.
 * Three eigendecompositions: about 20 seconds for hiddenSize 2048.
 * @param rows [rows, hiddenSize], at least two
 * @throws SettingsError
 */
export async function crossFittedBasis(
  rows: Float32Array, hiddenSize: number, { signal }: CrossFitOptions = {},
): Promise<CrossFittedBasis> {
  const count = countRows(rows, hiddenSize);
  if (count < 2) throw new SettingsError(`${count} calibration row cannot be cross-fitted; give two at least, better ${hiddenSize}`);
  const { mean } = channelStatistics(rows, hiddenSize);
  const middle = Math.floor(count / 2) * hiddenSize;
  const halves = [rows.subarray(0, middle), rows.subarray(middle)] as const;
  const scale = new Float64Array(hiddenSize);
  for (const [fitted, measured] of [halves, [halves[1], halves[0]]] as const) {
    const basis = await principalBasis(fitted, mean, signal);
    const magnitudes = await meanMagnitudes(measured, mean, basis);
    for (let rank = 0; rank < hiddenSize; rank++) scale[rank]! += magnitudes[rank]! / 2;
  }
  return { basis: await principalBasis(rows, mean, signal), coefficientScale: Float32Array.from(scale) };
}

/** Orthonormal rows [hiddenSize, hiddenSize] by descending energy of the rows around the mean. */
export async function principalBasis(rows: Float32Array, mean: Float32Array, signal?: AbortSignal): Promise<Float32Array> {
  signal?.throwIfAborted();
  const width = mean.length;
  using matrix = covariance(rows, mean);
  const { eigenvalues, eigenvectors } = await eigh(matrix, signal === undefined ? {} : { signal });
  try {
    const columns = await eigenvectors.data("float32");
    const basis = new Float32Array(width * width);
    // Eigenvectors are columns, by ascending eigenvalue.
    for (let channel = 0; channel < width; channel++) {
      for (let rank = 0; rank < width; rank++) basis[rank * width + channel] = columns[channel * width + width - 1 - rank]!;
    }
    return basis;
  } finally {
    eigenvalues.dispose();
    eigenvectors.dispose();
  }
}

async function meanMagnitudes(rows: Float32Array, mean: Float32Array, basis: Float32Array): Promise<Float64Array> {
  const width = mean.length;
  const count = countRows(rows, width);
  const magnitudes = new Float64Array(width);
  for (let first = 0; first < count; first += ROWS_OF_A_PRODUCT) {
    const taken = Math.min(ROWS_OF_A_PRODUCT, count - first);
    using product = tidy(() => {
      const chunk = tensor(rows.subarray(first * width, (first + taken) * width), [taken, width], { device: "cpu" });
      return linear(chunk.subtract(tensor(mean, [width], { device: "cpu" })), tensor(basis, [width, width], { device: "cpu" }));
    });
    const coefficients = await product.data("float32");
    for (let place = 0; place < coefficients.length; place++) magnitudes[place % width]! += Math.abs(coefficients[place]!) / count;
  }
  return magnitudes;
}
