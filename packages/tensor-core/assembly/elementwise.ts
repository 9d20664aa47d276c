/**
 * Functions of two arrays, comparisons and `where`. A code names operation and dtype: 0… arithmetic float32, 16… arithmetic int32, 32…
 * comparison float32, 48… comparison int32, 64 `where`; the order within each is that of `src/backend/wasm/elementwise.ts`. Comparisons
 * give bytes, the others four-byte elements.
 */
import { atan2F32x4 } from "./circular";
import { constantF64, constantI64 } from "./constants";
import { loadPartial, multiplyAdd, storeBooleans, storePartial } from "./math";

const ADD: i32 = 0;
const SUBTRACT: i32 = 1;
const MULTIPLY: i32 = 2;
const DIVIDE: i32 = 3;
const POWER: i32 = 4;
const MAXIMUM: i32 = 5;
const MINIMUM: i32 = 6;
const REMAINDER: i32 = 7;
const ATAN2: i32 = 8;

const EQUAL: i32 = 0;
const NOT_EQUAL: i32 = 1;
const LESS: i32 = 2;
const LESS_EQUAL: i32 = 3;
const AND: i32 = 4;
const OR: i32 = 5;
const XOR: i32 = 6;

const INTEGER: i32 = 16;
const COMPARE: i32 = 32;
const WHERE: i32 = 64;

/** Elements gathered at a time from an operand whose inner stride is neither 0 nor 1. */
const CHUNK: i32 = 256;

const ONE_F64: v128 = constantF64(1.0);
const EXPONENT_BIAS: v128 = constantF64(4503599627370496.0 + 1023.0);
const ATANH_15: v128 = constantF64(1.0 / 15.0);
const ATANH_13: v128 = constantF64(1.0 / 13.0);
const ATANH_11: v128 = constantF64(1.0 / 11.0);
const ATANH_9: v128 = constantF64(1.0 / 9.0);
const ATANH_7: v128 = constantF64(1.0 / 7.0);
const ATANH_5: v128 = constantF64(1.0 / 5.0);
const ATANH_3: v128 = constantF64(1.0 / 3.0);
const TWO_LOG2_E: v128 = constantF64(2.8853900817779268);
const POWER_LOW: v128 = constantF64(-1000.0);
const POWER_HIGH: v128 = constantF64(1000.0);
const POWER_SHIFT: v128 = constantF64(6755399441055744.0 + 1023.0);
const LN2_F64: v128 = constantF64(0.69314718055994531);
const TAYLOR_8: v128 = constantF64(1.0 / 40320.0);
const TAYLOR_7: v128 = constantF64(1.0 / 5040.0);
const TAYLOR_6: v128 = constantF64(1.0 / 720.0);
const TAYLOR_5: v128 = constantF64(1.0 / 120.0);
const TAYLOR_4: v128 = constantF64(1.0 / 24.0);
const TAYLOR_3: v128 = constantF64(1.0 / 6.0);
const TAYLOR_2: v128 = constantF64(0.5);
const MANTISSA_SHIFT: v128 = constantI64(0x3ff0000000000000 - 0x3fe6a09e667f3bcd);
const TWO_52_BITS: v128 = constantI64(0x4330000000000000);
const MANTISSA_MASK: v128 = constantI64(0x000fffffffffffff);
const SQRT_HALF_F64_BITS: v128 = constantI64(0x3fe6a09e667f3bcd);

/**
 * x^y of positive finite x and finite y, in f64: log2 by its odd series in (m - 1) / (m + 1), exp2 by its Taylor series; relative error
 * under 1e-9.
 */
function powerF64x2(x: v128, y: v128): v128 {
  const shifted = i64x2.add(x, MANTISSA_SHIFT);
  const exponent = f64x2.sub(v128.or(i64x2.shr_u(shifted, 52), TWO_52_BITS), EXPONENT_BIAS);
  const m = i64x2.add(v128.and(shifted, MANTISSA_MASK), SQRT_HALF_F64_BITS);
  const s = f64x2.div(f64x2.sub(m, ONE_F64), f64x2.add(m, ONE_F64));
  const z = f64x2.mul(s, s);
  let p = ATANH_15;
  p = f64x2.add(f64x2.mul(p, z), ATANH_13);
  p = f64x2.add(f64x2.mul(p, z), ATANH_11);
  p = f64x2.add(f64x2.mul(p, z), ATANH_9);
  p = f64x2.add(f64x2.mul(p, z), ATANH_7);
  p = f64x2.add(f64x2.mul(p, z), ATANH_5);
  p = f64x2.add(f64x2.mul(p, z), ATANH_3);
  p = f64x2.add(f64x2.mul(p, z), ONE_F64);
  const logarithm = f64x2.add(exponent, f64x2.mul(f64x2.mul(s, p), TWO_LOG2_E));
  // Far outside float32 already, well inside f64: the conversion to float32 makes Infinity, denormals and 0.
  const t = f64x2.pmin(f64x2.pmax(f64x2.mul(logarithm, y), POWER_LOW), POWER_HIGH);
  const biased = f64x2.add(t, POWER_SHIFT);
  const f = f64x2.mul(f64x2.sub(t, f64x2.sub(biased, POWER_SHIFT)), LN2_F64);
  let e = TAYLOR_8;
  e = f64x2.add(f64x2.mul(e, f), TAYLOR_7);
  e = f64x2.add(f64x2.mul(e, f), TAYLOR_6);
  e = f64x2.add(f64x2.mul(e, f), TAYLOR_5);
  e = f64x2.add(f64x2.mul(e, f), TAYLOR_4);
  e = f64x2.add(f64x2.mul(e, f), TAYLOR_3);
  e = f64x2.add(f64x2.mul(e, f), TAYLOR_2);
  e = f64x2.add(f64x2.mul(e, f), ONE_F64);
  e = f64x2.add(f64x2.mul(e, f), ONE_F64);
  return f64x2.mul(e, i64x2.shl(biased, 52));
}

/** C's pow for the cases that `powerF64x2` leaves out. */
function powerSpecial(x: f32, y: f32): f32 {
  if (y == 0 || x == 1) return 1;
  if (x != x || y != y) return NaN;
  const magnitude = abs(x);
  if (abs(y) == Infinity) return magnitude == 1 ? 1 : magnitude > 1 == y > 0 ? Infinity : 0;
  const whole = trunc(y) == y;
  if (x < 0 && !whole && magnitude != Infinity) return NaN;
  let result: f32;
  if (magnitude == 0 || magnitude == Infinity) result = (magnitude == 0) == (y > 0) ? 0 : Infinity;
  else result = <f32>f64x2.extract_lane(powerF64x2(f64x2.splat(<f64>magnitude), f64x2.splat(<f64>y)), 0);
  const half = y * 0.5;
  return whole && trunc(half) != half ? copysign(result, x) : result;
}

function powerF32x4(x: v128, y: v128): v128 {
  const infinity = f32x4.splat(Infinity);
  const zero = f32x4.splat(0.0);
  const magnitude = f32x4.abs(x);
  const ordinary = v128.and(v128.and(f32x4.gt(magnitude, zero), f32x4.lt(magnitude, infinity)), f32x4.lt(f32x4.abs(y), infinity));
  if (i32x4.all_true(ordinary)) {
    const low = powerF64x2(f64x2.promote_low_f32x4(magnitude), f64x2.promote_low_f32x4(y));
    const upperMagnitude = v128.shuffle<i32>(magnitude, magnitude, 2, 3, 2, 3);
    const high = powerF64x2(f64x2.promote_low_f32x4(upperMagnitude), f64x2.promote_low_f32x4(v128.shuffle<i32>(y, y, 2, 3, 2, 3)));
    const result = v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
    const negative = f32x4.lt(x, zero);
    if (!v128.any_true(negative)) return result;
    // A negative base: NaN for fractions, minus for odd powers.
    const half = f32x4.mul(y, f32x4.splat(0.5));
    const odd = i32x4.shl(f32x4.ne(f32x4.trunc(half), half), 31);
    const fraction = f32x4.ne(f32x4.trunc(y), y);
    return v128.bitselect(v128.or(v128.xor(result, odd), fraction), result, negative);
  }
  for (let lane = 0; lane < 4; lane++) {
    x = f32x4.replace_lane(x, 0, powerSpecial(f32x4.extract_lane(x, 0), f32x4.extract_lane(y, 0)));
    x = v128.shuffle<i32>(x, x, 1, 2, 3, 0);
    y = v128.shuffle<i32>(y, y, 1, 2, 3, 0);
  }
  return x;
}

/** x - floor(x / y) y, exactly rounded; the sign of y. */
function remainderF32(x: f32, y: f32): f32 {
  const quotient = trunc(<f64>x / <f64>y);
  // Up to 2^28 the quotient is right and the product exact; beyond (and for infinities) the bitwise algorithm of fmod.
  const r = abs(quotient) < 268435456.0 && abs(y) < Infinity ? <f32>(<f64>x - quotient * <f64>y) : x % y;
  if (r == 0) return copysign<f32>(0, y);
  return r < 0 == y < 0 ? r : r + y;
}

function remainderF32x4(x: v128, y: v128): v128 {
  for (let lane = 0; lane < 4; lane++) {
    x = f32x4.replace_lane(x, 0, remainderF32(f32x4.extract_lane(x, 0), f32x4.extract_lane(y, 0)));
    x = v128.shuffle<i32>(x, x, 1, 2, 3, 0);
    y = v128.shuffle<i32>(y, y, 1, 2, 3, 0);
  }
  return x;
}

/** Divide (towards 0), power and remainder of int32. Division by 0 gives 0, as does a fraction from a negative power. */
function scalarI32(operation: i32, x: i32, y: i32): i32 {
  if (operation == POWER) {
    if (y < 0) return x == 1 ? 1 : x == -1 ? (y & 1 ? -1 : 1) : 0;
    let result = 1;
    for (; y > 0; y >>= 1) {
      if (y & 1) result *= x;
      x *= x;
    }
    return result;
  }
  if (y == 0) return 0;
  if (operation == DIVIDE) return y == -1 ? -x : x / y;
  const r = x % y;
  return r != 0 && (r ^ y) < 0 ? r + y : r;
}

function scalarI32x4(operation: i32, x: v128, y: v128): v128 {
  for (let lane = 0; lane < 4; lane++) {
    x = i32x4.replace_lane(x, 0, scalarI32(operation, i32x4.extract_lane(x, 0), i32x4.extract_lane(y, 0)));
    x = v128.shuffle<i32>(x, x, 1, 2, 3, 0);
    y = v128.shuffle<i32>(y, y, 1, 2, 3, 0);
  }
  return x;
}

// @ts-ignore: decorator
@inline
function applySimple(operation: i32, x: v128, y: v128): v128 {
  if (operation == ADD) return f32x4.add(x, y);
  if (operation == SUBTRACT) return f32x4.sub(x, y);
  if (operation == MULTIPLY) return f32x4.mul(x, y);
  return f32x4.div(x, y);
}

/** add, subtract, multiply or divide; an operand whose flag is set is `x` or `y` in every lane. */
// @ts-ignore: decorator
@inline
function mapSimple(operation: i32, a: usize, b: usize, fixedA: bool, fixedB: bool, x: v128, y: v128, output: usize, rest: i32): void {
  if (!(fixedA | fixedB)) {
    for (; rest >= 16; rest -= 16) {
      v128.store(output, applySimple(operation, v128.load(a), v128.load(b)));
      v128.store(output, applySimple(operation, v128.load(a, 16), v128.load(b, 16)), 16);
      v128.store(output, applySimple(operation, v128.load(a, 32), v128.load(b, 32)), 32);
      v128.store(output, applySimple(operation, v128.load(a, 48), v128.load(b, 48)), 48);
      a += 64;
      b += 64;
      output += 64;
    }
  } else if (fixedB && !fixedA) {
    for (; rest >= 16; rest -= 16) {
      v128.store(output, applySimple(operation, v128.load(a), y));
      v128.store(output, applySimple(operation, v128.load(a, 16), y), 16);
      v128.store(output, applySimple(operation, v128.load(a, 32), y), 32);
      v128.store(output, applySimple(operation, v128.load(a, 48), y), 48);
      a += 64;
      output += 64;
    }
  }
  for (; rest > 0; rest -= 4) {
    if (!fixedA) x = rest >= 4 ? v128.load(a) : loadPartial(a, rest);
    if (!fixedB) y = rest >= 4 ? v128.load(b) : loadPartial(b, rest);
    const r = applySimple(operation, x, y);
    if (rest >= 4) v128.store(output, r);
    else storePartial(output, r, rest);
    a += 16;
    b += 16;
    output += 16;
  }
}

/** Everything else. NaN in x passes through `pmax` and `pmin`, NaN in y is put back. */
// @ts-ignore: decorator
@inline
function applyOther(code: i32, x: v128, y: v128): v128 {
  const zero = f32x4.splat(0.0);
  switch (code) {
    case POWER: return powerF32x4(x, y);
    case MAXIMUM: return v128.bitselect(f32x4.pmax(x, y), y, f32x4.eq(y, y));
    case MINIMUM: return v128.bitselect(f32x4.pmin(x, y), y, f32x4.eq(y, y));
    case REMAINDER: return remainderF32x4(x, y);
    case ATAN2: return atan2F32x4(x, y);
    case INTEGER + ADD: return i32x4.add(x, y);
    case INTEGER + SUBTRACT: return i32x4.sub(x, y);
    case INTEGER + MULTIPLY: return i32x4.mul(x, y);
    case INTEGER + MAXIMUM: return i32x4.max_s(x, y);
    case INTEGER + MINIMUM: return i32x4.min_s(x, y);
    case INTEGER + DIVIDE:
    case INTEGER + POWER:
    case INTEGER + REMAINDER: return scalarI32x4(code - INTEGER, x, y);
    case COMPARE + EQUAL: return f32x4.eq(x, y);
    case COMPARE + NOT_EQUAL: return f32x4.ne(x, y);
    case COMPARE + LESS: return f32x4.lt(x, y);
    case COMPARE + LESS_EQUAL: return f32x4.le(x, y);
    case COMPARE + AND: return v128.and(f32x4.ne(x, zero), f32x4.ne(y, zero));
    case COMPARE + OR: return v128.or(f32x4.ne(x, zero), f32x4.ne(y, zero));
    case COMPARE + XOR: return v128.xor(f32x4.ne(x, zero), f32x4.ne(y, zero));
    case COMPARE + INTEGER + EQUAL: return i32x4.eq(x, y);
    case COMPARE + INTEGER + NOT_EQUAL: return i32x4.ne(x, y);
    case COMPARE + INTEGER + LESS: return i32x4.lt_s(x, y);
    case COMPARE + INTEGER + LESS_EQUAL: return i32x4.le_s(x, y);
    case COMPARE + INTEGER + AND: return v128.and(i32x4.ne(x, zero), i32x4.ne(y, zero));
    case COMPARE + INTEGER + OR: return v128.or(i32x4.ne(x, zero), i32x4.ne(y, zero));
    default: return v128.xor(i32x4.ne(x, zero), i32x4.ne(y, zero));
  }
}

function mapWhere(a: usize, b: usize, condition: usize, fixedA: bool, fixedB: bool, x: v128, y: v128, output: usize, rest: i32): void {
  for (; rest > 0; rest -= 4) {
    if (!fixedA) x = rest >= 4 ? v128.load(a) : loadPartial(a, rest);
    if (!fixedB) y = rest >= 4 ? v128.load(b) : loadPartial(b, rest);
    let bytes: v128;
    if (rest >= 4) bytes = v128.load32_zero(condition);
    else {
      bytes = v128.load_lane<u8>(condition, i32x4.splat(0), 0);
      if (rest > 1) bytes = v128.load_lane<u8>(condition, bytes, 1, 1);
      if (rest > 2) bytes = v128.load_lane<u8>(condition, bytes, 2, 2);
    }
    const words = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
    const r = v128.bitselect(y, x, i32x4.eq(words, i32x4.splat(0)));
    if (rest >= 4) v128.store(output, r);
    else storePartial(output, r, rest);
    a += 16;
    b += 16;
    condition += 4;
    output += 16;
  }
}

function mapOther(code: i32, a: usize, b: usize, fixedA: bool, fixedB: bool, x: v128, y: v128, output: usize, rest: i32): void {
  const booleans = code >= COMPARE;
  for (; rest > 0; rest -= 4) {
    if (!fixedA) x = rest >= 4 ? v128.load(a) : loadPartial(a, rest);
    if (!fixedB) y = rest >= 4 ? v128.load(b) : loadPartial(b, rest);
    const r = applyOther(code, x, y);
    a += 16;
    b += 16;
    if (booleans) {
      storeBooleans(output, r, rest);
      output += 4;
      continue;
    }
    if (rest >= 4) v128.store(output, r);
    else storePartial(output, r, rest);
    output += 16;
  }
}

/** One run: operands contiguous, or the same value throughout. */
function run(
  code: i32, a: usize, b: usize, condition: usize, fixedA: bool, fixedB: bool, x: v128, y: v128, output: usize, count: i32,
): void {
  if (fixedA && !fixedB && (code == ADD || code == MULTIPLY)) {
    // The loops are quicker with the repeated value on the right.
    run(code, b, a, condition, false, true, y, x, output, count);
    return;
  }
  switch (code) {
    case ADD: mapSimple(ADD, a, b, fixedA, fixedB, x, y, output, count); break;
    case SUBTRACT: mapSimple(SUBTRACT, a, b, fixedA, fixedB, x, y, output, count); break;
    case MULTIPLY: mapSimple(MULTIPLY, a, b, fixedA, fixedB, x, y, output, count); break;
    case DIVIDE: mapSimple(DIVIDE, a, b, fixedA, fixedB, x, y, output, count); break;
    case WHERE: mapWhere(a, b, condition, fixedA, fixedB, x, y, output, count); break;
    default: mapOther(code, a, b, fixedA, fixedB, x, y, output, count);
  }
}

// @ts-ignore: decorator
@inline
function outputShift(code: i32): usize {
  return code >= COMPARE && code < WHERE ? 0 : 2;
}

/** output[i] = a[i] ∘ b[i], all contiguous; output may be a or b. Granularity 64. */
export function elementwise(code: i32, a: usize, b: usize, output: usize, begin: i32, end: i32): void {
  const start = <usize>begin;
  const zero = i32x4.splat(0);
  run(code, a + (start << 2), b + (start << 2), 0, false, false, zero, zero, output + (start << outputShift(code)), end - begin);
}

/** output[i] = a[i] ∘ scalar, or scalar ∘ a[i] with `reversed`; contiguous, output may be a. Granularity 64. */
export function elementwiseScalar(code: i32, a: usize, scalar: f64, reversed: i32, output: usize, begin: i32, end: i32): void {
  const start = <usize>begin;
  a += start << 2;
  const splat = code & INTEGER ? i32x4.splat(<i32>scalar) : f32x4.splat(<f32>scalar);
  run(code, a, a, 0, reversed != 0, reversed == 0, splat, splat, output + (start << outputShift(code)), end - begin);
}

/** Copies `count` elements with a stride into contiguous four-byte ones; with `narrow`, from bytes. */
function gatherChunk(source: usize, stride: i32, narrow: bool, target: usize, count: i32): usize {
  const step = narrow ? <usize>stride : <usize>stride << 2;
  for (let p = target, stop = target + (<usize>count << 2); p < stop; p += 4) {
    store<i32>(p, narrow ? <i32>load<u8>(source) : load<i32>(source));
    source += step;
  }
  return target;
}

/**
 * As `elementwise`, and `where`, for operands of up to four dimensions [any, n1, n2, n3] with strides a0…a3, b0…b3, c0…c3 (condition,
 * bytes); output contiguous. `narrow`: a and b are bytes. Range over elements, granularity 64. Scratch: 2,304 bytes.
 */
export function elementwiseStrided(
  code: i32, narrow: i32, a: usize, b: usize, condition: usize, output: usize, n1: i32, n2: i32, n3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32, b0: i32, b1: i32, b2: i32, b3: i32, c0: i32, c1: i32, c2: i32, c3: i32,
  scratch: usize, begin: i32, end: i32,
): void {
  const shift: usize = narrow ? 0 : 2;
  const gatherA = narrow != 0 || a3 != 0 && a3 != 1;
  const gatherB = narrow != 0 || b3 != 0 && b3 != 1;
  const gatherC = code == WHERE && c3 != 1;
  const fixedA = !gatherA && a3 == 0;
  const fixedB = !gatherB && b3 == 0;
  const limit = gatherA || gatherB || gatherC ? CHUNK : i32.MAX_VALUE;
  const zero = i32x4.splat(0);
  let column = begin % n3;
  let row = begin / n3;
  let i2 = row % n2;
  row /= n2;
  let i1 = row % n1;
  let i0 = row / n1;
  output += <usize>begin << outputShift(code);
  while (begin < end) {
    const count = min(min(n3 - column, end - begin), limit);
    let rowA = a + (<usize>(i0 * a0 + i1 * a1 + i2 * a2 + column * a3) << shift);
    let rowB = b + (<usize>(i0 * b0 + i1 * b1 + i2 * b2 + column * b3) << shift);
    let rowC = condition + <usize>(i0 * c0 + i1 * c1 + i2 * c2 + column * c3);
    const x = fixedA ? v128.load32_splat(rowA) : zero;
    const y = fixedB ? v128.load32_splat(rowB) : zero;
    if (gatherA) rowA = gatherChunk(rowA, a3, narrow != 0, scratch, count);
    if (gatherB) rowB = gatherChunk(rowB, b3, narrow != 0, scratch + (CHUNK << 2), count);
    if (gatherC) {
      const bytes = scratch + (CHUNK << 3);
      for (let i: usize = 0; i < <usize>count; i++) {
        store<u8>(bytes + i, load<u8>(rowC));
        rowC += <usize>c3;
      }
      rowC = bytes;
    }
    run(code, rowA, rowB, rowC, fixedA, fixedB, x, y, output, count);
    output += <usize>count << outputShift(code);
    begin += count;
    column += count;
    if (column == n3) {
      column = 0;
      if (++i2 == n2) {
        i2 = 0;
        if (++i1 == n1) {
          i1 = 0;
          i0++;
        }
      }
    }
  }
}

/** output[i] += scale * input[i]. Granularity 16. */
export function addScaledF32(output: usize, input: usize, scale: f32, begin: i32, end: i32): void {
  output += <usize>begin << 2;
  input += <usize>begin << 2;
  const factor = f32x4.splat(scale);
  let rest = end - begin;
  for (; rest >= 16; rest -= 16) {
    v128.store(output, multiplyAdd(factor, v128.load(input), v128.load(output)));
    v128.store(output, multiplyAdd(factor, v128.load(input, 16), v128.load(output, 16)), 16);
    v128.store(output, multiplyAdd(factor, v128.load(input, 32), v128.load(output, 32)), 32);
    v128.store(output, multiplyAdd(factor, v128.load(input, 48), v128.load(output, 48)), 48);
    output += 64;
    input += 64;
  }
  for (; rest > 0; rest -= 4) {
    const whole = rest >= 4;
    const sum = multiplyAdd(
      factor, whole ? v128.load(input) : loadPartial(input, rest), whole ? v128.load(output) : loadPartial(output, rest),
    );
    if (whole) v128.store(output, sum);
    else storePartial(output, sum, rest);
    output += 16;
    input += 16;
  }
}
