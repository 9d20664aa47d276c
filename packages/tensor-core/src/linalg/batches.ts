/** Tensors to ml-matrix and back: the last two axes are matrices, those before them a batch. */
import { Matrix } from "ml-matrix";
import type { DeviceName } from "../backend/backend.ts";
import { DtypeError, ShapeError } from "../errors.ts";
import { tensor } from "../ops/creation.ts";
import { data } from "../ops/reading.ts";
import { formatShape, sizeOf, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { LinalgError } from "./errors.ts";

/** The matrices of a tensor, in double precision. */
export interface MatrixBatch {
  readonly matrices: readonly Matrix[];
  /** Axes before the last two. */
  readonly batch: Shape;
  readonly rows: number;
  readonly columns: number;
}

/** The matrices of a tensor as it holds them. */
export interface EntryBatch {
  /** Row-major, one matrix after the other. */
  readonly entries: ArrayLike<number>;
  /** How many matrices there are. */
  readonly count: number;
  /** Axes before the last two. */
  readonly batch: Shape;
  readonly rows: number;
  readonly columns: number;
}

/** Reads float tensors of rank 2 and more. @throws ShapeError, DtypeError; LinalgError for entries that are not finite */
export async function readEntries(operation: string, input: Tensor): Promise<EntryBatch> {
  if (input.rank < 2)
    throw new ShapeError(`${operation}: takes matrices, got shape ${formatShape(input.shape)}; add an axis with expandDims()`);
  const batch = input.shape.slice(0, -2);
  const [rows, columns] = input.shape.slice(-2) as [number, number];
  if (rows === 0 || columns === 0) throw new ShapeError(`${operation}: the matrices of shape ${formatShape(input.shape)} are empty`);
  return { entries: await readNumbers(operation, input), count: sizeOf(batch), batch, rows, columns };
}

/** As `readEntries`. @throws ShapeError too, for matrices that are not square */
export async function readSquareEntries(operation: string, input: Tensor): Promise<EntryBatch> {
  const [rows, columns] = input.shape.slice(-2);
  if (input.rank >= 2 && rows !== columns)
    throw new ShapeError(`${operation}: takes square matrices, got shape ${formatShape(input.shape)}`);
  return readEntries(operation, input);
}

/** As `readEntries`, for ml-matrix. */
export async function readMatrices(operation: string, input: Tensor): Promise<MatrixBatch> {
  return toMatrices(await readEntries(operation, input));
}

/** As `readSquareEntries`, for ml-matrix. */
export async function readSquare(operation: string, input: Tensor): Promise<MatrixBatch> {
  return toMatrices(await readSquareEntries(operation, input));
}

/** Entries as ml-matrix takes them. */
export function toMatrices({ entries, count, batch, rows, columns }: EntryBatch): MatrixBatch {
  const size = rows * columns;
  const matrices = Array.from({ length: count }, (_, index) => toMatrix(entries, index * size, rows, columns));
  return { matrices, batch, rows, columns };
}

async function readNumbers(operation: string, input: Tensor): Promise<ArrayLike<number>> {
  if (input.dtype === "bool") throw new DtypeError(`${operation}: takes numbers, got bool; convert with cast()`);
  const values = await data(input, "float32");
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i]))
      throw new LinalgError(`${operation}: entry ${i} of the input (row-major) is ${values[i]}; all entries must be finite`);
  }
  return values;
}

function toMatrix(values: ArrayLike<number>, start: number, rows: number, columns: number): Matrix {
  const matrix = new Matrix(rows, columns);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) matrix.set(row, column, values[start + row * columns + column]!);
  return matrix;
}

/** Equal matrices as one float32 tensor [...batch, rows, columns] on the device of `like`. */
export function writeMatrices<Device extends DeviceName>(
  matrices: readonly Matrix[],
  batch: Shape,
  rows: number,
  columns: number,
  like: Tensor<Device>,
): Tensor<Device> {
  const values = new Float32Array(matrices.length * rows * columns);
  matrices.forEach((matrix, index) => values.set(matrix.to1DArray(), index * rows * columns));
  return tensor(values, [...batch, rows, columns], { device: like.device });
}

/** Equally long vectors as one float32 tensor [...batch, length] on the device of `like`. */
export function writeVectors<Device extends DeviceName>(
  vectors: readonly (readonly number[])[],
  batch: Shape,
  length: number,
  like: Tensor<Device>,
): Tensor<Device> {
  return tensor(Float32Array.from(vectors.flat()), [...batch, length], { device: like.device });
}
