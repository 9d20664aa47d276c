/**
 * How reference kernels see tensors: `load` gathers a view of any dtype and strides into a row-major Float64Array, `store` scatters one
 * back and rounds once. Between the two every kernel is a plain loop over float64.
 */
import { DeviceError, DtypeError } from "../../errors.ts";
import { float16BitsToFloat32, float32ToFloat16Bits, itemSize, viewTypedArray } from "../../tensor/dtype.ts";
import type { Dtype, TypedArray } from "../../tensor/dtype.ts";
import type { TensorView } from "../backend.ts";
import { ExactBuffer, ReferenceBuffer } from "./memory.ts";
import { isContiguous } from "../../tensor/shape.ts";

/** Elements in a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Calls `visit` with every index of `shape` in row-major order. The index array is reused: copy it to keep it. */
export function forEachIndex(shape: readonly number[], visit: (index: readonly number[], position: number) => void): void {
  const count = elementCount(shape);
  const index = shape.map(() => 0);
  for (let position = 0; position < count; position++) {
    visit(index, position);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]! += 1;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
}

/** Place of an index in the buffer, in elements. */
export function elementOffset(index: readonly number[], strides: readonly number[], offset: number): number {
  return index.reduce((sum, position, axis) => sum + position * strides[axis]!, offset);
}

/** The part of a view at fixed positions of its leading axes. */
export function subview(view: TensorView, leading: readonly number[]): TensorView {
  return {
    buffer: view.buffer,
    dtype: view.dtype,
    shape: view.shape.slice(leading.length),
    strides: view.strides.slice(leading.length),
    offset: elementOffset(leading, view.strides, view.offset),
  };
}

/** All values of a view in row-major order. @throws DeviceError for foreign buffers, RangeError when the view leaves its buffer. */
export function load(view: TensorView): Float64Array {
  const storage = storageOf(view);
  const values = new Float64Array(elementCount(view.shape));
  if (isHalf(view)) forEachOffset(view, (place, position) => (values[position] = float16BitsToFloat32(storage[place]!)));
  else if (isContiguous(view.shape, view.strides)) values.set(storage.subarray(view.offset, view.offset + values.length));
  else forEachOffset(view, (place, position) => (values[position] = storage[place]!));
  return values;
}

/** Writes row-major values to a view. Floats round to nearest; int32 wraps; callers convert to 0 / 1 or saturate before. */
export function store(view: TensorView, values: ArrayLike<number>): void {
  const storage = storageOf(view);
  // float64 → float32 → float16 may round twice, but float32 is what kernels compute in by contract.
  if (isHalf(view)) forEachOffset(view, (place, position) => (storage[place] = float32ToFloat16Bits(Math.fround(values[position]!))));
  // An empty view may have its offset anywhere.
  else if (values.length > 0 && isContiguous(view.shape, view.strides)) storage.set(values, view.offset);
  else forEachOffset(view, (place, position) => (storage[place] = values[position]!));
}

/** What `value` becomes in a dtype: integers truncate and saturate, NaN = 0; bool is "not zero". Rounding of floats is left to `store`. */
export function convert(value: number, dtype: Dtype): number {
  switch (dtype) {
    case "float32":
    case "float16":
      return value;
    case "bool":
      return value === 0 ? 0 : 1;
    case "int32":
      return saturate(value, -(2 ** 31), 2 ** 31 - 1);
    case "int8":
      return saturate(value, -128, 127);
    case "uint8":
      return saturate(value, 0, 255);
    default:
      throw new DtypeError(`reference: unknown dtype ${String(dtype)}`);
  }
}

function saturate(value: number, low: number, high: number): number {
  return Number.isNaN(value) ? 0 : Math.min(Math.max(Math.trunc(value), low), high);
}

function forEachOffset(view: TensorView, visit: (place: number, position: number) => void): void {
  forEachIndex(view.shape, (index, position) => visit(elementOffset(index, view.strides, view.offset), position));
}

function isHalf(view: TensorView): boolean {
  return view.dtype === "float16" && !(view.buffer instanceof ExactBuffer);
}

/** The whole buffer as elements of the view's dtype, once the view is known to lie inside. */
function storageOf(view: TensorView): TypedArray | Float64Array {
  const storage = bufferElements(view);
  if (elementCount(view.shape) > 0) {
    const reaches = view.shape.map((size, axis) => (size - 1) * view.strides[axis]!);
    const lowest = reaches.reduce((sum, reach) => sum + Math.min(reach, 0), view.offset);
    const highest = reaches.reduce((sum, reach) => sum + Math.max(reach, 0), view.offset);
    if (!(lowest >= 0 && highest < storage.length)) {
      const place = `strides [${view.strides.join(", ")}] and offset ${view.offset}`;
      throw new RangeError(`reference: view [${view.shape.join(", ")}] with ${place} leaves its buffer of ${storage.length} elements`);
    }
  }
  return storage;
}

function bufferElements({ buffer, dtype }: TensorView): TypedArray | Float64Array {
  if (buffer instanceof ExactBuffer) return buffer.values;
  if (buffer instanceof ReferenceBuffer) return viewTypedArray(dtype, buffer.bytes, 0, Math.floor(buffer.byteLength / itemSize(dtype)));
  throw new DeviceError("reference: the tensor lives on another device; move it first");
}
