import { halfWidth, type FourierBins, type GridSize } from "./fourier-bins.ts";
import type { HostSpectrum } from "./fourier-packing.ts";

/**
 * The energy of rows in their Fourier bins: by Parseval's identity ‖A‖² = ‖F‖² / (S·D), so the error of any block is known without
 * transforming it back. Sums of rows are kept, so that a block costs S additions.
 */
export class FourierEnergy {
  /** ‖A‖². */
  readonly total: number;
  readonly #sums: Float64Array;
  readonly #stride: number;

  /** @param spectrum whole half spectrum, [S, floor(D/2) + 1] */
  constructor({ real, imaginary }: HostSpectrum, { tokens, hiddenSize }: GridSize) {
    const columns = halfWidth(hiddenSize);
    this.#stride = columns + 1;
    this.#sums = new Float64Array(tokens * this.#stride);
    const norm = 1 / (tokens * hiddenSize);
    let total = 0;
    for (let u = 0; u < tokens; u++) {
      let sum = 0;
      for (let v = 0; v < columns; v++) {
        const [a, b] = [real[u * columns + v]!, imaginary[u * columns + v]!];
        // Between the columns that mirror onto themselves, each stands for its mirror too.
        const count = v === 0 || 2 * v === hiddenSize ? norm : 2 * norm;
        sum += count * (a * a + b * b);
        this.#sums[u * this.#stride + v + 1] = sum;
      }
      total += sum;
    }
    this.total = total;
  }

  /** ‖A′ - A‖² of a block before its numbers are rounded. A bin that comes back with weight w loses (1 - w)² of its energy. */
  lost(bins: FourierBins): number {
    const { columns, split, grid } = bins;
    let kept = 0;
    for (let u = 0; u < grid.tokens; u++) {
      const { first, near, far } = bins.weights(u);
      const row = u * this.#stride;
      const sums = this.#sums;
      if (first !== 0) kept += share(first) * sums[row + 1]!;
      if (near !== 0) kept += share(near) * (sums[row + split]! - sums[row + 1]!);
      if (far !== 0) kept += share(far) * (sums[row + columns]! - sums[row + split]!);
    }
    return Math.max(0, this.total - kept);
  }
}

function share(weight: number): number {
  return 1 - (1 - weight) ** 2;
}
