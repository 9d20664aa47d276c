import type { DeviceName } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { tidy } from "../tensor/scope.ts";
import { formatShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { greaterEqual, lessEqual, where } from "./compare.ts";
import { arange } from "./creation.ts";
import { fillLike } from "./materialize.ts";
import { reshape } from "./views.ts";

function triangle<Device extends DeviceName>(operation: "triu" | "tril", input: Tensor<Device>, diagonal: number): Tensor<Device> {
  if (input.rank < 2) throw new ShapeError(`${operation}: needs two axes, got ${formatShape(input.shape)}`);
  if (!Number.isInteger(diagonal)) throw new ShapeError(`${operation}: diagonal ${diagonal} is no integer`);
  const [rows, columns] = input.shape.slice(-2) as [number, number];
  const { device } = input;
  return tidy(() => {
    // The column that the diagonal crosses, for each row.
    const crossing = reshape(arange(diagonal, rows + diagonal, 1, { device }), [rows, 1]);
    const column = arange(0, columns, 1, { device });
    const kept = operation === "tril" ? lessEqual(column, crossing) : greaterEqual(column, crossing);
    const zero = fillLike<Device>({ shape: [], dtype: input.dtype, backend: input.storage.backend }, 0);
    return where(kept, input, zero);
  });
}

/**
 * The lower triangle of the last two axes, zeros above: what lies up to `diagonal` places right of the main diagonal stays. @throws
 * ShapeError
 */
export function tril<Device extends DeviceName>(input: Tensor<Device>, diagonal: number = 0): Tensor<Device> {
  return triangle("tril", input, diagonal);
}

/**
 * The upper triangle of the last two axes, zeros below: what lies from `diagonal` places right of the main diagonal on stays. @throws
 * ShapeError
 */
export function triu<Device extends DeviceName>(input: Tensor<Device>, diagonal: number = 0): Tensor<Device> {
  return triangle("triu", input, diagonal);
}
