/** Eigenvectors of large symmetric matrices: reduction to tridiagonal form, divide and conquer, and back. */
import { applyReflections } from "./back-transform.ts";
import type { Pauses } from "./event-loop.ts";
import type { ProductDevice } from "./products.ts";
import { tridiagonalEigen } from "./tridiagonal-eigen.ts";
import { tridiagonalize } from "./tridiagonal.ts";

/** Eigenvalues in ascending order and eigenvectors as columns, [n, n]. */
export interface SymmetricEigen {
  readonly values: Float64Array;
  readonly vectors: Float32Array<ArrayBuffer>;
}

/**
 * The eigendecomposition of the symmetric matrix of `size` rows whose lower triangle is packed row by row in `triangle`, which is
 * overwritten. Eigenvalues are found in float64; vectors are multiplied in float32, orthonormal to about 1e-6. The entry of largest
 * magnitude in each vector is positive.
 */
export async function symmetricEigen(
  triangle: Float64Array,
  size: number,
  device: ProductDevice,
  pauses: Pauses,
): Promise<SymmetricEigen> {
  const reduced = await tridiagonalize(triangle, size, pauses);
  const { values, vectors: rows } = await tridiagonalEigen(reduced.diagonal, reduced.offDiagonal, device, pauses);
  const vectors = transposed(rows, size);
  await applyReflections(reduced, vectors, size, device, pauses);
  fixSigns(vectors, size);
  return { values, vectors };
}

function transposed(matrix: Float32Array, size: number): Float32Array<ArrayBuffer> {
  const result = new Float32Array(size * size);
  const tile = 32;
  for (let top = 0; top < size; top += tile) {
    const bottom = Math.min(size, top + tile);
    for (let left = 0; left < size; left += tile) {
      const right = Math.min(size, left + tile);
      for (let i = top; i < bottom; i++) for (let j = left; j < right; j++) result[j * size + i] = matrix[i * size + j]!;
    }
  }
  return result;
}

function fixSigns(vectors: Float32Array, size: number): void {
  const largest = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const value = vectors[i * size + j]!;
      // Entries equal but for rounding must not take turns: the first one counts.
      if (Math.abs(value) > Math.abs(largest[j]!) * (1 + 1e-4)) largest[j] = value;
    }
  }
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) if (largest[j]! < 0) vectors[i * size + j]! *= -1;
}
