import { CholeskyDecomposition, QrDecomposition, SingularValueDecomposition, type Matrix } from "ml-matrix";
import type { DeviceName } from "../backend/backend.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { readMatrices, readSquare, writeMatrices, writeVectors } from "./batches.ts";
import { LinalgError } from "./errors.ts";
import { largestEntry, pickColumns } from "./columns.ts";
import { symmetricPart } from "./symmetric.ts";

/** `a = u · diag(singularValues) · vh`, with r = min(m, n). */
export interface SvdResult<Device extends DeviceName = DeviceName> {
  /** Orthonormal columns, [...batch, m, r]. The entry of largest magnitude in each column is positive. */
  readonly u: Tensor<Device>;
  /** Descending, not negative, [...batch, r]. */
  readonly singularValues: Tensor<Device>;
  /** Orthonormal rows, [...batch, r, n]. */
  readonly vh: Tensor<Device>;
}

/**
 * Singular value decompositions of [...batch, m, n], in float64; NumPy's `svd(a, full_matrices=False)` but for the signs, which are fixed
 * (see `SvdResult.u`).
 * @throws ShapeError, LinalgError
 */
export async function svd<Device extends DeviceName>(a: Tensor<Device>): Promise<SvdResult<Device>> {
  const { matrices, batch, rows, columns } = await readMatrices("svd", a as unknown as Tensor);
  const parts = matrices.map(decompose);
  const rank = Math.min(rows, columns);
  return {
    u: writeMatrices(
      parts.map((part) => part.u),
      batch,
      rows,
      rank,
      a,
    ),
    singularValues: writeVectors(
      parts.map((part) => part.values),
      batch,
      rank,
      a,
    ),
    vh: writeMatrices(
      parts.map((part) => part.v.transpose()),
      batch,
      rank,
      columns,
      a,
    ),
  };
}

/** The parts of one matrix: columns of u and v belong to `values`, which descend. */
export function decompose(matrix: Matrix): { u: Matrix; values: number[]; v: Matrix } {
  const result = new SingularValueDecomposition(matrix, { autoTranspose: true });
  const rank = Math.min(matrix.rows, matrix.columns);
  const order = result.diagonal
    .map((_, index) => index)
    .sort((i, j) => result.diagonal[j]! - result.diagonal[i]!)
    .slice(0, rank);
  const u = pickColumns(result.leftSingularVectors, order);
  const v = pickColumns(result.rightSingularVectors, order);
  for (let column = 0; column < rank; column++) {
    if (largestEntry(u, column) >= 0) continue;
    u.mulColumn(column, -1);
    v.mulColumn(column, -1);
  }
  return { u, values: order.map((index) => result.diagonal[index]!), v };
}

/** An orthonormal and an upper triangular factor: `a = q · r`, with k = min(m, n). */
export interface QrResult<Device extends DeviceName = DeviceName> {
  /** Orthonormal columns, [...batch, m, k]. */
  readonly q: Tensor<Device>;
  /** Upper triangular, its diagonal not negative, [...batch, k, n]. */
  readonly r: Tensor<Device>;
}

/**
 * QR decompositions of [...batch, m, n] by Householder reflections in float64; NumPy's `qr(a)`, with the signs that make r's diagonal not
 * negative.
 * @throws ShapeError, LinalgError
 */
export async function qr<Device extends DeviceName>(a: Tensor<Device>): Promise<QrResult<Device>> {
  const { matrices, batch, rows, columns } = await readMatrices("qr", a as unknown as Tensor);
  const rank = Math.min(rows, columns);
  const parts = matrices.map((matrix) => {
    // The first columns give q; of a wide matrix the others are only rotated.
    const result = new QrDecomposition(matrix.subMatrix(0, rows - 1, 0, rank - 1));
    const q = result.orthogonalMatrix;
    const r = columns > rank ? q.transpose().mmul(matrix) : result.upperTriangularMatrix;
    for (let row = 0; row < rank; row++) {
      if (r.get(row, row) < 0) {
        r.mulRow(row, -1);
        q.mulColumn(row, -1);
      }
      for (let column = 0; column < row; column++) r.set(row, column, 0);
    }
    return { q, r };
  });
  return {
    q: writeMatrices(
      parts.map(({ q }) => q),
      batch,
      rows,
      rank,
      a,
    ),
    r: writeMatrices(
      parts.map(({ r }) => r),
      batch,
      rank,
      columns,
      a,
    ),
  };
}

/**
 * Lower triangular l with `a = l · lᵀ` and a positive diagonal, for symmetric positive definite [...batch, n, n], in float64.
 * @throws ShapeError; LinalgError for matrices that are not symmetric or not positive definite
 */
export async function cholesky<Device extends DeviceName>(a: Tensor<Device>): Promise<Tensor<Device>> {
  const { matrices, batch, rows } = await readSquare("cholesky", a as unknown as Tensor);
  const factors = matrices.map((matrix) => {
    const result = new CholeskyDecomposition(symmetricPart("cholesky", matrix));
    if (!result.isPositiveDefinite())
      throw new LinalgError(`cholesky: the matrix of ${rows} rows is not positive definite; add a multiple of the identity`);
    return result.lowerTriangularMatrix;
  });
  return writeMatrices(factors, batch, rows, rows, a);
}
