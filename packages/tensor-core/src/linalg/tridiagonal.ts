/** Householder reduction of a symmetric matrix to a tridiagonal one, in float64. */
import type { Pauses } from "./event-loop.ts";

/** `a = q · t · qᵀ` with t tridiagonal and q the product of the reflections `H[n-1] · … · H[2]`, where `H[i] = I - v[i] · v[i]ᵀ`. */
export interface Tridiagonalization {
  /** t's diagonal, [n]. */
  readonly diagonal: Float64Array;
  /** Entry i couples rows i and i + 1 of t, [n - 1]. */
  readonly offDiagonal: Float64Array;
  /**
   * Rows of a lower triangle, row i from `rowStart(i)` on: its first i entries are v[i], of squared norm 2, or all 0 where nothing had to
   * be reflected. The entries from i on of v[i] are 0 and not stored.
   */
  readonly reflections: Float64Array;
}

/** Where row `i` of a packed lower triangle starts. */
export function rowStart(i: number): number {
  return (i * (i + 1)) / 2;
}

/**
 * Reduces the symmetric matrix of `size` rows whose lower triangle is packed row by row in `triangle`, which is overwritten and becomes the
 * result's `reflections`. Works from the last row up, so that every loop runs along rows; the rank-two update of one step and the
 * matrix-vector product of the next share one pass over the matrix, which is what the time goes to.
 */
export async function tridiagonalize(triangle: Float64Array, size: number, pauses: Pauses): Promise<Tridiagonalization> {
  const diagonal = new Float64Array(size);
  const offDiagonal = new Float64Array(Math.max(0, size - 1));
  // The pending update a -= v · wᵀ + w · vᵀ, and the product a · x of the pass.
  let v: Float64Array = new Float64Array(size);
  let x: Float64Array = new Float64Array(size);
  const w = new Float64Array(size);
  const product = new Float64Array(size);
  for (let row = size - 1; row >= 0; row--) {
    const start = rowStart(row);
    const [vRow, wRow] = [v[row]!, w[row]!];
    for (let j = 0; j <= row; j++) triangle[start + j]! -= vRow * w[j]! + wRow * v[j]!;
    diagonal[row] = triangle[start + row]!;
    if (row === 0) break;
    offDiagonal[row - 1] = reflect(triangle, start, row);
    for (let j = 0; j < row; j++) x[j] = triangle[start + j]!;
    product.fill(0, 0, row);
    updateAndMultiply(triangle, row, v, w, x, product);
    // w = product - x · (productᵀ · x) / 2, so that (I - x xᵀ) a (I - x xᵀ) = a - x wᵀ - w xᵀ.
    let overlap = 0;
    for (let j = 0; j < row; j++) overlap += product[j]! * x[j]!;
    for (let j = 0; j < row; j++) w[j] = product[j]! - 0.5 * overlap * x[j]!;
    [v, x] = [x, v];
    if (row % 16 === 0) await pauses.pause();
  }
  return { diagonal, offDiagonal, reflections: triangle };
}

/** Squares below this have lost digits. What they come from is zero beside any entry that was a float32 once. */
const negligibleSquares = 1e-280;

/**
 * Replaces the vector of `length` entries at `start` by v of the reflection `I - v · vᵀ` that leaves only its last entry, and returns what
 * that entry becomes.
 */
function reflect(values: Float64Array, start: number, length: number): number {
  const end = start + length - 1;
  let rest = 0;
  for (let j = start; j < end; j++) rest += values[j]! * values[j]!;
  const last = values[end]!;
  if (rest < negligibleSquares) {
    values.fill(0, start, start + length);
    return last;
  }
  const norm = Math.sqrt(rest + last * last);
  // The sign that adds magnitudes, so that nothing cancels.
  const image = last > 0 ? -norm : norm;
  const pivot = last - image;
  const scale = Math.sqrt(2 / (rest + pivot * pivot));
  for (let j = start; j < end; j++) values[j]! *= scale;
  values[end] = pivot * scale;
  return image;
}

/** On the leading `size` rows: `a -= v · wᵀ + w · vᵀ`, then `product += a · x`. Two rows at a time, which halves the loads. */
function updateAndMultiply(
  triangle: Float64Array,
  size: number,
  v: Float64Array,
  w: Float64Array,
  x: Float64Array,
  product: Float64Array,
): void {
  let row = 0;
  for (; row + 1 < size; row += 2) {
    const upper = rowStart(row);
    const lower = upper + row + 1;
    const [v0, w0, x0] = [v[row]!, w[row]!, x[row]!];
    const [v1, w1, x1] = [v[row + 1]!, w[row + 1]!, x[row + 1]!];
    let sum0 = 0;
    let sum1 = 0;
    for (let j = 0; j < row; j++) {
      const vj = v[j]!;
      const wj = w[j]!;
      const xj = x[j]!;
      const a0 = triangle[upper + j]! - v0 * wj - w0 * vj;
      const a1 = triangle[lower + j]! - v1 * wj - w1 * vj;
      triangle[upper + j] = a0;
      triangle[lower + j] = a1;
      sum0 += a0 * xj;
      sum1 += a1 * xj;
      product[j]! += a0 * x0 + a1 * x1;
    }
    const corner = triangle[upper + row]! - 2 * v0 * w0;
    const side = triangle[lower + row]! - v1 * w0 - w1 * v0;
    const next = triangle[lower + row + 1]! - 2 * v1 * w1;
    triangle[upper + row] = corner;
    triangle[lower + row] = side;
    triangle[lower + row + 1] = next;
    product[row]! += sum0 + corner * x0 + side * x1;
    product[row + 1]! += sum1 + side * x0 + next * x1;
  }
  if (row < size) {
    const start = rowStart(row);
    const [v0, w0, x0] = [v[row]!, w[row]!, x[row]!];
    let sum = 0;
    for (let j = 0; j <= row; j++) {
      const a = triangle[start + j]! - v0 * w[j]! - w0 * v[j]!;
      triangle[start + j] = a;
      sum += a * x[j]!;
      if (j < row) product[j]! += a * x0;
    }
    product[row]! += sum;
  }
}
