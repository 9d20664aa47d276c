/**
 * Inlined SIMD functions shared by the kernel files. Not exported from the module: `index.ts` leaves this file out.
 *
 * Coefficients are those of Cephes (Moshier, single precision), except `erf` (N. Juffa's two-branch minimax fit). Error bounds are measured in
 * `src/backend/wasm/elementwise.test.ts`. All functions keep NaN, and give the same bits in every lane and on every machine in the baseline build.
 */

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
  const clamped = f32x4.pmax(f32x4.pmin(x, f32x4.splat(89.0)), f32x4.splat(-87.6));
  const shifted = f32x4.add(f32x4.mul(clamped, f32x4.splat(1.44269504088896341)), f32x4.splat(12583038.0));
  const n = f32x4.sub(shifted, f32x4.splat(12583038.0));
  let r = negativeMultiplyAdd(n, f32x4.splat(0.693359375), clamped);
  r = negativeMultiplyAdd(n, f32x4.splat(-2.12194440e-4), r);
  let p = multiplyAdd(f32x4.splat(3.9751383e-4), r, f32x4.splat(2.7963999014e-3));
  p = multiplyAdd(p, r, f32x4.splat(1.66669038146e-2));
  p = multiplyAdd(p, r, f32x4.splat(8.3331591788e-2));
  p = multiplyAdd(p, r, f32x4.splat(3.3333330918e-1));
  p = multiplyAdd(p, r, f32x4.splat(1.00000002402));
  p = multiplyAdd(p, f32x4.mul(r, r), f32x4.add(f32x4.add(r, r), f32x4.splat(2.0)));
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
  const tiny = f32x4.lt(x, f32x4.splat(1.17549435e-38));
  const scaled = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608.0)), x, tiny);
  // exponent so that the mantissa lies in [sqrt(1/2), sqrt(2))
  const exponent = i32x4.shr_s(i32x4.sub(scaled, i32x4.splat(0x3f3504f3)), 23);
  const f = f32x4.sub(i32x4.sub(scaled, i32x4.shl(exponent, 23)), f32x4.splat(1.0));
  const e = f32x4.sub(f32x4.convert_i32x4_s(exponent), v128.and(tiny, f32x4.splat(23.0)));
  const z = f32x4.mul(f, f);
  let p = multiplyAdd(f32x4.splat(7.0376836292e-2), f, f32x4.splat(-1.1514610310e-1));
  p = multiplyAdd(p, f, f32x4.splat(1.1676998740e-1));
  p = multiplyAdd(p, f, f32x4.splat(-1.2420140846e-1));
  p = multiplyAdd(p, f, f32x4.splat(1.4249322787e-1));
  p = multiplyAdd(p, f, f32x4.splat(-1.6668057665e-1));
  p = multiplyAdd(p, f, f32x4.splat(2.0000714765e-1));
  p = multiplyAdd(p, f, f32x4.splat(-2.4999993993e-1));
  p = multiplyAdd(p, f, f32x4.splat(3.3333331174e-1));
  p = f32x4.mul(f32x4.mul(p, f), z);
  p = multiplyAdd(e, f32x4.splat(-2.12194440e-4), p);
  p = negativeMultiplyAdd(f32x4.splat(0.5), z, p);
  let result = multiplyAdd(e, f32x4.splat(0.693359375), f32x4.add(f, p));
  const infinity = f32x4.splat(Infinity);
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
  let p = multiplyAdd(f32x4.splat(-5.70498872745e-3), z, f32x4.splat(2.06390887954e-2));
  p = multiplyAdd(p, z, f32x4.splat(-5.37397155531e-2));
  p = multiplyAdd(p, z, f32x4.splat(1.33314422036e-1));
  p = multiplyAdd(p, z, f32x4.splat(-3.33332819422e-1));
  const near = multiplyAdd(f32x4.mul(p, z), x, x);
  const e = expF32x4(f32x4.add(magnitude, magnitude));
  const far = f32x4.sub(f32x4.splat(1.0), f32x4.div(f32x4.splat(2.0), f32x4.add(e, f32x4.splat(1.0))));
  const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(signed, near, f32x4.ge(magnitude, f32x4.splat(0.625)));
}

/** 1 / (1 + e^-x). */
// @ts-ignore: decorator
@inline
export function sigmoidF32x4(x: v128): v128 {
  return f32x4.div(f32x4.splat(1.0), f32x4.add(f32x4.splat(1.0), expF32x4(f32x4.neg(x))));
}

/** max(x, 0), with 0 for -0; NaN stays. */
// @ts-ignore: decorator
@inline
export function reluF32x4(x: v128): v128 {
  return f32x4.max(x, f32x4.splat(0.0));
}

/** x / (1 + e^-x). */
// @ts-ignore: decorator
@inline
export function siluF32x4(x: v128): v128 {
  return f32x4.div(x, f32x4.add(f32x4.splat(1.0), expF32x4(f32x4.neg(x))));
}

/** The derivative of `silu`: s (1 + x (1 - s)), s = sigmoid(x). */
// @ts-ignore: decorator
@inline
export function siluDerivativeF32x4(x: v128): v128 {
  const s = sigmoidF32x4(x);
  const one = f32x4.splat(1.0);
  return f32x4.mul(s, f32x4.add(one, f32x4.mul(x, f32x4.sub(one, s))));
}

/** erfc(t) for t >= 0.92 (`t` up to 10). */
// @ts-ignore: decorator
@inline
function erfcTail(t: v128): v128 {
  let p = multiplyAdd(f32x4.splat(-1.72853470e-5), t, f32x4.splat(3.83197126e-4));
  p = multiplyAdd(p, t, f32x4.splat(-3.88396438e-3));
  p = multiplyAdd(p, t, f32x4.splat(2.42546219e-2));
  p = multiplyAdd(p, t, f32x4.splat(-1.06777877e-1));
  p = multiplyAdd(p, t, f32x4.splat(-6.34846687e-1));
  p = multiplyAdd(p, t, f32x4.splat(-1.28717512e-1));
  return expF32x4(f32x4.sub(f32x4.mul(p, t), t));
}

/** erf(x) for |x| <= 0.92. */
// @ts-ignore: decorator
@inline
function erfCentre(x: v128): v128 {
  const z = f32x4.mul(x, x);
  let p = multiplyAdd(f32x4.splat(-5.96761703e-4), z, f32x4.splat(4.99119423e-3));
  p = multiplyAdd(p, z, f32x4.splat(-2.67681349e-2));
  p = multiplyAdd(p, z, f32x4.splat(1.12819925e-1));
  p = multiplyAdd(p, z, f32x4.splat(-3.76125336e-1));
  p = multiplyAdd(p, z, f32x4.splat(1.28379166e-1));
  return multiplyAdd(p, x, x);
}

/** erf x. */
// @ts-ignore: decorator
@inline
export function erfF32x4(x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const far = f32x4.sub(f32x4.splat(1.0), erfcTail(f32x4.pmin(magnitude, f32x4.splat(10.0))));
  const signed = v128.or(far, v128.and(x, i32x4.splat(0x80000000)));
  return v128.bitselect(signed, erfCentre(x), f32x4.gt(magnitude, f32x4.splat(0.927734375)));
}

/** The normal distribution function Φ(x) = (1 + erf(x / √2)) / 2, without cancellation for negative x. */
// @ts-ignore: decorator
@inline
export function normalDistributionF32x4(x: v128): v128 {
  const t = f32x4.mul(x, f32x4.splat(0.70710678118654752));
  const magnitude = f32x4.abs(t);
  const half = f32x4.splat(0.5);
  const tail = f32x4.mul(half, erfcTail(f32x4.pmin(magnitude, f32x4.splat(10.0))));
  const far = v128.bitselect(tail, f32x4.sub(f32x4.splat(1.0), tail), f32x4.lt(x, f32x4.splat(0.0)));
  const near = multiplyAdd(half, erfCentre(t), half);
  return v128.bitselect(far, near, f32x4.gt(magnitude, f32x4.splat(0.927734375)));
}

/** x Φ(x). */
// @ts-ignore: decorator
@inline
export function geluF32x4(x: v128): v128 {
  return f32x4.mul(x, normalDistributionF32x4(x));
}

/** The derivative of `gelu`: Φ(x) + x φ(x). */
// @ts-ignore: decorator
@inline
export function geluDerivativeF32x4(x: v128): v128 {
  const density = f32x4.mul(f32x4.splat(0.39894228040143268), expF32x4(f32x4.mul(f32x4.splat(-0.5), f32x4.mul(x, x))));
  return f32x4.add(normalDistributionF32x4(x), f32x4.mul(x, density));
}

/** x sigmoid(2 √(2/π) (x + 0.044715 x³)), which is x (1 + tanh(…)) / 2. */
// @ts-ignore: decorator
@inline
export function geluTanhF32x4(x: v128): v128 {
  const z = f32x4.mul(x, x);
  const u = f32x4.mul(x, multiplyAdd(z, f32x4.splat(0.0713548162726009), f32x4.splat(1.59576912160573)));
  return siluRatio(x, u);
}

/** x / (1 + e^-u). */
// @ts-ignore: decorator
@inline
function siluRatio(x: v128, u: v128): v128 {
  return f32x4.div(x, f32x4.add(f32x4.splat(1.0), expF32x4(f32x4.neg(u))));
}

/** The derivative of `geluTanh`: s + x s (1 - s) u'. */
// @ts-ignore: decorator
@inline
export function geluTanhDerivativeF32x4(x: v128): v128 {
  const one = f32x4.splat(1.0);
  const z = f32x4.mul(x, x);
  const s = sigmoidF32x4(f32x4.mul(x, multiplyAdd(z, f32x4.splat(0.0713548162726009), f32x4.splat(1.59576912160573))));
  const slope = multiplyAdd(z, f32x4.splat(0.2140644488178027), f32x4.splat(1.59576912160573));
  return f32x4.add(s, f32x4.mul(f32x4.mul(x, slope), f32x4.mul(s, f32x4.sub(one, s))));
}

/** e^x - 1 without cancellation near 0. */
// @ts-ignore: decorator
@inline
export function expm1F32x4(x: v128): v128 {
  // e^(2h) - 1 = 2 t / (1 - t) with t = tanh(h); near 0 the odd polynomial of tanh keeps all bits.
  const one = f32x4.splat(1.0);
  const h = f32x4.mul(x, f32x4.splat(0.5));
  const z = f32x4.mul(h, h);
  let p = multiplyAdd(f32x4.splat(-5.70498872745e-3), z, f32x4.splat(2.06390887954e-2));
  p = multiplyAdd(p, z, f32x4.splat(-5.37397155531e-2));
  p = multiplyAdd(p, z, f32x4.splat(1.33314422036e-1));
  p = multiplyAdd(p, z, f32x4.splat(-3.33332819422e-1));
  const t = multiplyAdd(f32x4.mul(p, z), h, h);
  const near = f32x4.div(f32x4.add(t, t), f32x4.sub(one, t));
  const far = f32x4.sub(expF32x4(x), one);
  return v128.bitselect(far, near, f32x4.ge(f32x4.abs(x), f32x4.splat(1.0)));
}

/** ln(1 + x) without cancellation near 0. */
// @ts-ignore: decorator
@inline
export function log1pF32x4(x: v128): v128 {
  // Goldberg's correction: log(u) x / (u - 1) with u = 1 + x rounded.
  const one = f32x4.splat(1.0);
  const u = f32x4.add(one, x);
  const d = f32x4.sub(u, one);
  const corrected = f32x4.mul(logF32x4(u), f32x4.div(x, d));
  const unchanged = f32x4.eq(u, one);
  const endless = v128.or(f32x4.eq(x, f32x4.splat(Infinity)), f32x4.eq(u, f32x4.splat(0.0)));
  return v128.bitselect(x, v128.bitselect(logF32x4(u), corrected, endless), unchanged);
}

/** ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|). */
// @ts-ignore: decorator
@inline
export function softplusF32x4(x: v128): v128 {
  return f32x4.add(f32x4.max(x, f32x4.splat(0.0)), log1pF32x4(expF32x4(f32x4.neg(f32x4.abs(x)))));
}

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
  return f64x2.add(f64x2.mul(x, f64x2.splat(0.63661977236758134)), f64x2.splat(6755399441055744.0));
}

/** x - n π/2 in two steps: n times the first, 33-bit part is exact for |n| < 2^20. */
// @ts-ignore: decorator
@inline
function quadrantRemainder(x: v128, shifted: v128): v128 {
  const n = f64x2.sub(shifted, f64x2.splat(6755399441055744.0));
  const r = f64x2.sub(x, f64x2.mul(n, f64x2.splat(1.57079632673412561417)));
  return f64x2.sub(r, f64x2.mul(n, f64x2.splat(6.07710050650619224932e-11)));
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
  if (v128.any_true(v128.not(f32x4.lt(f32x4.abs(x), f32x4.splat(1000000.0))))) {
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
  let sine = multiplyAdd(f32x4.splat(-1.9515295891e-4), z, f32x4.splat(8.3321608736e-3));
  sine = multiplyAdd(sine, z, f32x4.splat(-1.6666654611e-1));
  sine = multiplyAdd(f32x4.mul(sine, z), r, r);
  let cosine = multiplyAdd(f32x4.splat(2.443315711809948e-5), z, f32x4.splat(-1.388731625493765e-3));
  cosine = multiplyAdd(cosine, z, f32x4.splat(4.166664568298827e-2));
  cosine = f32x4.add(f32x4.sub(f32x4.mul(f32x4.mul(cosine, z), z), f32x4.mul(f32x4.splat(0.5), z)), f32x4.splat(1.0));
  const odd = i32x4.shr_s(i32x4.shl(n, 31), 31);
  if (kind == TANGENT) {
    const tangent = f32x4.div(v128.bitselect(cosine, sine, odd), v128.bitselect(sine, cosine, odd));
    return v128.xor(tangent, i32x4.shl(n, 31));
  }
  if (kind == COSINE) {
    const flip = v128.and(i32x4.shl(i32x4.add(n, i32x4.splat(1)), 30), i32x4.splat(0x80000000));
    return v128.xor(v128.bitselect(sine, cosine, odd), flip);
  }
  return v128.xor(v128.bitselect(cosine, sine, odd), v128.and(i32x4.shl(n, 30), i32x4.splat(0x80000000)));
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
  const one = f32x4.splat(1.0);
  const absoluteX = f32x4.abs(x);
  const absoluteY = f32x4.abs(y);
  const steep = f32x4.gt(absoluteY, absoluteX);
  const small = v128.bitselect(absoluteX, absoluteY, steep);
  const large = v128.bitselect(absoluteY, absoluteX, steep);
  let t = f32x4.div(small, large);
  // 0 / 0 and ∞ / ∞, but not NaN
  t = v128.bitselect(v128.and(one, f32x4.gt(large, one)), t, f32x4.eq(small, large));
  t = v128.bitselect(one, t, v128.and(f32x4.eq(small, large), f32x4.gt(large, f32x4.splat(0.0))));
  const wide = f32x4.gt(t, f32x4.splat(0.4142135623730950));
  const u = v128.bitselect(f32x4.div(f32x4.sub(t, one), f32x4.add(t, one)), t, wide);
  const z = f32x4.mul(u, u);
  let p = multiplyAdd(f32x4.splat(8.05374449538e-2), z, f32x4.splat(-1.38776856032e-1));
  p = multiplyAdd(p, z, f32x4.splat(1.99777106478e-1));
  p = multiplyAdd(p, z, f32x4.splat(-3.33329491539e-1));
  p = multiplyAdd(f32x4.mul(p, z), u, u);
  p = f32x4.add(p, v128.and(wide, f32x4.splat(0.78539816339744831)));
  p = v128.bitselect(f32x4.sub(f32x4.splat(1.57079632679489662), p), p, steep);
  p = v128.bitselect(f32x4.sub(f32x4.splat(3.14159265358979324), p), p, i32x4.shr_s(x, 31));
  return v128.xor(p, v128.and(y, i32x4.splat(0x80000000)));
}
