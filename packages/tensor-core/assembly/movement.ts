/** Filling, copying between strides and dtypes, transposing, gathering and scattering. */
import { constantI32, constant, INFINITY_BITS } from "./constants";
import { loadPartial, storePartial } from "./math";

const FLOAT32: i32 = 0;
const FLOAT16: i32 = 1;
const INT32: i32 = 2;
const UINT8: i32 = 3;
const INT8: i32 = 4;
const BOOL: i32 = 5;

const HALF_SCALE: v128 = constantI32(0x77800000); // 2^112
const HALF_OVERFLOW: v128 = constantI32(0x47800000);
const HALF_NORMAL: v128 = constantI32(0x38800000);
const HALF_BIAS: v128 = constantI32(0x38000000 - 0xfff);
const HALF_ROUND: v128 = constant(0.5);
const HALF_MAGNITUDE: v128 = constantI32(0x7fff);
const HALF_SIGN: v128 = constantI32(0x8000);
const HALF_LARGEST: v128 = constantI32(0x7bff);
const HALF_INFINITY: v128 = constantI32(0x7c00);
const HALF_QUIET: v128 = constantI32(0x200);
const MAGNITUDE: v128 = constantI32(0x7fffffff);

/** Four float16 in the low halves of the lanes. */
// @ts-ignore: decorator
@inline
function halfToFloat(h: v128): v128 {
  const magnitude = v128.and(h, HALF_MAGNITUDE);
  const finite = f32x4.mul(i32x4.shl(magnitude, 13), HALF_SCALE);
  const endless = v128.and(i32x4.gt_s(magnitude, HALF_LARGEST), INFINITY_BITS);
  return v128.or(v128.or(finite, endless), i32x4.shl(v128.and(h, HALF_SIGN), 16));
}

/** Nearest float16, ties to even, in the low halves of the lanes. */
// @ts-ignore: decorator
@inline
function floatToHalf(x: v128): v128 {
  const magnitude = v128.and(x, MAGNITUDE);
  const sign = v128.and(i32x4.shr_u(x, 16), HALF_SIGN);
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.sub(i32x4.add(magnitude, odd), HALF_BIAS), 13);
  const subnormal = i32x4.sub(f32x4.add(magnitude, HALF_ROUND), HALF_ROUND);
  const endless = v128.or(HALF_INFINITY, v128.and(f32x4.ne(x, x), HALF_QUIET));
  let h = v128.bitselect(subnormal, normal, i32x4.lt_s(magnitude, HALF_NORMAL));
  h = v128.bitselect(endless, h, i32x4.ge_s(magnitude, HALF_OVERFLOW));
  return v128.or(h, sign);
}

/** Every four bytes become `pattern`; range over words, granularity 1. */
export function fill(output: usize, pattern: i32, begin: i32, end: i32): void {
  output += <usize>begin << 2;
  const value = i32x4.splat(pattern);
  let rest = end - begin;
  for (; rest >= 4; rest -= 4) {
    v128.store(output, value);
    output += 16;
  }
  if (rest > 0) storePartial(output, value, rest);
}

/** output[i] = start + i * step in f64, rounded (float32) or truncated (`integer`). Granularity 1. */
export function arange(integer: i32, output: usize, start: f64, step: f64, begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const value = start + <f64>i * step;
    if (integer) store<i32>(output + (<usize>i << 2), <i32>value);
    else store<f32>(output + (<usize>i << 2), <f32>value);
  }
}

function itemShift(dtype: i32): usize {
  return dtype == FLOAT32 || dtype == INT32 ? 2 : dtype == FLOAT16 ? 1 : 0;
}

/** Copies a run of equal dtypes; steps in bytes. */
function copyRun(shift: usize, input: usize, inputStep: usize, output: usize, outputStep: usize, count: usize): void {
  const item = <usize>1 << shift;
  if (inputStep == item && outputStep == item) {
    let bytes = count << shift;
    if (bytes > 256) {
      memory.copy(output, input, bytes);
      return;
    }
    for (; bytes >= 16; bytes -= 16) {
      v128.store(output, v128.load(input));
      input += 16;
      output += 16;
    }
    count = bytes >> shift;
  }
  if (shift == 2) {
    for (; count > 0; count--) {
      store<i32>(output, load<i32>(input));
      input += inputStep;
      output += outputStep;
    }
  } else if (shift == 1) {
    for (; count > 0; count--) {
      store<i16>(output, load<i16>(input));
      input += inputStep;
      output += outputStep;
    }
  } else {
    for (; count > 0; count--) {
      store<u8>(output, load<u8>(input));
      input += inputStep;
      output += outputStep;
    }
  }
}

/** Four contiguous elements as float32, or int32 for integer dtypes. */
// @ts-ignore: decorator
@inline
function loadFour(dtype: i32, input: usize): v128 {
  switch (dtype) {
    case FLOAT16: return halfToFloat(i32x4.extend_low_i16x8_u(v128.load64_zero(input)));
    case INT8: return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(input)));
    case UINT8:
    case BOOL: return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(input)));
    default: return v128.load(input);
  }
}

/**
 * Stores four float32 (`floating`) or int32 as contiguous elements: floats truncate to integers, everything saturates, bool is "not zero".
 */
// @ts-ignore: decorator
@inline
function storeFour(dtype: i32, floating: bool, output: usize, v: v128): void {
  if (dtype <= FLOAT16) {
    if (!floating) v = f32x4.convert_i32x4_s(v);
    if (dtype == FLOAT32) {
      v128.store(output, v);
      return;
    }
    const h = floatToHalf(v);
    v128.store_lane<i64>(output, i16x8.narrow_i32x4_u(h, h), 0);
    return;
  }
  if (dtype == BOOL) {
    const zero = i32x4.splat(0);
    v = v128.and(floating ? f32x4.ne(v, zero) : i32x4.ne(v, zero), i32x4.splat(1));
  } else if (floating) v = i32x4.trunc_sat_f32x4_s(v);
  if (dtype == INT32) {
    v128.store(output, v);
    return;
  }
  const words = i16x8.narrow_i32x4_s(v, v);
  v128.store_lane<i32>(output, dtype == INT8 ? i8x16.narrow_i16x8_s(words, words) : i8x16.narrow_i16x8_u(words, words), 0);
}

/** Converts a run between different dtypes; steps in bytes. Runs without gaps go four at a time, others through `scratch` (32 bytes). */
function convertRun(
  from: i32, to: i32, input: usize, inputStep: usize, output: usize, outputStep: usize, count: i32, scratch: usize,
): void {
  const fromShift = itemShift(from);
  const toShift = itemShift(to);
  const dense = inputStep == <usize>1 << fromShift && outputStep == <usize>1 << toShift;
  for (; count > 0; count -= 4) {
    const some = <usize>min(count, 4);
    const direct = dense && count >= 4;
    if (!direct) copyRun(fromShift, input, inputStep, scratch, <usize>1 << fromShift, some);
    storeFour(to, from <= FLOAT16, direct ? output : scratch + 16, loadFour(from, direct ? input : scratch));
    if (!direct) copyRun(toShift, scratch + 16, <usize>1 << toShift, output, outputStep, some);
    input += 4 * inputStep;
    output += 4 * outputStep;
  }
}

/**
 * output[…] = input[…], [any, n1, n2, n3] with strides i0…i3 and o0…o3 in elements, converted between dtypes (float32, float16, int32,
 * uint8, int8, bool = 0…5). Range over elements, granularity 64. Scratch: 32 bytes.
 */
export function copyStrided(
  from: i32, to: i32, input: usize, output: usize, n1: i32, n2: i32, n3: i32,
  i0: i32, i1: i32, i2: i32, i3: i32, o0: i32, o1: i32, o2: i32, o3: i32, scratch: usize, begin: i32, end: i32,
): void {
  const fromShift = itemShift(from);
  const toShift = itemShift(to);
  let column = begin % n3;
  let row = begin / n3;
  let c = row % n2;
  row /= n2;
  let b = row % n1;
  let a = row / n1;
  while (begin < end) {
    const count = min(n3 - column, end - begin);
    const source = input + (<usize>(a * i0 + b * i1 + c * i2 + column * i3) << fromShift);
    const target = output + (<usize>(a * o0 + b * o1 + c * o2 + column * o3) << toShift);
    if (from == to) copyRun(fromShift, source, <usize>i3 << fromShift, target, <usize>o3 << toShift, <usize>count);
    else convertRun(from, to, source, <usize>i3 << fromShift, target, <usize>o3 << toShift, count, scratch);
    begin += count;
    column = 0;
    if (++c == n2) {
      c = 0;
      if (++b == n1) {
        b = 0;
        a++;
      }
    }
  }
}

/**
 * output[a, b, r, c] = input[a, b, r, c] of four-byte elements where r has stride 1 in the input and c has stride 1 in the output: a batch
 * [any, n1] of transposes of [rows, columns]. Strides of a, b and c (input) and of a, b and r (output), in elements. Range over batch ×
 * ceil(rows / 16). Scratch: 1,024 bytes: tiles of 16 × 16 are turned there, so that every cache line is read and written once even where
 * strides of 2^n make all of them collide.
 */
export function transposeWords(
  input: usize, output: usize, n1: i32, rows: i32, columns: i32,
  i0: i32, i1: i32, inputStride: i32, o0: i32, o1: i32, outputStride: i32, scratch: usize, begin: i32, end: i32,
): void {
  const tiles = (rows + 15) >> 4;
  const sourceStep = <usize>inputStride << 2;
  const targetStep = <usize>outputStride << 2;
  for (let item = begin; item < end; item++) {
    const batch = item / tiles;
    const first = (item % tiles) << 4;
    const height = min(16, rows - first);
    const source = input + (<usize>((batch / n1) * i0 + (batch % n1) * i1 + first) << 2);
    const target = output + (<usize>((batch / n1) * o0 + (batch % n1) * o1 + first * outputStride) << 2);
    for (let c = 0; c < columns; c += 16) {
      const width = min(16, columns - c);
      let from = source + <usize>c * sourceStep;
      let to = target + (<usize>c << 2);
      if (height < 16 || width < 16) {
        for (let r: usize = 0; r < <usize>height; r++) {
          copyRun(2, from + (r << 2), sourceStep, to, 4, <usize>width);
          to += targetStep;
        }
        continue;
      }
      for (let at = scratch; at < scratch + 64; at += 16) {
        for (let r: usize = 0; r < 64; r += 16) {
          const v0 = v128.load(from + r);
          const v1 = v128.load(from + sourceStep + r);
          const v2 = v128.load(from + 2 * sourceStep + r);
          const v3 = v128.load(from + 3 * sourceStep + r);
          const low01 = v128.shuffle<i32>(v0, v1, 0, 4, 1, 5);
          const high01 = v128.shuffle<i32>(v0, v1, 2, 6, 3, 7);
          const low23 = v128.shuffle<i32>(v2, v3, 0, 4, 1, 5);
          const high23 = v128.shuffle<i32>(v2, v3, 2, 6, 3, 7);
          const place = at + (r << 4);
          v128.store(place, v128.shuffle<i64>(low01, low23, 0, 2));
          v128.store(place, v128.shuffle<i64>(low01, low23, 1, 3), 64);
          v128.store(place, v128.shuffle<i64>(high01, high23, 0, 2), 128);
          v128.store(place, v128.shuffle<i64>(high01, high23, 1, 3), 192);
        }
        from += 4 * sourceStep;
      }
      for (let at = scratch; at < scratch + 1024; at += 64) {
        v128.store(to, v128.load(at));
        v128.store(to, v128.load(at, 16), 16);
        v128.store(to, v128.load(at, 32), 32);
        v128.store(to, v128.load(at, 48), 48);
        to += targetStep;
      }
    }
  }
}

/**
 * output[o, i] = input[o, indices[i]] for rows of `inner << shift` bytes; zeros for an index outside [0, size). Range over outer × count
 * rows.
 */
export function gatherRows(
  shift: i32, input: usize, indices: usize, output: usize, size: i32, count: i32, inner: i32, begin: i32, end: i32,
): void {
  const item = <usize>1 << <usize>shift;
  const bytes = <usize>inner << <usize>shift;
  for (let row = begin; row < end; row++) {
    const index = load<i32>(indices + (<usize>(row % count) << 2));
    const target = output + <usize>row * bytes;
    const source = input + (<usize>(row / count) * <usize>size + <usize>index) * bytes;
    if (<u32>index < <u32>size) copyRun(<usize>shift, source, item, target, item, <usize>inner);
    else memory.fill(target, 0, bytes);
  }
}

/**
 * output[o, indices[i], k] += updates[o, i, k] in order of i; indices outside are skipped. Range over the outer × inner columns, so that
 * every sum stays on one thread; granularity 16.
 */
export function scatterAdd(
  integer: i32, output: usize, indices: usize, updates: usize, size: i32, count: i32, inner: i32, begin: i32, end: i32,
): void {
  while (begin < end) {
    const o = begin / inner;
    const k = begin % inner;
    const width = min(inner - k, end - begin);
    for (let i = 0; i < count; i++) {
      const index = load<i32>(indices + (<usize>i << 2));
      if (<u32>index >= <u32>size) continue;
      let target = output + ((<usize>o * <usize>size + <usize>index) * <usize>inner + <usize>k << 2);
      let source = updates + ((<usize>o * <usize>count + <usize>i) * <usize>inner + <usize>k << 2);
      for (let rest = width; rest > 0; rest -= 4) {
        const whole = rest >= 4;
        const a = whole ? v128.load(target) : loadPartial(target, rest);
        const b = whole ? v128.load(source) : loadPartial(source, rest);
        const sum = integer ? i32x4.add(a, b) : f32x4.add(a, b);
        if (whole) v128.store(target, sum);
        else storePartial(target, sum, rest);
        target += 16;
        source += 16;
      }
    }
    begin += width;
  }
}

/**
 * output[o, i, k] = input[o, indices[o, i, k], k], four-byte elements; 0 for an index outside. Range over outer × count rows of `inner`.
 */
export function gatherElements(
  input: usize, indices: usize, output: usize, size: i32, count: i32, inner: i32, begin: i32, end: i32,
): void {
  for (let row = begin; row < end; row++) {
    const source = input + (<usize>(row / count) * <usize>size * <usize>inner << 2);
    const start = <usize>row * <usize>inner << 2;
    for (let k = 0; k < inner; k++) {
      const at = start + (<usize>k << 2);
      const index = load<i32>(indices + at);
      store<i32>(output + at, <u32>index < <u32>size ? load<i32>(source + (<usize>index * <usize>inner + <usize>k << 2)) : 0);
    }
  }
}

/** output[o, indices[o, i, k], k] += updates[o, i, k] in order of i; indices outside are skipped. Range over the outer × inner columns. */
export function scatterElementsAdd(
  output: usize, indices: usize, updates: usize, size: i32, count: i32, inner: i32, begin: i32, end: i32,
): void {
  while (begin < end) {
    const o = <usize>(begin / inner);
    const k = begin % inner;
    const width = min(inner - k, end - begin);
    for (let i = 0; i < count; i++) {
      for (let c = k; c < k + width; c++) {
        const at = (o * <usize>count + <usize>i) * <usize>inner + <usize>c << 2;
        const index = load<i32>(indices + at);
        if (<u32>index >= <u32>size) continue;
        const target = output + ((o * <usize>size + <usize>index) * <usize>inner + <usize>c << 2);
        store<f32>(target, load<f32>(target) + load<f32>(updates + at));
      }
    }
    begin += width;
  }
}
