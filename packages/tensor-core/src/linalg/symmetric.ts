/** Symmetric input: read once both ways, so that what is not symmetric is refused. */
import type { Matrix } from "ml-matrix";
import { largestMagnitude } from "./columns.ts";
import { LinalgError } from "./errors.ts";
import { rowStart } from "./tridiagonal.ts";

/** How far mirrored entries may differ, relative to the largest entry. */
const relativeTolerance = 1e-6;

/** The symmetric part of a matrix that is symmetric but for rounding. @throws LinalgError otherwise */
export function symmetricPart(operation: string, matrix: Matrix): Matrix {
  const tolerance = relativeTolerance * largestMagnitude(matrix);
  const result = matrix.clone();
  for (let i = 0; i < matrix.rows; i++) {
    for (let j = 0; j < i; j++) {
      const [lower, upper] = [matrix.get(i, j), matrix.get(j, i)];
      if (Math.abs(lower - upper) > tolerance) throw asymmetric(operation, i, j, lower, upper);
      const mean = (lower + upper) / 2;
      result.set(i, j, mean);
      result.set(j, i, mean);
    }
  }
  return result;
}

/** As `symmetricPart`, of the row-major matrix from `start` on: its lower triangle, packed row by row. */
export function packSymmetricPart(operation: string, entries: ArrayLike<number>, start: number, size: number): Float64Array {
  let largest = 0;
  for (let i = start; i < start + size * size; i++) largest = Math.max(largest, Math.abs(entries[i]!));
  const tolerance = relativeTolerance * largest;
  const triangle = new Float64Array(rowStart(size));
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      const lower = entries[start + i * size + j]!;
      const upper = entries[start + j * size + i]!;
      if (Math.abs(lower - upper) > tolerance) throw asymmetric(operation, i, j, lower, upper);
      triangle[rowStart(i) + j] = (lower + upper) / 2;
    }
  }
  return triangle;
}

function asymmetric(operation: string, i: number, j: number, lower: number, upper: number): LinalgError {
  return new LinalgError(`${operation}: takes symmetric matrices, but entries [${i}, ${j}] and [${j}, ${i}] are ${lower} and ${upper}`);
}
