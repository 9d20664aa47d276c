/** Weight formats that are turned into float32 row by row on their way into a product. Left out of `index.ts`. */
import { convertHalves } from "./half";

/** Format codes, in the order of `formatCodes` in `matmul.ts`. */
// @ts-ignore: decorator
@inline
export const FLOAT32: i32 = 0;
// @ts-ignore: decorator
@inline
export const FLOAT16: i32 = 1;
// @ts-ignore: decorator
@inline
export const INT8: i32 = 2;
// @ts-ignore: decorator
@inline
export const UINT4: i32 = 3;

// @ts-ignore: decorator
@inline
function scaleAndStore(to: usize, integers: v128, scale: v128, minimum: v128): void {
  v128.store(to, f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(integers), scale), minimum));
}

function dequantizeInt8(from: usize, to: usize, count: i32, scale: f32, minimum: f32): void {
  const scales = f32x4.splat(scale);
  const minimums = f32x4.splat(minimum);
  for (; count >= 8; count -= 8) {
    const values = v128.load_ext<i8>(from);
    scaleAndStore(to, i32x4.extend_low_i16x8_s(values), scales, minimums);
    scaleAndStore(to + 16, i32x4.extend_high_i16x8_s(values), scales, minimums);
    from += 8;
    to += 32;
  }
  for (; count > 0; count--) {
    store<f32>(to, <f32>load<i8>(from) * scale + minimum);
    from++;
    to += 4;
  }
}

/** `start` counts values from `from`, two a byte. */
function dequantizeUint4(from: usize, start: i32, to: usize, count: i32, scale: f32, minimum: f32): void {
  let index: usize = start;
  const end: usize = start + count;
  if ((start & 1) == 0) {
    const scales = f32x4.splat(scale);
    const minimums = f32x4.splat(minimum);
    for (; index + 16 <= end; index += 16) {
      const bytes = v128.load64_zero(from + (index >> 1));
      const low = v128.and(bytes, i8x16.splat(15));
      const high = v128.and(i16x8.shr_u(bytes, 4), i8x16.splat(15));
      const values = i8x16.shuffle(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const first = i16x8.extend_low_i8x16_u(values);
      const second = i16x8.extend_high_i8x16_u(values);
      scaleAndStore(to, i32x4.extend_low_i16x8_u(first), scales, minimums);
      scaleAndStore(to + 16, i32x4.extend_high_i16x8_u(first), scales, minimums);
      scaleAndStore(to + 32, i32x4.extend_low_i16x8_u(second), scales, minimums);
      scaleAndStore(to + 48, i32x4.extend_high_i16x8_u(second), scales, minimums);
      to += 64;
    }
  }
  for (; index < end; index++) {
    const byte = <i32>load<u8>(from + (index >> 1));
    store<f32>(to, <f32>(index & 1 ? byte >> 4 : byte & 15) * scale + minimum);
    to += 4;
  }
}

/**
 * Writes elements [start, start + count) of row `row` of a weight matrix to `to` as float32. float16 rows are `rowStride` elements apart
 * and contiguous in themselves; quantised ones have `inputs` values, in groups of `groupSize`.
 */
export function dequantizeRow(
  format: i32, weights: usize, rowStride: i32, scales: usize, minimums: usize, groupSize: i32, inputs: i32,
  row: i32, start: i32, count: i32, to: usize,
): void {
  if (format == FLOAT16) {
    convertHalves(weights + ((<usize>row * <usize>rowStride + <usize>start) << 1), to, count);
    return;
  }
  const values = format == INT8 ? weights + <usize>row * <usize>inputs : weights + <usize>row * (<usize>inputs >> 1);
  const groups = <usize>row * <usize>(inputs / groupSize);
  const end = start + count;
  while (start < end) {
    const group = start / groupSize;
    const stop = min(end, (group + 1) * groupSize);
    const at = (groups + <usize>group) << 2;
    const scale = load<f32>(scales + at);
    const minimum: f32 = minimums ? load<f32>(minimums + at) : 0;
    if (format == INT8) dequantizeInt8(values + <usize>start, to, stop - start, scale, minimum);
    else dequantizeUint4(values, start, to, stop - start, scale, minimum);
    to += <usize>(stop - start) << 2;
    start = stop;
  }
}
