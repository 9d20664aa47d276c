/**
 * sin, cos, tan and atan2 of four floats. Cephes polynomials; reduction in f64, and with the bits of 2/π for large arguments. Not exported
 * from the module.
 */
import {
  ONE, HALF, SMALL_ANGLE, CIRCULAR_0, CIRCULAR_1, CIRCULAR_2, CIRCULAR_3, CIRCULAR_4, CIRCULAR_5, ATAN_SWITCH, ATAN_0, ATAN_1, ATAN_2,
  ATAN_3, QUARTER_PI, HALF_PI, PI, SIGN_BIT, TWO_OVER_PI, ROUND_SHIFT, HALF_PI_HIGH, HALF_PI_LOW,
} from "./constants";
import { multiplyAdd } from "./math";

/** 32 bits of 2/π whose last byte is byte `index` (0 = the first byte of the fraction; bytes before it are 0). */
function twoOverPiWindow(index: i32): u64 {
  let window: u64 = 0;
  for (let i = index - 3; i <= index; i++) {
    const word: u64 = i < 8 ? 0xa2f9836e4e441529 : i < 16 ? 0xfc2757d1f534ddc0 : 0xdb6295993c439041;
    window = window << 8 | (i < 0 ? 0 : word >> <u64>(56 - 8 * (i & 7)) & 255);
  }
  return window;
}

/**
 * x = n π/2 + r with |r| <= π/4, for any float: gives 8 (n mod 4) + r in one number, NaN for infinities and NaN.
 * Large ones by integer multiplication with the bits of 2/π that matter (Payne & Hanek, laid out as in ARM's optimized routines).
 */
function reduceToQuadrant(x: f32): f64 {
  if (abs(x) < 1000000.0) {
    const n = nearest<f64>(<f64>x * 0.63661977236758134);
    return <f64>x - n * 1.57079632673412561417 - n * 6.07710050650619224932e-11 + <f64>(<i32>n & 3) * 8.0;
  }
  const bits = reinterpret<u32>(x);
  if ((bits >> 23 & 255) == 255) return NaN;
  const index = <i32>(bits >> 26 & 15);
  const mantissa = <u64>((bits & 0x7fffff | 0x800000) << (bits >> 23 & 7));
  const high = <u64>(<u32>(mantissa * twoOverPiWindow(index)));
  const low = mantissa * twoOverPiWindow(index + 8) >> 32;
  let product = (high << 32 | low) + mantissa * twoOverPiWindow(index + 4);
  const n = product + (1 << 61) >> 62;
  product -= n << 62;
  const r = <f64>(<i64>product) * 3.4061215800304626e-19; // π / 2 / 2^62
  return bits >> 31 ? -r + <f64>(4 - n & 3) * 8.0 : r + <f64>n * 8.0;
}

/** n = round(x / (π/2)) in f64, plus 1.5 * 2^52 so that its low bits can be read. */
// @ts-ignore: decorator
@inline
function shiftedQuadrant(x: v128): v128 {
  return f64x2.add(f64x2.mul(x, TWO_OVER_PI), ROUND_SHIFT);
}

/** x - n π/2 in two steps: n times the first, 33-bit part is exact for |n| < 2^20. */
// @ts-ignore: decorator
@inline
function quadrantRemainder(x: v128, shifted: v128): v128 {
  const n = f64x2.sub(shifted, ROUND_SHIFT);
  const r = f64x2.sub(x, f64x2.mul(n, HALF_PI_HIGH));
  return f64x2.sub(r, f64x2.mul(n, HALF_PI_LOW));
}

/** Which of sin, cos and tan `circularF32x4` gives. */
export const SINE: i32 = 0;
export const COSINE: i32 = 1;
export const TANGENT: i32 = 2;

/** sin, cos or tan of any float: reduction in f64, exact for |x| < 1e6, lane by lane beyond that. `kind` is a constant of the call. */
// @ts-ignore: decorator
@inline
export function circularF32x4(x: v128, kind: i32): v128 {
  let r: v128;
  let n: v128;
  if (v128.any_true(v128.not(f32x4.lt(f32x4.abs(x), SMALL_ANGLE)))) {
    r = f32x4.splat(0.0);
    n = i32x4.splat(0);
    for (let lane = 0; lane < 4; lane++) {
      // Lane numbers must be constants, so the vectors turn instead.
      const packed = reduceToQuadrant(f32x4.extract_lane(x, 0));
      const quadrant = nearest<f64>(packed * 0.125);
      r = f32x4.replace_lane(r, 0, <f32>(packed - 8.0 * quadrant));
      n = i32x4.replace_lane(n, 0, <i32>quadrant);
      x = v128.shuffle<i32>(x, x, 1, 2, 3, 0);
      r = v128.shuffle<i32>(r, r, 1, 2, 3, 0);
      n = v128.shuffle<i32>(n, n, 1, 2, 3, 0);
    }
  } else {
    const low = f64x2.promote_low_f32x4(x);
    const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(x, x, 2, 3, 2, 3));
    const lowShifted = shiftedQuadrant(low);
    const highShifted = shiftedQuadrant(high);
    r = v128.shuffle<i32>(
      f32x4.demote_f64x2_zero(quadrantRemainder(low, lowShifted)),
      f32x4.demote_f64x2_zero(quadrantRemainder(high, highShifted)), 0, 1, 4, 5);
    n = v128.shuffle<i32>(lowShifted, highShifted, 0, 2, 4, 6);
  }
  const z = f32x4.mul(r, r);
  let sine = multiplyAdd(CIRCULAR_0, z, CIRCULAR_1);
  sine = multiplyAdd(sine, z, CIRCULAR_2);
  sine = multiplyAdd(f32x4.mul(sine, z), r, r);
  let cosine = multiplyAdd(CIRCULAR_3, z, CIRCULAR_4);
  cosine = multiplyAdd(cosine, z, CIRCULAR_5);
  cosine = f32x4.add(f32x4.sub(f32x4.mul(f32x4.mul(cosine, z), z), f32x4.mul(HALF, z)), ONE);
  const odd = i32x4.shr_s(i32x4.shl(n, 31), 31);
  if (kind == TANGENT) {
    const tangent = f32x4.div(v128.bitselect(cosine, sine, odd), v128.bitselect(sine, cosine, odd));
    return v128.xor(tangent, i32x4.shl(n, 31));
  }
  if (kind == COSINE) {
    const flip = v128.and(i32x4.shl(i32x4.add(n, i32x4.splat(1)), 30), SIGN_BIT);
    return v128.xor(v128.bitselect(sine, cosine, odd), flip);
  }
  return v128.xor(v128.bitselect(cosine, sine, odd), v128.and(i32x4.shl(n, 30), SIGN_BIT));
}

/** sin x. */
// @ts-ignore: decorator
@inline
export function sinF32x4(x: v128): v128 {
  return circularF32x4(x, SINE);
}

/** cos x. */
// @ts-ignore: decorator
@inline
export function cosF32x4(x: v128): v128 {
  return circularF32x4(x, COSINE);
}

/** The angle of (x, y) in (-π, π], with the signed zeros and infinities of C's atan2. */
// @ts-ignore: decorator
@inline
export function atan2F32x4(y: v128, x: v128): v128 {
  const one = ONE;
  const absoluteX = f32x4.abs(x);
  const absoluteY = f32x4.abs(y);
  const steep = f32x4.gt(absoluteY, absoluteX);
  const small = v128.bitselect(absoluteX, absoluteY, steep);
  const large = v128.bitselect(absoluteY, absoluteX, steep);
  let t = f32x4.div(small, large);
  // 0 / 0 and ∞ / ∞, but not NaN
  t = v128.bitselect(v128.and(one, f32x4.gt(large, one)), t, f32x4.eq(small, large));
  t = v128.bitselect(one, t, v128.and(f32x4.eq(small, large), f32x4.gt(large, f32x4.splat(0.0))));
  const wide = f32x4.gt(t, ATAN_SWITCH);
  const u = v128.bitselect(f32x4.div(f32x4.sub(t, one), f32x4.add(t, one)), t, wide);
  const z = f32x4.mul(u, u);
  let p = multiplyAdd(ATAN_0, z, ATAN_1);
  p = multiplyAdd(p, z, ATAN_2);
  p = multiplyAdd(p, z, ATAN_3);
  p = multiplyAdd(f32x4.mul(p, z), u, u);
  p = f32x4.add(p, v128.and(wide, QUARTER_PI));
  p = v128.bitselect(f32x4.sub(HALF_PI, p), p, steep);
  p = v128.bitselect(f32x4.sub(PI, p), p, i32x4.shr_s(x, 31));
  return v128.xor(p, v128.and(y, SIGN_BIT));
}
