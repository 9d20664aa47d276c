/** What decompositions need of ml-matrix's matrices. */
import type { Matrix } from "ml-matrix";

/** The largest |entry|. */
export function largestMagnitude(matrix: Matrix): number {
  return Math.max(Math.abs(matrix.max()), Math.abs(matrix.min()));
}

/** The columns with these numbers, in this order. */
export function pickColumns(matrix: Matrix, columns: readonly number[]): Matrix {
  return matrix.subMatrixColumn([...columns], 0, matrix.rows - 1);
}

/** The entry of largest magnitude in a column, with its sign. */
export function largestEntry(matrix: Matrix, column: number): number {
  let largest = 0;
  for (let row = 0; row < matrix.rows; row++) {
    const value = matrix.get(row, column);
    // Entries equal but for rounding must not take turns: the first one counts.
    if (Math.abs(value) > Math.abs(largest) * (1 + 1e-9)) largest = value;
  }
  return largest;
}
