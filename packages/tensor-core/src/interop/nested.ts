import type { DeviceName } from "../backend/backend.ts";
import { DtypeError, ShapeError } from "../errors.ts";
import { tensor, type TensorOptions } from "../ops/creation.ts";
import { data } from "../ops/reading.ts";
import type { TypedArray } from "../tensor/dtype.ts";
import { formatShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Typed arrays of equal length in nested arrays: `[Float32Array, Float32Array]` is a matrix of two rows. */
export type NestedTypedArray = TypedArray | readonly NestedTypedArray[];

/**
 * A tensor from nested arrays of typed arrays, e.g. one channel of sound each. The dtype is that of the arrays.
 * @throws ShapeError for ragged arrays, DtypeError for arrays of different types
 */
export function fromNestedTypedArrays<Device extends DeviceName = "cpu">(
  nested: NestedTypedArray,
  options: TensorOptions<Device> = {},
): Tensor<Device> {
  const rows: TypedArray[] = [];
  const shape: number[] = [];
  for (
    let level: NestedTypedArray | undefined = nested;
    level !== undefined;
    level = Array.isArray(level) ? (level as readonly NestedTypedArray[])[0] : undefined
  ) {
    shape.push(level.length);
  }
  const visit = (value: NestedTypedArray, depth: number): void => {
    const last = depth === shape.length - 1;
    if (value?.length !== shape[depth] || ArrayBuffer.isView(value) !== last) {
      throw new ShapeError(
        `fromNestedTypedArrays: the arrays are ragged; expected ${last ? "a typed array" : "an array"} of ${shape[depth]} at depth ${depth} for shape ${formatShape(shape)}`,
      );
    }
    if (!last) for (const entry of value as readonly NestedTypedArray[]) visit(entry, depth + 1);
    else rows.push(value as TypedArray);
  };
  const first = firstRow(nested);
  visit(nested, 0);
  const length = first.length;
  const values = new (first.constructor as new (length: number) => TypedArray)(rows.length * length);
  rows.forEach((row, index) => {
    if (row.constructor !== first.constructor) {
      throw new DtypeError(
        `fromNestedTypedArrays: the arrays are of different types, ${first.constructor.name} and ${row.constructor.name}`,
      );
    }
    values.set(row, index * length);
  });
  return tensor(values, shape, options);
}

function firstRow(nested: NestedTypedArray): TypedArray {
  let level: NestedTypedArray | undefined = nested;
  while (Array.isArray(level)) level = (level as readonly NestedTypedArray[])[0];
  if (!ArrayBuffer.isView(level))
    throw new ShapeError("fromNestedTypedArrays: no typed array inside; use tensor() for nested arrays of numbers");
  return level;
}

/**
 * The elements as nested arrays of typed arrays, one typed array for each row of the last axis; float16 as float32. A scalar gives an array
 * of one.
 */
export async function toNestedTypedArrays(input: Tensor): Promise<NestedTypedArray> {
  const flat = await data(input);
  const width = input.shape.at(-1) ?? 1;
  let position = 0;
  const build = (axis: number): NestedTypedArray => {
    if (axis >= input.rank - 1) return flat.subarray(position, (position += width));
    return Array.from({ length: input.shape[axis]! }, () => build(axis + 1));
  };
  return build(0);
}
