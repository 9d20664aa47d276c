/**
 * Passes over one row of floats, shared by `rows` and `attention`. Not exported from the module: `index.ts` leaves this file out.
 *
 * Sums run in 4 or 16 partial sums (one or four vectors), added at the end: an order that depends on the length alone.
 */
import { constant, LOG2_E, ONE } from "./constants";
import { loadPartial, multiplyAdd, storePartial, sumLanes } from "./math";

/** 1 / ln 2 and ln 2. */
export const LOG2E: f32 = 1.44269504088896341;
export const LN2: f32 = 0.69314718055994531;

/**
 * Constants of `powerOfTwo`. Loops copy them to locals first, so that V8 keeps them in registers: see `constants.ts`.
 * POWER_LEAST is the least argument (it gives 0); POWER_ROUND = 1.5 * 2^23 + 127 leaves the biased exponent in the low bits of a sum with
 * it; the coefficients have the least maximum relative error on [-1/2, 1/2] with 2^0 = 1.
 */
export const POWER_LEAST: v128 = constant(-127.0);
export const POWER_MOST: v128 = constant(128.0);
export const POWER_ROUND: v128 = constant(12583039.0);
export const POWER_1: v128 = constant(0.6931469775976783);
export const POWER_2: v128 = constant(0.24022242083111817);
export const POWER_3: v128 = constant(5.5507337444712944e-2);
export const POWER_4: v128 = constant(9.671512785775284e-3);
export const POWER_5: v128 = constant(1.3264727252578243e-3);

/** 2^x for x <= 128, under 2 ulp; results under 2^-126 are 0, 2^128 is Infinity, NaN stays. The other arguments are the constants above. */
// @ts-ignore: decorator
@inline
export function powerOfTwo(
  x: v128, least: v128, round: v128, one: v128, c1: v128, c2: v128, c3: v128, c4: v128, c5: v128,
): v128 {
  const clamped = f32x4.pmax(x, least);
  const shifted = f32x4.add(clamped, round);
  const r = f32x4.sub(clamped, f32x4.sub(shifted, round));
  const square = f32x4.mul(r, r);
  const low = multiplyAdd(c1, r, one);
  const middle = multiplyAdd(c3, r, c2);
  const high = multiplyAdd(c5, r, c4);
  return f32x4.mul(multiplyAdd(multiplyAdd(high, square, middle), square, low), i32x4.shl(shifted, 23));
}

/** 2^x of one number, as `powerOfTwo`. */
export function powerOfTwoOf(x: f32): f32 {
  const p = powerOfTwo(f32x4.splat(x), POWER_LEAST, POWER_ROUND, ONE, POWER_1, POWER_2, POWER_3, POWER_4, POWER_5);
  return f32x4.extract_lane(p, 0);
}

/** All ones in the first `count` (1 to 3) lanes. */
// @ts-ignore: decorator
@inline
export function partialLanes(count: i32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count));
}

/** Largest lane; NaN lanes are passed over, unless all are. */
// @ts-ignore: decorator
@inline
export function maximumLaneIgnoringNaN(v: v128): f32 {
  let pair = f32x4.pmax(f32x4.splat(-Infinity), v);
  pair = f32x4.pmax(pair, v128.shuffle<i32>(pair, pair, 2, 3, 0, 1));
  pair = f32x4.pmax(pair, v128.shuffle<i32>(pair, pair, 1, 0, 3, 2));
  return f32x4.extract_lane(pair, 0);
}

/** Largest of `scale * x`, NaN passed over: it shows in the exponentials later. -Infinity for an empty row. */
export function maximumOfRow(x: usize, count: i32, scale: f32): f32 {
  const factor = f32x4.splat(scale);
  let max0 = f32x4.splat(-Infinity);
  let max1 = max0;
  let max2 = max0;
  let max3 = max0;
  const end = x + (<usize>count << 2);
  for (; x + 64 <= end; x += 64) {
    max0 = f32x4.pmax(max0, f32x4.mul(factor, v128.load(x)));
    max1 = f32x4.pmax(max1, f32x4.mul(factor, v128.load(x, 16)));
    max2 = f32x4.pmax(max2, f32x4.mul(factor, v128.load(x, 32)));
    max3 = f32x4.pmax(max3, f32x4.mul(factor, v128.load(x, 48)));
  }
  for (; x + 16 <= end; x += 16) max0 = f32x4.pmax(max0, f32x4.mul(factor, v128.load(x)));
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    const last = v128.bitselect(f32x4.mul(factor, loadPartial(x, rest)), f32x4.splat(-Infinity), partialLanes(rest));
    max1 = f32x4.pmax(max1, last);
  }
  return maximumLaneIgnoringNaN(f32x4.pmax(f32x4.pmax(max0, max1), f32x4.pmax(max2, max3)));
}

/**
 * output = e^(scale * x - base) if `natural`, 2^(x - base) if not, for arguments that are not positive; gives the sum. Stores only with
 * `stored`; both are constants of the call. One vector a turn: two would need more registers than there are.
 */
// @ts-ignore: decorator
@inline
function exponentials(x: usize, output: usize, count: i32, scale: f32, base: f32, natural: boolean, stored: boolean): f32 {
  const least = POWER_LEAST;
  const round = POWER_ROUND;
  const one = ONE;
  const c1 = POWER_1;
  const c2 = POWER_2;
  const c3 = POWER_3;
  const c4 = POWER_4;
  const c5 = POWER_5;
  const log2e = LOG2_E;
  const factor = f32x4.splat(scale);
  const shift = f32x4.splat(base);
  let sum = f32x4.splat(0.0);
  const end = x + (<usize>count << 2);
  for (; x + 16 <= end; x += 16) {
    let t = v128.load(x);
    // Subtracting before the change of base keeps the digits of large scores' differences.
    if (natural) t = f32x4.mul(f32x4.sub(f32x4.mul(factor, t), shift), log2e);
    else t = f32x4.sub(t, shift);
    const e = powerOfTwo(t, least, round, one, c1, c2, c3, c4, c5);
    sum = f32x4.add(sum, e);
    if (stored) {
      v128.store(output, e);
      output += 16;
    }
  }
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    let t = loadPartial(x, rest);
    if (natural) t = f32x4.mul(f32x4.sub(f32x4.mul(factor, t), shift), log2e);
    else t = f32x4.sub(t, shift);
    const e = v128.and(powerOfTwo(t, least, round, one, c1, c2, c3, c4, c5), partialLanes(rest));
    sum = f32x4.add(sum, e);
    if (stored) storePartial(output, e, rest);
  }
  return sumLanes(sum);
}

/** output = e^(scale * x - base) for arguments that are not positive, in place if wanted; gives the sum. */
export function exponentialsOfRow(x: usize, output: usize, count: i32, scale: f32, base: f32): f32 {
  return exponentials(x, output, count, scale, base, true, true);
}

/** Σ e^(scale * x - base), for arguments that are not positive. */
export function sumOfExponentials(x: usize, count: i32, scale: f32, base: f32): f32 {
  return exponentials(x, 0, count, scale, base, true, false);
}

/** x = 2^(x - base), in place, for arguments that are not positive; gives the sum. */
export function powersOfRow(x: usize, count: i32, base: f32): f32 {
  return exponentials(x, x, count, 1.0, base, false, true);
}

/** (Σ a, Σ b, Σ c, Σ d). */
// @ts-ignore: decorator
@inline
export function sumOfEach(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

/** The largest lane of each of four vectors without NaN. */
// @ts-ignore: decorator
@inline
function maximumOfEach(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.pmax(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.pmax(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.pmax(v128.shuffle<i64>(ab, cd, 0, 2), v128.shuffle<i64>(ab, cd, 1, 3));
}

/** The largest of each of four rows `stride` bytes apart, NaN passed over; `bytes` is a multiple of 16. */
// @ts-ignore: decorator
@inline
function maximumOfFourRows(x: usize, stride: usize, bytes: usize): v128 {
  let max0 = f32x4.splat(-Infinity);
  let max1 = max0;
  let max2 = max0;
  let max3 = max0;
  const end = x + bytes;
  for (; x < end; x += 16) {
    max0 = f32x4.pmax(max0, v128.load(x));
    max1 = f32x4.pmax(max1, v128.load(x + stride));
    max2 = f32x4.pmax(max2, v128.load(x + 2 * stride));
    max3 = f32x4.pmax(max3, v128.load(x + 3 * stride));
  }
  return maximumOfEach(max0, max1, max2, max3);
}

/**
 * One step of softmax over blocks, for four rows `stride` bytes apart of `bytes` (a multiple of 16) bytes: x = 2^(x - maximum), in place,
 * with the largest seen so far. `state` holds the four maxima and the four sums so far. Gives the factors by which what was accumulated
 * before must be multiplied.
 */
export function updateFourRows(x: usize, stride: usize, bytes: usize, state: usize): v128 {
  const least = POWER_LEAST;
  const round = POWER_ROUND;
  const one = ONE;
  const c1 = POWER_1;
  const c2 = POWER_2;
  const c3 = POWER_3;
  const c4 = POWER_4;
  const c5 = POWER_5;
  const before = v128.load(state);
  const maximum = f32x4.pmax(before, maximumOfFourRows(x, stride, bytes));
  // Where nothing was seen yet, subtracting 0 turns -Infinity into 0 and keeps NaN.
  let bases = v128.andnot(maximum, f32x4.eq(maximum, f32x4.splat(-Infinity)));
  const factors = powerOfTwo(f32x4.sub(before, bases), least, round, one, c1, c2, c3, c4, c5);
  v128.store(state, maximum);
  let sums = f32x4.splat(0.0);
  for (let row = 0; row < 4; row++) {
    const base = v128.shuffle<i32>(bases, bases, 0, 0, 0, 0);
    let sum = f32x4.splat(0.0);
    const end = x + bytes;
    for (let p = x; p < end; p += 16) {
      const e = powerOfTwo(f32x4.sub(v128.load(p), base), least, round, one, c1, c2, c3, c4, c5);
      v128.store(p, e);
      sum = f32x4.add(sum, e);
    }
    // Both vectors turn by a lane, so that the lanes in use have constant numbers.
    bases = v128.shuffle<i32>(bases, bases, 1, 2, 3, 0);
    sums = f32x4.replace_lane(v128.shuffle<i32>(sums, sums, 1, 2, 3, 0), 3, sumLanes(sum));
    x += stride;
  }
  v128.store(state, f32x4.add(f32x4.mul(v128.load(state, 16), factors), sums), 16);
  return factors;
}

/** x = 2^(x - base), in place, for four rows `stride` bytes apart of `bytes` (a multiple of 16) bytes, with bases of their own. */
export function powersOfFourRows(x: usize, stride: usize, bytes: usize, bases: v128): void {
  const least = POWER_LEAST;
  const round = POWER_ROUND;
  const one = ONE;
  const c1 = POWER_1;
  const c2 = POWER_2;
  const c3 = POWER_3;
  const c4 = POWER_4;
  const c5 = POWER_5;
  for (let row = 0; row < 4; row++) {
    const base = v128.shuffle<i32>(bases, bases, 0, 0, 0, 0);
    const end = x + bytes;
    for (let p = x; p < end; p += 16) {
      v128.store(p, powerOfTwo(f32x4.sub(v128.load(p), base), least, round, one, c1, c2, c3, c4, c5));
    }
    bases = v128.shuffle<i32>(bases, bases, 1, 2, 3, 0);
    x += stride;
  }
}

/** Σ x. */
export function sumOfRow(x: usize, count: i32): f32 {
  let sum0 = f32x4.splat(0.0);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  const end = x + (<usize>count << 2);
  for (; x + 64 <= end; x += 64) {
    sum0 = f32x4.add(sum0, v128.load(x));
    sum1 = f32x4.add(sum1, v128.load(x, 16));
    sum2 = f32x4.add(sum2, v128.load(x, 32));
    sum3 = f32x4.add(sum3, v128.load(x, 48));
  }
  for (; x + 16 <= end; x += 16) sum0 = f32x4.add(sum0, v128.load(x));
  if (x < end) sum1 = f32x4.add(sum1, loadPartial(x, <i32>(end - x) >> 2));
  return sumLanes(f32x4.add(f32x4.add(sum0, sum1), f32x4.add(sum2, sum3)));
}

/** Σ (x - shift)². */
export function sumOfSquares(x: usize, count: i32, shift: f32): f32 {
  const mean = f32x4.splat(shift);
  let sum0 = f32x4.splat(0.0);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  const end = x + (<usize>count << 2);
  for (; x + 64 <= end; x += 64) {
    const d0 = f32x4.sub(v128.load(x), mean);
    const d1 = f32x4.sub(v128.load(x, 16), mean);
    const d2 = f32x4.sub(v128.load(x, 32), mean);
    const d3 = f32x4.sub(v128.load(x, 48), mean);
    sum0 = f32x4.add(sum0, f32x4.mul(d0, d0));
    sum1 = f32x4.add(sum1, f32x4.mul(d1, d1));
    sum2 = f32x4.add(sum2, f32x4.mul(d2, d2));
    sum3 = f32x4.add(sum3, f32x4.mul(d3, d3));
  }
  for (; x + 16 <= end; x += 16) {
    const d = f32x4.sub(v128.load(x), mean);
    sum0 = f32x4.add(sum0, f32x4.mul(d, d));
  }
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    const d = v128.and(f32x4.sub(loadPartial(x, rest), mean), partialLanes(rest));
    sum1 = f32x4.add(sum1, f32x4.mul(d, d));
  }
  return sumLanes(f32x4.add(f32x4.add(sum0, sum1), f32x4.add(sum2, sum3)));
}

/** Σ x y. */
export function dotOfRows(x: usize, y: usize, count: i32): f32 {
  let sum0 = f32x4.splat(0.0);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  const end = x + (<usize>count << 2);
  for (; x + 64 <= end; x += 64, y += 64) {
    sum0 = f32x4.add(sum0, f32x4.mul(v128.load(x), v128.load(y)));
    sum1 = f32x4.add(sum1, f32x4.mul(v128.load(x, 16), v128.load(y, 16)));
    sum2 = f32x4.add(sum2, f32x4.mul(v128.load(x, 32), v128.load(y, 32)));
    sum3 = f32x4.add(sum3, f32x4.mul(v128.load(x, 48), v128.load(y, 48)));
  }
  for (; x + 16 <= end; x += 16, y += 16) sum0 = f32x4.add(sum0, f32x4.mul(v128.load(x), v128.load(y)));
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    sum1 = f32x4.add(sum1, f32x4.mul(loadPartial(x, rest), loadPartial(y, rest)));
  }
  return sumLanes(f32x4.add(f32x4.add(sum0, sum1), f32x4.add(sum2, sum3)));
}

/** x *= factor. */
export function scaleRow(x: usize, count: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  const end = x + (<usize>count << 2);
  for (; x + 16 <= end; x += 16) v128.store(x, f32x4.mul(v128.load(x), f));
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    storePartial(x, f32x4.mul(loadPartial(x, rest), f), rest);
  }
}

/** output = scale * x + maskScale * mask, with any step between the mask's elements; in place if wanted. */
export function addMaskToRow(x: usize, output: usize, count: i32, scale: f32, mask: usize, maskStride: i32, maskScale: f32): void {
  const factor = f32x4.splat(scale);
  const maskFactor = f32x4.splat(maskScale);
  const end = x + (<usize>count << 2);
  if (maskStride == 1) {
    for (; x + 16 <= end; x += 16, output += 16, mask += 16) {
      v128.store(output, f32x4.add(f32x4.mul(factor, v128.load(x)), f32x4.mul(maskFactor, v128.load(mask))));
    }
  }
  const step = <usize>maskStride << 2;
  for (; x < end; x += 4, output += 4, mask += step) store<f32>(output, scale * load<f32>(x) + maskScale * load<f32>(mask));
}
