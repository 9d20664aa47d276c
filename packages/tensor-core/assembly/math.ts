/**
 * Inlined SIMD functions shared by the kernel files. Not exported from the module: `index.ts` leaves this file out.
 *
 * Coefficients are those of Cephes (Moshier, single precision), except `erf` (N. Juffa's two-branch minimax fit) and `exp` (a minimax fit
 * of (e^r - 1 - r) / r², doubled). Error bounds are measured in `src/backend/wasm/elementwise.test.ts`. All functions keep NaN, and give
 * the same bits in every lane and on every machine in the baseline build.
 */

import {
  EXP_HIGH, EXP_LOW, LOG2_E, EXP_SHIFT, LN2_HIGH, LN2_LOW, EXP_0, EXP_1, EXP_2, EXP_3, EXP_4, TWO, SMALLEST_NORMAL, TWO_23, ONE,
  DENORMAL_EXPONENT, LOG_0, LOG_1, LOG_2, LOG_3, LOG_4, LOG_5, LOG_6, LOG_7, LOG_8, HALF, INFINITY, TANH_0, TANH_1, TANH_2, TANH_3, TANH_4,
  TANH_SWITCH, ERFC_0, ERFC_1, ERFC_2, ERFC_3, ERFC_4, ERFC_5, ERFC_6, ERF_0, ERF_1, ERF_2, ERF_3, ERF_4, ERF_5, ERF_LIMIT, ERF_SWITCH,
  LOWEST, HUNDRED, MINUS_HUNDRED, SQRT_HALF, DENSITY_AT_0, MINUS_HALF, GELU_3, GELU_1, GELU_SLOPE, SIGN_BIT, SQRT_HALF_BITS,
} from "./constants";
/** a * b + c: one rounding in the relaxed build where the machine has it, two roundings in the baseline build. */
// @ts-ignore: decorator
@inline
export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  // RELAXED is a constant of the build; the other branch is never compiled.
  if (RELAXED) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** c - a * b. */
// @ts-ignore: decorator
@inline
export function negativeMultiplyAdd(a: v128, b: v128, c: v128): v128 {
  if (RELAXED) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** Loads the last `count` (1 to 3) floats of an array; the other lanes are 0. */
// @ts-ignore: decorator
@inline
export function loadPartial(pointer: usize, count: i32): v128 {
  let v = v128.load32_zero(pointer);
  if (count > 1) v = v128.load_lane<f32>(pointer, v, 1, 4);
  if (count > 2) v = v128.load_lane<f32>(pointer, v, 2, 8);
  return v;
}

/** Stores the first `count` (1 to 3) lanes. */
// @ts-ignore: decorator
@inline
export function storePartial(pointer: usize, v: v128, count: i32): void {
  v128.store_lane<f32>(pointer, v, 0);
  if (count > 1) v128.store_lane<f32>(pointer, v, 1, 4);
  if (count > 2) v128.store_lane<f32>(pointer, v, 2, 8);
}

/** Stores the lanes of a mask as bytes 0 or 1: four, or the first `rest` if fewer. */
// @ts-ignore: decorator
@inline
export function storeBooleans(output: usize, mask: v128, rest: i32): void {
  const words = i16x8.narrow_i32x4_s(mask, mask);
  const bytes = i32x4.extract_lane(i8x16.narrow_i16x8_s(words, words), 0) & 0x01010101;
  if (rest >= 4) store<i32>(output, bytes);
  else {
    store<u8>(output, bytes);
    if (rest > 1) store<u8>(output, bytes >> 8, 1);
    if (rest > 2) store<u8>(output, bytes >> 16, 2);
  }
}

/** (v0 + v2) + (v1 + v3). */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  const pair = f32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pair, 0) + f32x4.extract_lane(pair, 1);
}

/** Largest lane; NaN if any lane is NaN. */
// @ts-ignore: decorator
@inline
export function maxLanes(v: v128): f32 {
  const pair = f32x4.max(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return max<f32>(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1));
}

/** Smallest lane; NaN if any lane is NaN. */
// @ts-ignore: decorator
@inline
export function minLanes(v: v128): f32 {
  const pair = f32x4.min(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return min<f32>(f32x4.extract_lane(pair, 0), f32x4.extract_lane(pair, 1));
}

/**
 * e^x. Overflow gives Infinity; results under 2^-125.5 are flushed to 0.
 *
 * n = round(x / ln 2) comes from adding 1.5 * 2^23: the low bits of the sum are then n (here n + 126, so that one shift makes 2^(n - 1)).
 * The polynomial is doubled to make up for the missing power of two, which lets n reach 128 without an infinite scale.
 */
// @ts-ignore: decorator
@inline
export function expF32x4(x: v128): v128 {
  const clamped = f32x4.pmax(f32x4.pmin(x, EXP_HIGH), EXP_LOW);
  const shifted = f32x4.add(f32x4.mul(clamped, LOG2_E), EXP_SHIFT);
  const n = f32x4.sub(shifted, EXP_SHIFT);
  let r = negativeMultiplyAdd(n, LN2_HIGH, clamped);
  r = negativeMultiplyAdd(n, LN2_LOW, r);
  let p = multiplyAdd(EXP_0, r, EXP_1);
  p = multiplyAdd(p, r, EXP_2);
  p = multiplyAdd(p, r, EXP_3);
  p = multiplyAdd(p, r, EXP_4);
  p = multiplyAdd(p, f32x4.mul(r, r), f32x4.add(f32x4.add(r, r), TWO));
  return f32x4.mul(p, i32x4.shl(shifted, 23));
}

/** `expF32x4` of one number. */
// @ts-ignore: decorator
@inline
export function expF32(x: f32): f32 {
  return f32x4.extract_lane(expF32x4(f32x4.splat(x)), 0);
}

/** ln x. 0 gives -Infinity, negative numbers NaN; denormals are exact. */
// @ts-ignore: decorator
@inline
export function logF32x4(x: v128): v128 {
  const tiny = f32x4.lt(x, SMALLEST_NORMAL);
  const scaled = v128.bitselect(f32x4.mul(x, TWO_23), x, tiny);
  // exponent so that the mantissa lies in [sqrt(1/2), sqrt(2))
  const exponent = i32x4.shr_s(i32x4.sub(scaled, SQRT_HALF_BITS), 23);
  const f = f32x4.sub(i32x4.sub(scaled, i32x4.shl(exponent, 23)), ONE);
  const e = f32x4.sub(f32x4.convert_i32x4_s(exponent), v128.and(tiny, DENORMAL_EXPONENT));
  const z = f32x4.mul(f, f);
  let p = multiplyAdd(LOG_0, f, LOG_1);
  p = multiplyAdd(p, f, LOG_2);
  p = multiplyAdd(p, f, LOG_3);
  p = multiplyAdd(p, f, LOG_4);
  p = multiplyAdd(p, f, LOG_5);
  p = multiplyAdd(p, f, LOG_6);
  p = multiplyAdd(p, f, LOG_7);
  p = multiplyAdd(p, f, LOG_8);
  p = f32x4.mul(f32x4.mul(p, f), z);
  p = multiplyAdd(e, LN2_LOW, p);
  p = negativeMultiplyAdd(HALF, z, p);
  let result = multiplyAdd(e, LN2_HIGH, f32x4.add(f, p));
  const infinity = INFINITY;
  result = v128.bitselect(infinity, result, f32x4.eq(x, infinity));
  result = v128.bitselect(f32x4.splat(-Infinity), result, f32x4.eq(x, f32x4.splat(0.0)));
  // all ones is a NaN: it marks negative numbers, and NaN itself
  return v128.or(result, v128.not(f32x4.ge(x, f32x4.splat(0.0))));
}

/** `logF32x4` of one number. */
// @ts-ignore: decorator
@inline
export function logF32(x: f32): f32 {
  return f32x4.extract_lane(logF32x4(f32x4.splat(x)), 0);
}

/** tanh x. */
// @ts-ignore: decorator
@inline
export function tanhF32x4(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let p = multiplyAdd(TANH_0, z, TANH_1);
  p = multiplyAdd(p, z, TANH_2);
  p = multiplyAdd(p, z, TANH_3);
  p = multiplyAdd(p, z, TANH_4);
  const near = multiplyAdd(f32x4.mul(p, z), x, x);
  const e = expF32x4(f32x4.add(magnitude, magnitude));
  const far = f32x4.sub(ONE, f32x4.div(TWO, f32x4.add(e, ONE)));
  const signed = v128.or(far, v128.and(x, SIGN_BIT));
  return v128.bitselect(signed, near, f32x4.ge(magnitude, TANH_SWITCH));
}

/** 1 / (1 + e^-x). */
// @ts-ignore: decorator
@inline
export function sigmoidF32x4(x: v128): v128 {
  return f32x4.div(ONE, f32x4.add(ONE, expF32x4(f32x4.neg(x))));
}

/** max(x, 0); NaN and -0 stay. */
// @ts-ignore: decorator
@inline
export function reluF32x4(x: v128): v128 {
  return f32x4.pmax(x, f32x4.splat(0.0));
}

/** x / (1 + e^-x), 0 at -Infinity. */
// @ts-ignore: decorator
@inline
export function siluF32x4(x: v128): v128 {
  return f32x4.div(f32x4.pmax(x, LOWEST), f32x4.add(ONE, expF32x4(f32x4.neg(x))));
}

/** Infinities, and all other places where derivatives of activations are 0 or 1 anyway, become finite, so that no ∞ · 0 arises. */
// @ts-ignore: decorator
@inline
function clampForDerivative(x: v128): v128 {
  return f32x4.pmax(f32x4.pmin(x, HUNDRED), MINUS_HUNDRED);
}

/** The derivative of `silu`: s (1 + x (1 - s)), s = sigmoid(x). */
// @ts-ignore: decorator
@inline
export function siluDerivativeF32x4(x: v128): v128 {
  x = clampForDerivative(x);
  const s = sigmoidF32x4(x);
  const one = ONE;
  return f32x4.mul(s, f32x4.add(one, f32x4.mul(x, f32x4.sub(one, s))));
}

/** erfc(t) for t >= 0.92 (`t` up to 10). */
// @ts-ignore: decorator
@inline
function erfcTail(t: v128): v128 {
  let p = multiplyAdd(ERFC_0, t, ERFC_1);
  p = multiplyAdd(p, t, ERFC_2);
  p = multiplyAdd(p, t, ERFC_3);
  p = multiplyAdd(p, t, ERFC_4);
  p = multiplyAdd(p, t, ERFC_5);
  p = multiplyAdd(p, t, ERFC_6);
  return expF32x4(f32x4.sub(f32x4.mul(p, t), t));
}

/** erf(x) for |x| <= 0.92. */
// @ts-ignore: decorator
@inline
function erfCentre(x: v128): v128 {
  const z = f32x4.mul(x, x);
  let p = multiplyAdd(ERF_0, z, ERF_1);
  p = multiplyAdd(p, z, ERF_2);
  p = multiplyAdd(p, z, ERF_3);
  p = multiplyAdd(p, z, ERF_4);
  p = multiplyAdd(p, z, ERF_5);
  return multiplyAdd(p, x, x);
}

/** erf x. */
// @ts-ignore: decorator
@inline
export function erfF32x4(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const far = f32x4.sub(ONE, erfcTail(f32x4.pmin(magnitude, ERF_LIMIT)));
  const signed = v128.or(far, v128.and(x, SIGN_BIT));
  return v128.bitselect(signed, erfCentre(x), f32x4.gt(magnitude, ERF_SWITCH));
}

/** The normal distribution function Φ(x) = (1 + erf(x / √2)) / 2, without cancellation for negative x. */
// @ts-ignore: decorator
@inline
export function normalDistributionF32x4(x: v128): v128 {
  const t = f32x4.mul(x, SQRT_HALF);
  const magnitude = f32x4.abs(t);
  const half = HALF;
  const tail = f32x4.mul(half, erfcTail(f32x4.pmin(magnitude, ERF_LIMIT)));
  const far = v128.bitselect(tail, f32x4.sub(ONE, tail), f32x4.lt(x, f32x4.splat(0.0)));
  const near = multiplyAdd(half, erfCentre(t), half);
  return v128.bitselect(far, near, f32x4.gt(magnitude, ERF_SWITCH));
}

/** x Φ(x), 0 at -Infinity. */
// @ts-ignore: decorator
@inline
export function geluF32x4(x: v128): v128 {
  return f32x4.mul(f32x4.pmax(x, LOWEST), normalDistributionF32x4(x));
}

/** The derivative of `gelu`: Φ(x) + x φ(x). */
// @ts-ignore: decorator
@inline
export function geluDerivativeF32x4(x: v128): v128 {
  x = clampForDerivative(x);
  const density = f32x4.mul(DENSITY_AT_0, expF32x4(f32x4.mul(MINUS_HALF, f32x4.mul(x, x))));
  return f32x4.add(normalDistributionF32x4(x), f32x4.mul(x, density));
}

/** x sigmoid(2 √(2/π) (x + 0.044715 x³)), which is x (1 + tanh(…)) / 2. */
// @ts-ignore: decorator
@inline
export function geluTanhF32x4(x: v128): v128 {
  const z = f32x4.mul(x, x);
  const u = f32x4.mul(x, multiplyAdd(z, GELU_3, GELU_1));
  return siluRatio(x, u);
}

/** x / (1 + e^-u). */
// @ts-ignore: decorator
@inline
function siluRatio(x: v128, u: v128): v128 {
  return f32x4.div(f32x4.pmax(x, LOWEST), f32x4.add(ONE, expF32x4(f32x4.neg(u))));
}

/** The derivative of `geluTanh`: s + x s (1 - s) u'. */
// @ts-ignore: decorator
@inline
export function geluTanhDerivativeF32x4(x: v128): v128 {
  x = clampForDerivative(x);
  const one = ONE;
  const z = f32x4.mul(x, x);
  const s = sigmoidF32x4(f32x4.mul(x, multiplyAdd(z, GELU_3, GELU_1)));
  const slope = multiplyAdd(z, GELU_SLOPE, GELU_1);
  return f32x4.add(s, f32x4.mul(f32x4.mul(x, slope), f32x4.mul(s, f32x4.sub(one, s))));
}

/** e^x - 1 without cancellation near 0. */
// @ts-ignore: decorator
@inline
export function expm1F32x4(x: v128): v128 {
  // e^(2h) - 1 = 2 t / (1 - t) with t = tanh(h); near 0 the odd polynomial of tanh keeps all bits.
  const one = ONE;
  const h = f32x4.mul(x, HALF);
  const z = f32x4.mul(h, h);
  let p = multiplyAdd(TANH_0, z, TANH_1);
  p = multiplyAdd(p, z, TANH_2);
  p = multiplyAdd(p, z, TANH_3);
  p = multiplyAdd(p, z, TANH_4);
  const t = multiplyAdd(f32x4.mul(p, z), h, h);
  const near = f32x4.div(f32x4.add(t, t), f32x4.sub(one, t));
  const far = f32x4.sub(expF32x4(x), one);
  return v128.bitselect(far, near, f32x4.ge(f32x4.abs(x), ONE));
}

/** ln(1 + x) without cancellation near 0. */
// @ts-ignore: decorator
@inline
export function log1pF32x4(x: v128): v128 {
  // Goldberg's correction: log(u) x / (u - 1) with u = 1 + x rounded.
  const one = ONE;
  const u = f32x4.add(one, x);
  const d = f32x4.sub(u, one);
  const logarithm = logF32x4(u);
  const corrected = f32x4.mul(logarithm, f32x4.div(x, d));
  const unchanged = f32x4.eq(u, one);
  const endless = v128.or(f32x4.eq(x, INFINITY), f32x4.eq(u, f32x4.splat(0.0)));
  return v128.bitselect(x, v128.bitselect(logarithm, corrected, endless), unchanged);
}

/** ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|). */
// @ts-ignore: decorator
@inline
export function softplusF32x4(x: v128): v128 {
  return f32x4.add(reluF32x4(x), log1pF32x4(expF32x4(f32x4.neg(f32x4.abs(x)))));
}
