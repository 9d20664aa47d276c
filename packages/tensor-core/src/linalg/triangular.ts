import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { tensor } from "../ops/creation.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { readEntries, readSquareEntries } from "./batches.ts";
import { LinalgError } from "./errors.ts";
import { createPauses, type Pauses } from "./event-loop.ts";

/** Options of `solveTriangular`. */
export interface SolveTriangularOptions {
  /** Which triangle of `a` is meant; the entries of the other are not looked at. Default false: the lower one. */
  readonly upper?: boolean | undefined;
  /** Where `a` stands: `a · x = b` (left, the default) or `x · a = b` (right). */
  readonly side?: "left" | "right" | undefined;
}

/**
 * x with `a · x = b` or, with side right, `x · a = b`, for triangular a [...batch, n, n] and b [...batch, n, k] (right: [...batch, k, n])
 * of the same batch; by substitution in float64. PyTorch's `torch.linalg.solve_triangular`. `x · l⁻¹` with the factor of `cholesky` is
 * `solveTriangular(l, x, { side: "right" })`; systems with lᵀ are those of `transpose(l)` with upper true.
 * @throws ShapeError; LinalgError for zeros on the diagonal
 */
export async function solveTriangular<Device extends DeviceName>(
  a: Tensor<Device>,
  b: Tensor<Device>,
  { upper = false, side = "left" }: SolveTriangularOptions = {},
): Promise<Tensor<Device>> {
  const triangles = await readSquareEntries("solveTriangular", a as unknown as Tensor);
  const sides = await readEntries("solveTriangular", b as unknown as Tensor);
  const n = triangles.rows;
  const isLeft = side === "left";
  if (!sameShape(sides.batch, triangles.batch) || (isLeft ? sides.rows : sides.columns) !== n) {
    throw new ShapeError(
      `solveTriangular: ${formatShape(b.shape)} does not fit matrices ${formatShape(a.shape)} on the ${side}; ` +
        `give ${formatShape(triangles.batch).slice(0, -1)}${triangles.batch.length > 0 ? ", " : ""}${isLeft ? `${n}, k` : `k, ${n}`}]`,
    );
  }
  const width = isLeft ? sides.columns : sides.rows;
  const size = n * width;
  const results = new Float32Array(sides.count * size);
  const pauses = createPauses(undefined);
  for (let index = 0; index < sides.count; index++) {
    // One system a row of `unknowns`, with the coefficients of one equation in each row of `equations`.
    const equations = copy(triangles.entries, index * n * n, n, n, !isLeft);
    const unknowns = copy(sides.entries, index * size, sides.rows, sides.columns, isLeft);
    for (let i = 0; i < n; i++) {
      if (equations[i * n + i] === 0)
        throw new LinalgError(`solveTriangular: the matrix of ${n} rows is singular (entry [${i}, ${i}] is 0); use leastSquares()`);
    }
    await substitute(equations, n, upper !== !isLeft, unknowns, width, pauses);
    if (!isLeft) results.set(unknowns, index * size);
    else for (let row = 0; row < width; row++) for (let i = 0; i < n; i++) results[index * size + i * width + row] = unknowns[row * n + i]!;
  }
  return tensor(results, b.shape, { device: b.device });
}

/** A matrix in float64, or its transpose. */
function copy(entries: ArrayLike<number>, start: number, rows: number, columns: number, isTransposed: boolean): Float64Array {
  const result = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[isTransposed ? j * rows + i : i * columns + j] = entries[start + i * columns + j]!;
  }
  return result;
}

/** Solves `equations · x = row` for every row of `unknowns` [count, n] in place, four at a time so that coefficients are loaded once. */
async function substitute(
  equations: Float64Array,
  n: number,
  isUpper: boolean,
  unknowns: Float64Array,
  count: number,
  pauses: Pauses,
): Promise<void> {
  for (let row = 0; row < count; row += 4) {
    // Missing rows of the last group are zeros, and stay so.
    const rows = Math.min(4, count - row);
    const group = new Float64Array(4 * n);
    group.set(unknowns.subarray(row * n, (row + rows) * n));
    substituteFour(equations, n, isUpper, group);
    unknowns.set(group.subarray(0, rows * n), row * n);
    await pauses.pause();
  }
}

function substituteFour(equations: Float64Array, n: number, isUpper: boolean, x: Float64Array): void {
  for (let step = 0; step < n; step++) {
    const i = isUpper ? n - 1 - step : step;
    const start = i * n;
    const to = isUpper ? n : i;
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    for (let j = isUpper ? i + 1 : 0; j < to; j++) {
      const coefficient = equations[start + j]!;
      sum0 += coefficient * x[j]!;
      sum1 += coefficient * x[n + j]!;
      sum2 += coefficient * x[2 * n + j]!;
      sum3 += coefficient * x[3 * n + j]!;
    }
    const pivot = equations[start + i]!;
    x[i] = (x[i]! - sum0) / pivot;
    x[n + i] = (x[n + i]! - sum1) / pivot;
    x[2 * n + i] = (x[2 * n + i]! - sum2) / pivot;
    x[3 * n + i] = (x[3 * n + i]! - sum3) / pivot;
  }
}
