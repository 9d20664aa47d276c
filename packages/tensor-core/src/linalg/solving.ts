import { LuDecomposition, Matrix } from "ml-matrix";
import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { expandDims } from "../ops/views.ts";
import { tensor } from "../ops/creation.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { readMatrices, readSquare, writeMatrices, writeVectors, type MatrixBatch } from "./batches.ts";
import { largestMagnitude } from "./columns.ts";
import { decompose } from "./decompositions.ts";
import { LinalgError } from "./errors.ts";

const doubleEpsilon = 2 ** -52;
const singleEpsilon = 2 ** -23;

/** @throws LinalgError when a pivot is nothing but rounding of the matrix's entries */
function factorize(operation: string, matrix: Matrix): LuDecomposition {
  const lu = new LuDecomposition(matrix);
  const limit = matrix.rows * doubleEpsilon * largestMagnitude(matrix);
  const upper = lu.upperTriangularMatrix;
  for (let i = 0; i < matrix.rows; i++) {
    if (Math.abs(upper.get(i, i)) <= limit) {
      throw new LinalgError(
        `${operation}: the matrix of ${matrix.rows} rows is singular (pivot ${i} is ${upper.get(i, i)}); use pseudoInverse() or leastSquares()`,
      );
    }
  }
  return lu;
}

/** The right-hand sides for matrices `a`: a vector [m] for one matrix, or matrices [...batch, m, k]. */
async function readRightSides(operation: string, a: MatrixBatch, b: Tensor): Promise<{ sides: MatrixBatch; isVector: boolean }> {
  const isVector = b.rank === 1 && a.batch.length === 0;
  const column = isVector ? expandDims(b, 1) : b;
  try {
    const sides = await readMatrices(operation, column);
    if (!sameShape(sides.batch, a.batch) || sides.rows !== a.rows) {
      throw new ShapeError(
        `${operation}: the right-hand side ${formatShape(b.shape)} does not fit matrices ${formatShape([...a.batch, a.rows, a.columns])}; give [..., ${a.rows}, k]`,
      );
    }
    return { sides, isVector };
  } finally {
    if (isVector) column.dispose();
  }
}

function writeSolutions<Device extends DeviceName>(
  solutions: readonly Matrix[],
  a: MatrixBatch,
  sides: MatrixBatch,
  isVector: boolean,
  like: Tensor<Device>,
): Tensor<Device> {
  return isVector
    ? writeVectors(
        solutions.map((solution) => solution.to1DArray()),
        [],
        a.columns,
        like,
      )
    : writeMatrices(solutions, a.batch, a.columns, sides.columns, like);
}

/**
 * x with `a · x = b`, by LU with partial pivoting in float64: a [...batch, n, n], b [...batch, n, k] (or [n] for one matrix).
 * @throws ShapeError; LinalgError for singular matrices
 */
export async function solve<Device extends DeviceName>(a: Tensor<Device>, b: Tensor<Device>): Promise<Tensor<Device>> {
  const matrices = await readSquare("solve", a as unknown as Tensor);
  const { sides, isVector } = await readRightSides("solve", matrices, b as unknown as Tensor);
  const solutions = matrices.matrices.map((matrix, index) => factorize("solve", matrix).solve(sides.matrices[index]!));
  return writeSolutions(solutions, matrices, sides, isVector, a);
}

/**
 * Inverses of [...batch, n, n], in float64; `solve` is the better way to a product with one. @throws ShapeError; LinalgError for singular
 * matrices
 */
export async function inverse<Device extends DeviceName>(a: Tensor<Device>): Promise<Tensor<Device>> {
  const { matrices, batch, rows } = await readSquare("inverse", a as unknown as Tensor);
  return writeMatrices(
    matrices.map((matrix) => factorize("inverse", matrix).solve(Matrix.eye(rows))),
    batch,
    rows,
    rows,
    a,
  );
}

/**
 * Determinants of [...batch, n, n], a tensor [...batch]; 0 for singular matrices, as far as float64 tells. @throws ShapeError, LinalgError
 */
export async function determinant<Device extends DeviceName>(a: Tensor<Device>): Promise<Tensor<Device>> {
  const { matrices, batch } = await readSquare("determinant", a as unknown as Tensor);
  return tensor(
    Float32Array.from(matrices, (matrix) => new LuDecomposition(matrix).determinant),
    batch,
    { device: a.device },
  );
}

/** How small singular values are taken for zero. */
export interface ToleranceOptions {
  /**
   * Relative to the largest singular value; default: float32's 1.2e-7 times the larger side of the matrix, since that is how exactly
   * entries are known.
   */
  readonly tolerance?: number;
}

interface Inverted {
  readonly matrix: Matrix;
  readonly rank: number;
}

function invertBySvd(matrix: Matrix, { tolerance = singleEpsilon * Math.max(matrix.rows, matrix.columns) }: ToleranceOptions): Inverted {
  const { u, values, v } = decompose(matrix);
  const limit = tolerance * values[0]!;
  let rank = 0;
  values.forEach((value, column) => {
    const used = value > limit;
    if (used) rank++;
    v.mulColumn(column, used ? 1 / value : 0);
  });
  return { matrix: v.mmul(u.transpose()), rank };
}

/**
 * x of least norm among those with the least ‖a · x − b‖, by the singular value decomposition: a [...batch, m, n], b [...batch, m, k] (or
 * [m] for one matrix). NumPy's
 * `lstsq(a, b)[0]`; any shape and rank of a.
 * @throws ShapeError, LinalgError
 */
export async function leastSquares<Device extends DeviceName>(
  a: Tensor<Device>,
  b: Tensor<Device>,
  options: ToleranceOptions = {},
): Promise<Tensor<Device>> {
  const matrices = await readMatrices("leastSquares", a as unknown as Tensor);
  const { sides, isVector } = await readRightSides("leastSquares", matrices, b as unknown as Tensor);
  const solutions = matrices.matrices.map((matrix, index) => invertBySvd(matrix, options).matrix.mmul(sides.matrices[index]!));
  return writeSolutions(solutions, matrices, sides, isVector, a);
}

/** Moore–Penrose inverses of [...batch, m, n], [...batch, n, m]. @throws ShapeError, LinalgError */
export async function pseudoInverse<Device extends DeviceName>(a: Tensor<Device>, options: ToleranceOptions = {}): Promise<Tensor<Device>> {
  const { matrices, batch, rows, columns } = await readMatrices("pseudoInverse", a as unknown as Tensor);
  return writeMatrices(
    matrices.map((matrix) => invertBySvd(matrix, options).matrix),
    batch,
    columns,
    rows,
    a,
  );
}

/** How many singular values of each matrix are above the tolerance, an int32 tensor [...batch]. @throws ShapeError, LinalgError */
export async function matrixRank<Device extends DeviceName>(a: Tensor<Device>, options: ToleranceOptions = {}): Promise<Tensor<Device>> {
  const { matrices, batch } = await readMatrices("matrixRank", a as unknown as Tensor);
  return tensor(
    Int32Array.from(matrices, (matrix) => invertBySvd(matrix, options).rank),
    batch,
    { device: a.device },
  );
}
