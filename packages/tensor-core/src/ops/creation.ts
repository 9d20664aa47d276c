import type { DeviceName } from "../backend/backend.ts";
import { backendOf } from "../backend/registry.ts";
import { DtypeError, ShapeError } from "../errors.ts";
import { float32ToFloat16Bits, makeTypedArray, type Dtype, type TypedArray } from "../tensor/dtype.ts";
import { checkShape, formatShape, sizeOf, type Shape } from "../tensor/shape.ts";
import type { NestedArray, Tensor } from "../tensor/tensor.ts";
import { allocate } from "./dispatch.ts";
import { fillLike } from "./materialize.ts";

/** Where and as what a tensor is made. */
export interface TensorOptions<Device extends DeviceName = DeviceName> {
  /** Default: that of the data (float32 for plain arrays). */
  readonly dtype?: Dtype;
  /** Default: "cpu". */
  readonly device?: Device;
}

/** What `tensor` takes: nested arrays, a typed array (Uint16Array = float16 bits), or booleans as 0 and 1. */
export type TensorData = NestedArray | TypedArray | readonly boolean[] | boolean;

/**
 * A tensor from nested arrays, or from a typed array with its shape.
 *
 * ```ts
 * tensor([[1, 2], [3, 4]]);                              // float32 [2, 2]
 * tensor(new Int32Array([1, 2, 3, 4]), [2, 2]);          // int32 [2, 2]
 * tensor([1, 0], { dtype: "bool", device: "reference" });
 * ```
 * @throws ShapeError for ragged arrays, or data that does not fill the shape
 */
export function tensor<Device extends DeviceName = "cpu">(data: TensorData, options?: TensorOptions<Device>): Tensor<Device>;
export function tensor<Device extends DeviceName = "cpu">(data: TensorData, shape: Shape, options?: TensorOptions<Device>): Tensor<Device>;
export function tensor<Device extends DeviceName = "cpu">(
  data: TensorData,
  shapeOrOptions?: Shape | TensorOptions<Device>,
  maybeOptions?: TensorOptions<Device>,
): Tensor<Device> {
  const givenShape = Array.isArray(shapeOrOptions) ? (shapeOrOptions as Shape) : undefined;
  const options = (givenShape ? maybeOptions : (shapeOrOptions as TensorOptions<Device> | undefined)) ?? {};
  const { values, shape: ownShape, dtype: ownDtype } = flatten(data);
  const shape = givenShape ? [...givenShape] : ownShape;
  checkShape("tensor", shape);
  if (sizeOf(shape) !== values.length) {
    throw new ShapeError(`tensor: ${values.length} values do not fill shape ${formatShape(shape)} of ${sizeOf(shape)}`);
  }
  const dtype = options.dtype ?? ownDtype;
  const backend = backendOf(options.device ?? "cpu");
  const host = toHostArray(values, ownDtype, dtype);
  const output = allocate<Device>(backend, dtype, shape);
  backend.write(output.buffer, 0, new Uint8Array(host.buffer, host.byteOffset, host.byteLength));
  return output;
}

function flatten(data: TensorData): { values: ArrayLike<number>; shape: Shape; dtype: Dtype } {
  if (ArrayBuffer.isView(data)) return { values: data, shape: [data.length], dtype: dtypeOfArray(data) };
  const shape: number[] = [];
  for (let level: unknown = data; Array.isArray(level); level = level[0]) shape.push(level.length);
  const values: number[] = [];
  let dtype: Dtype | undefined;
  const meet = (found: Dtype, value: number): void => {
    if (dtype !== undefined && dtype !== found) throw new DtypeError("tensor: the data mixes numbers and booleans; write one kind");
    dtype = found;
    values.push(value);
  };
  const visit = (value: unknown, axis: number): void => {
    if (axis < shape.length) {
      if (!Array.isArray(value) || value.length !== shape[axis]) {
        throw new ShapeError(
          `tensor: the nested arrays are ragged; expected ${shape[axis]} entries at depth ${axis} for shape ${formatShape(shape)}`,
        );
      }
      for (const entry of value) visit(entry, axis + 1);
    } else if (typeof value === "number") {
      meet("float32", value);
    } else if (typeof value === "boolean") {
      meet("bool", value ? 1 : 0);
    } else {
      throw new DtypeError(
        `tensor: expected a number at depth ${axis}, got ${Array.isArray(value) ? "an array (ragged nesting)" : typeof value}`,
      );
    }
  };
  visit(data, 0);
  return { values, shape, dtype: dtype ?? "float32" };
}

function dtypeOfArray(array: TypedArray): Dtype {
  if (array instanceof Float32Array) return "float32";
  if (array instanceof Int32Array) return "int32";
  if (array instanceof Uint16Array) return "float16";
  if (array instanceof Int8Array) return "int8";
  if (array instanceof Uint8Array) return "uint8";
  throw new DtypeError(
    `tensor: ${(array as object).constructor.name} is not supported; use Float32Array, Int32Array, Uint8Array, Int8Array or Uint16Array (float16 bits)`,
  );
}

function toHostArray(values: ArrayLike<number>, from: Dtype, to: Dtype): TypedArray {
  if (from === to && ArrayBuffer.isView(values)) return values as unknown as TypedArray;
  const host = makeTypedArray(to, values.length);
  if (to === "float16") for (let i = 0; i < values.length; i++) host[i] = float32ToFloat16Bits(values[i]!);
  else if (to === "bool") for (let i = 0; i < values.length; i++) host[i] = values[i] === 0 ? 0 : 1;
  else if (from === "float16") throw new DtypeError("tensor: give float16 bits as dtype float16 and convert with cast()");
  else if (to === "float32") for (let i = 0; i < values.length; i++) host[i] = values[i]!;
  else {
    // As cast(): toward zero, and to the nearest end of the range.
    const [low, high] = integerRanges[to];
    for (let i = 0; i < values.length; i++) host[i] = Math.min(high, Math.max(low, Math.trunc(values[i]!)));
  }
  return host;
}

const integerRanges: Record<"int32" | "uint8" | "int8", readonly [low: number, high: number]> = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint8: [0, 255],
  int8: [-128, 127],
};

/** A tensor of one value. */
export function full<Device extends DeviceName = "cpu">(shape: Shape, value: number, options: TensorOptions<Device> = {}): Tensor<Device> {
  checkShape("full", shape);
  const backend = backendOf(options.device ?? "cpu");
  return fillLike({ shape: [...shape], dtype: options.dtype ?? "float32", backend }, value);
}

export function zeros<Device extends DeviceName = "cpu">(shape: Shape, options?: TensorOptions<Device>): Tensor<Device> {
  return full(shape, 0, options);
}

export function ones<Device extends DeviceName = "cpu">(shape: Shape, options?: TensorOptions<Device>): Tensor<Device> {
  return full(shape, 1, options);
}

/** Zeros with the shape, dtype and device of `like`. */
export function zerosLike<Device extends DeviceName>(like: Tensor<Device>): Tensor<Device> {
  return fullLike(like, 0);
}

/** Ones with the shape, dtype and device of `like`. */
export function onesLike<Device extends DeviceName>(like: Tensor<Device>): Tensor<Device> {
  return fullLike(like, 1);
}

/** One value with the shape, dtype and device of `like`. */
export function fullLike<Device extends DeviceName>(like: Tensor<Device>, value: number): Tensor<Device> {
  return fillLike({ shape: like.shape, dtype: like.dtype, backend: like.storage.backend }, value);
}

/** start, start + step, … below stop (above it for a negative step); int32 when all three are integers, unless told. */
export function arange<Device extends DeviceName = "cpu">(
  start: number,
  stop?: number,
  step: number = 1,
  options: TensorOptions<Device> = {},
): Tensor<Device> {
  const [first, end] = stop === undefined ? [0, start] : [start, stop];
  if (!(step !== 0 && Number.isFinite(step) && Number.isFinite(end - first))) {
    throw new ShapeError(`arange: from ${first} to ${end} by ${step} has no finite length; give finite bounds and a step that is not 0`);
  }
  const count = Math.max(0, Math.ceil((end - first) / step));
  const integral = Number.isInteger(first) && Number.isInteger(step) && Number.isInteger(end);
  const dtype = options.dtype ?? (integral ? "int32" : "float32");
  if (dtype !== "int32" && dtype !== "float32")
    throw new DtypeError(`arange: dtype ${dtype} is not supported, it makes float32 or int32; convert with cast()`);
  const backend = backendOf(options.device ?? "cpu");
  const output = allocate<Device>(backend, dtype, [count]);
  backend.kernels.arange({ output, start: first, step });
  return output;
}

/** `count` evenly spaced float32 numbers from `start` to `stop`, both included. */
export function linspace<Device extends DeviceName = "cpu">(
  start: number,
  stop: number,
  count: number,
  options: { readonly device?: Device } = {},
): Tensor<Device> {
  checkShape("linspace", [count]);
  const values = Float32Array.from({ length: count }, (_, i) => (count === 1 ? start : start + ((stop - start) * i) / (count - 1)));
  return tensor(values, [count], options);
}

/** The identity matrix, or a rectangle with ones on its main diagonal. */
export function eye<Device extends DeviceName = "cpu">(
  rows: number,
  columns: number = rows,
  options: TensorOptions<Device> = {},
): Tensor<Device> {
  checkShape("eye", [rows, columns]);
  const values = new Float32Array(rows * columns);
  for (let i = 0; i < Math.min(rows, columns); i++) values[i * columns + i] = 1;
  return tensor(values, [rows, columns], { dtype: "float32", ...options });
}
