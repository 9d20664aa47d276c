import { EigenvalueDecomposition, type Matrix } from "ml-matrix";
import type { DeviceName } from "../backend/backend.ts";
import { tensor } from "../ops/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { readSquareEntries, toMatrices } from "./batches.ts";
import { largestEntry, pickColumns } from "./columns.ts";
import { createPauses } from "./event-loop.ts";
import { packSymmetricPart, symmetricPart } from "./symmetric.ts";
import { symmetricEigen } from "./symmetric-eigen.ts";

/** `a = eigenvectors · diag(eigenvalues) · eigenvectorsᵀ`. */
export interface EighResult<Device extends DeviceName = DeviceName> {
  /** Ascending, [...batch, n]. */
  readonly eigenvalues: Tensor<Device>;
  /** Orthonormal columns in the order of the eigenvalues, [...batch, n, n]. The entry of largest magnitude in each is positive. */
  readonly eigenvectors: Tensor<Device>;
}

/** Options of `eigh`. */
export interface EighOptions {
  /** Ends the computation of a large matrix early; the promise is then rejected with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Up to here ml-matrix is as fast. */
const largestSmall = 128;

/**
 * Eigenvalues and eigenvectors of symmetric matrices [...batch, n, n]; NumPy's `eigh(a)` with fixed signs. Eigenvalues are computed in
 * float64. So are eigenvectors up to n = 128; those of larger matrices are found by divide and conquer with products in float32,
 * orthonormal to about 1e-6, while the event loop gets a turn now and then: about five seconds and 160 MB (40 n² bytes) for n = 2048.
 * @throws ShapeError; LinalgError for matrices that are not symmetric to six digits; the signal's reason once it is aborted
 */
export async function eigh<Device extends DeviceName>(a: Tensor<Device>, { signal }: EighOptions = {}): Promise<EighResult<Device>> {
  const input = await readSquareEntries("eigh", a as unknown as Tensor);
  const { entries, count, batch, rows } = input;
  const size = rows * rows;
  const values = new Float32Array(count * rows);
  const vectors = new Float32Array(count * size);
  if (rows <= largestSmall) {
    toMatrices(input).matrices.forEach((matrix, index) => {
      const part = smallEigen(matrix);
      values.set(part.values, index * rows);
      vectors.set(part.vectors.to1DArray(), index * size);
    });
  } else {
    const pauses = createPauses(signal);
    // A GPU would have to be waited for at every product, and rounds as it likes.
    const device = a.device === "reference" ? "reference" : "cpu";
    for (let index = 0; index < count; index++) {
      const part = await symmetricEigen(packSymmetricPart("eigh", entries, index * size, rows), rows, device, pauses);
      values.set(part.values, index * rows);
      vectors.set(part.vectors, index * size);
    }
  }
  return {
    eigenvalues: tensor(values, [...batch, rows], { device: a.device }),
    eigenvectors: tensor(vectors, [...batch, rows, rows], { device: a.device }),
  };
}

function smallEigen(matrix: Matrix): { values: number[]; vectors: Matrix } {
  const result = new EigenvalueDecomposition(symmetricPart("eigh", matrix), { assumeSymmetric: true });
  const values = result.realEigenvalues;
  const order = values.map((_, index) => index).sort((i, j) => values[i]! - values[j]!);
  const vectors = pickColumns(result.eigenvectorMatrix, order);
  for (let column = 0; column < matrix.rows; column++) if (largestEntry(vectors, column) < 0) vectors.mulColumn(column, -1);
  return { values: order.map((index) => values[index]!), vectors };
}
