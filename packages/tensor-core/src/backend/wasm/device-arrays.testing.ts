/** Host arrays in, kernel, host arrays out: for tests of single kernels on any host device. Tests only. */
import { float16BitsToFloat32, float32ToFloat16Bits, itemSize, viewTypedArray, type Dtype } from "../../tensor/dtype.ts";
import type { Backend, TensorView } from "../backend.ts";
import { countElements } from "./layout.ts";
import { contiguousStrides } from "../../tensor/shape.ts";

/** Lengths around every vector and unrolling boundary. */
export const awkwardSizes: readonly number[] = [0, 1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000];

/** Floats that arithmetic treats specially, float32 exact. */
export const specialFloats: readonly number[] = [
  NaN, Infinity, -Infinity, 0, -0, 2 ** -149, -(2 ** -149), 2 ** -126, -(2 ** -126), 3.4028234663852886e38, -3.4028234663852886e38, 1, -1,
  0.5, -0.5, 2.5, -2.5, 3, -3,
  88.5, -88.5, 1e10, -1e10,
];

/** Elements before and after every view that kernels must leave alone. */
const margin = 3;
const marginByte = 0x5a;

/** A view of new device memory with `values` (row-major for the strides' contiguous order: element i of storage is values[i]). */
export function place(
  backend: Backend, dtype: Dtype, shape: readonly number[], values: ArrayLike<number>, strides?: readonly number[],
): TensorView {
  const length = values.length + 2 * margin;
  const bytes = new Uint8Array(length * itemSize(dtype)).fill(marginByte);
  const storage = viewTypedArray(dtype, bytes.buffer, 0, length);
  for (let i = 0; i < values.length; i++) {
    storage[margin + i] = dtype === "float16" ? float32ToFloat16Bits(Math.fround(values[i]!)) : values[i]!;
  }
  const buffer = backend.allocate(bytes.length);
  backend.write(buffer, 0, bytes);
  return { buffer, dtype, shape, strides: strides ?? contiguousStrides(shape), offset: margin };
}

/** A contiguous view of new memory for a kernel to write. */
export function reserve(backend: Backend, dtype: Dtype, shape: readonly number[]): TensorView {
  return place(backend, dtype, shape, new Float64Array(countElements(shape)).fill(dtype === "bool" ? 1 : 77));
}

/** The values of a contiguous view, once the margins around it are seen to be untouched. Gives the memory back. */
export function take(backend: Backend, view: TensorView): number[] {
  const { buffer, dtype, shape } = view;
  const bytes = backend.readSync!(buffer, 0, buffer.byteLength);
  const size = itemSize(dtype);
  const count = countElements(shape);
  const outside = [...bytes.subarray(0, margin * size), ...bytes.subarray((margin + count) * size)];
  if (outside.some((byte) => byte !== marginByte)) throw new Error(`a kernel wrote outside its output [${shape.join(", ")}] of ${dtype}`);
  const values = Array.from(viewTypedArray(dtype, bytes.slice(margin * size, (margin + count) * size).buffer as ArrayBuffer, 0, count));
  backend.free(buffer);
  return dtype === "float16" ? values.map(float16BitsToFloat32) : values;
}

/** Deterministic floats from -`range` to `range`. */
export function someFloats(count: number, range = 2, seed = 1): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * range;
  });
}

/** Deterministic integers from -`range` to `range`. */
export function someIntegers(count: number, range = 100, seed = 1): Int32Array {
  return Int32Array.from(someFloats(count, range + 0.5, seed), (value) => Math.round(value));
}

/** Distance in units of the last place that float32 has at `expected`. */
export function ulpError(actual: number, expected: number): number {
  if (Object.is(actual, expected) || actual === Math.fround(expected) || (Number.isNaN(actual) && Number.isNaN(expected))) return 0;
  if (!Number.isFinite(actual) || !Number.isFinite(expected)) return Infinity;
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(expected))));
  return Math.abs(actual - expected) / 2 ** (exponent - 23);
}
