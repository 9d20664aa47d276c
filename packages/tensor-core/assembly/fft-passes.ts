/**
 * Stockham passes of radix 2, 3, 4, 5, 7 and 8 over split real and imaginary arrays.
 *
 * A pass of radix r reads legs x[j], j < r, that lie `sourceLeg` bytes apart and writes y[k] = w^k * Σ_j x[j] exp(-2πi jk / r), `targetLeg`
 * bytes apart. The vector axis is the contiguous run of `inner` bytes (a multiple of 16) at every leg; `count` such groups follow each
 * other by `sourceStep` and `targetStep` bytes. Middle passes multiply by the group's twiddles w^1 … w^(r-1), stored as (re, im) pairs; the
 * last pass has none and multiplies by `scale`.
 */
import { multiplyAdd as madd, negativeMultiplyAdd as nmadd } from "./math";
import { storeTransposed } from "./fft-real";

// @ts-ignore: decorator
@inline
function add(a: v128, b: v128): v128 { return f32x4.add(a, b); }
// @ts-ignore: decorator
@inline
function sub(a: v128, b: v128): v128 { return f32x4.sub(a, b); }
// @ts-ignore: decorator
@inline
function mul(a: v128, b: v128): v128 { return f32x4.mul(a, b); }

/** Stores (re, im) * (wr, wi), or with `last` (re, im) * wr, where wr is the scale. */
// @ts-ignore: decorator
@inline
function store(last: bool, targetReal: usize, targetImaginary: usize, at: usize, re: v128, im: v128, wr: v128, wi: v128): void {
  if (last) {
    v128.store(targetReal + at, mul(re, wr));
    v128.store(targetImaginary + at, mul(im, wr));
  } else {
    v128.store(targetReal + at, nmadd(im, wi, mul(re, wr)));
    v128.store(targetImaginary + at, madd(re, wi, mul(im, wr)));
  }
}

/** The k = 0 output, which has no twiddle. */
// @ts-ignore: decorator
@inline
function storeFirst(last: bool, targetReal: usize, targetImaginary: usize, re: v128, im: v128, scale: v128): void {
  v128.store(targetReal, last ? mul(re, scale) : re);
  v128.store(targetImaginary, last ? mul(im, scale) : im);
}

/** Twiddle k's real part, or the scale in the last pass. */
// @ts-ignore: decorator
@inline
function twiddleReal(last: bool, twiddles: usize, k: i32, scale: v128): v128 {
  if (last) return scale;
  return v128.load32_splat(twiddles + (<usize>(k - 1) << 3));
}

// @ts-ignore: decorator
@inline
function twiddleImaginary(last: bool, twiddles: usize, k: i32, scale: v128): v128 {
  if (last) return scale;
  return v128.load32_splat(twiddles + (<usize>(k - 1) << 3), 4);
}

/**
 * Constant i of the plan's table in all lanes: 1/2, sin 2π/3, then cosines and sines of 2πj / 5 (j = 1, 2), cosines and sines of 2πj / 7 (j
 * = 1, 2, 3), √½. A literal would be made anew in every round of the loops: neither compiler moves vector constants out of loops.
 */
// @ts-ignore: decorator
@inline
function constant(constants: usize, i: usize): v128 {
  return v128.load32_splat(constants + (i << 2));
}

/** The whole transform of length 1. */
function scaleCopy(sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, inner: usize, scale: f32): void {
  const scales = f32x4.splat(scale);
  for (let q: usize = 0; q < inner; q += 16) {
    const re = v128.load(sourceReal + q), im = v128.load(sourceImaginary + q);
    v128.store(targetReal + q, mul(re, scales));
    v128.store(targetImaginary + q, mul(im, scales));
  }
}

/** Output k of a butterfly, its twiddle loaded here rather than ahead of the loop: larger radices have no registers to keep them in. */
// @ts-ignore: decorator
@inline
function storeOutput(
  last: bool, k: i32, targetReal: usize, targetImaginary: usize, targetLeg: usize, re: v128, im: v128, twiddles: usize, scales: v128,
): void {
  store(
    last, targetReal, targetImaginary, <usize>k * targetLeg, re, im,
    twiddleReal(last, twiddles, k, scales), twiddleImaginary(last, twiddles, k, scales),
  );
}

// @ts-ignore: decorator
@inline
function radix2(
  last: bool, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, twiddles: usize, scale: f32, constants: usize,
): void {
  const scales = f32x4.splat(scale);
  for (let group = 0; group < count; group++) {
    const w1r = twiddleReal(last, twiddles, 1, scales), w1i = twiddleImaginary(last, twiddles, 1, scales);
    for (let q: usize = 0; q < inner; q += 16) {
      const sr = sourceReal + q, si = sourceImaginary + q, tr = targetReal + q, ti = targetImaginary + q;
      const x0r = v128.load(sr), x0i = v128.load(si), x1r = v128.load(sr + sourceLeg), x1i = v128.load(si + sourceLeg);
      storeFirst(last, tr, ti, add(x0r, x1r), add(x0i, x1i), scales);
      store(last, tr, ti, targetLeg, sub(x0r, x1r), sub(x0i, x1i), w1r, w1i);
    }
    sourceReal += sourceStep; sourceImaginary += sourceStep; targetReal += targetStep; targetImaginary += targetStep;
    twiddles += 8;
  }
}

// @ts-ignore: decorator
@inline
function radix3(
  last: bool, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, twiddles: usize, scale: f32, constants: usize,
): void {
  const scales = f32x4.splat(scale);
  const half = constant(constants, 0), sine = constant(constants, 1);
  for (let group = 0; group < count; group++) {
    const w1r = twiddleReal(last, twiddles, 1, scales), w1i = twiddleImaginary(last, twiddles, 1, scales);
    const w2r = twiddleReal(last, twiddles, 2, scales), w2i = twiddleImaginary(last, twiddles, 2, scales);
    for (let q: usize = 0; q < inner; q += 16) {
      const sr = sourceReal + q, si = sourceImaginary + q, tr = targetReal + q, ti = targetImaginary + q;
      const x0r = v128.load(sr), x0i = v128.load(si);
      const x1r = v128.load(sr + sourceLeg), x1i = v128.load(si + sourceLeg);
      const x2r = v128.load(sr + 2 * sourceLeg), x2i = v128.load(si + 2 * sourceLeg);
      const pr = add(x1r, x2r), pi = add(x1i, x2i);
      const mr = mul(sub(x1r, x2r), sine), mi = mul(sub(x1i, x2i), sine);
      storeFirst(last, tr, ti, add(x0r, pr), add(x0i, pi), scales);
      const ar = nmadd(pr, half, x0r), ai = nmadd(pi, half, x0i);
      store(last, tr, ti, targetLeg, add(ar, mi), sub(ai, mr), w1r, w1i);
      store(last, tr, ti, 2 * targetLeg, sub(ar, mi), add(ai, mr), w2r, w2i);
    }
    sourceReal += sourceStep; sourceImaginary += sourceStep; targetReal += targetStep; targetImaginary += targetStep;
    twiddles += 16;
  }
}

// @ts-ignore: decorator
@inline
function radix4(
  last: bool, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, twiddles: usize, scale: f32, constants: usize,
): void {
  const scales = f32x4.splat(scale);
  for (let group = 0; group < count; group++) {
    const w1r = twiddleReal(last, twiddles, 1, scales), w1i = twiddleImaginary(last, twiddles, 1, scales);
    const w2r = twiddleReal(last, twiddles, 2, scales), w2i = twiddleImaginary(last, twiddles, 2, scales);
    const w3r = twiddleReal(last, twiddles, 3, scales), w3i = twiddleImaginary(last, twiddles, 3, scales);
    for (let q: usize = 0; q < inner; q += 16) {
      const sr = sourceReal + q, si = sourceImaginary + q, tr = targetReal + q, ti = targetImaginary + q;
      const x0r = v128.load(sr), x2r = v128.load(sr + 2 * sourceLeg);
      const x1r = v128.load(sr + sourceLeg), x3r = v128.load(sr + 3 * sourceLeg);
      const t0r = add(x0r, x2r), t1r = sub(x0r, x2r), t2r = add(x1r, x3r), t3r = sub(x1r, x3r);
      const x0i = v128.load(si), x2i = v128.load(si + 2 * sourceLeg);
      const x1i = v128.load(si + sourceLeg), x3i = v128.load(si + 3 * sourceLeg);
      const t0i = add(x0i, x2i), t1i = sub(x0i, x2i), t2i = add(x1i, x3i), t3i = sub(x1i, x3i);
      storeFirst(last, tr, ti, add(t0r, t2r), add(t0i, t2i), scales);
      store(last, tr, ti, targetLeg, add(t1r, t3i), sub(t1i, t3r), w1r, w1i);
      store(last, tr, ti, 2 * targetLeg, sub(t0r, t2r), sub(t0i, t2i), w2r, w2i);
      store(last, tr, ti, 3 * targetLeg, sub(t1r, t3i), add(t1i, t3r), w3r, w3i);
    }
    sourceReal += sourceStep; sourceImaginary += sourceStep; targetReal += targetStep; targetImaginary += targetStep;
    twiddles += 24;
  }
}

// @ts-ignore: decorator
@inline
function radix5(
  last: bool, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, twiddles: usize, scale: f32, constants: usize,
): void {
  const scales = f32x4.splat(scale);
  const c1 = constant(constants, 2), c2 = constant(constants, 3), s1 = constant(constants, 4), s2 = constant(constants, 5);
  for (let group = 0; group < count; group++) {
    for (let q: usize = 0; q < inner; q += 16) {
      const sr = sourceReal + q, si = sourceImaginary + q, tr = targetReal + q, ti = targetImaginary + q;
      const x0r = v128.load(sr), x0i = v128.load(si);
      const x1r = v128.load(sr + sourceLeg), x4r = v128.load(sr + 4 * sourceLeg);
      const x2r = v128.load(sr + 2 * sourceLeg), x3r = v128.load(sr + 3 * sourceLeg);
      const x1i = v128.load(si + sourceLeg), x4i = v128.load(si + 4 * sourceLeg);
      const x2i = v128.load(si + 2 * sourceLeg), x3i = v128.load(si + 3 * sourceLeg);
      const p1r = add(x1r, x4r), m1r = sub(x1r, x4r), p2r = add(x2r, x3r), m2r = sub(x2r, x3r);
      const p1i = add(x1i, x4i), m1i = sub(x1i, x4i), p2i = add(x2i, x3i), m2i = sub(x2i, x3i);
      storeFirst(last, tr, ti, add(x0r, add(p1r, p2r)), add(x0i, add(p1i, p2i)), scales);
      const a1r = madd(p2r, c2, madd(p1r, c1, x0r)), a1i = madd(p2i, c2, madd(p1i, c1, x0i));
      const b1r = madd(m2r, s2, mul(m1r, s1)), b1i = madd(m2i, s2, mul(m1i, s1));
      storeOutput(last, 1, tr, ti, targetLeg, add(a1r, b1i), sub(a1i, b1r), twiddles, scales);
      storeOutput(last, 4, tr, ti, targetLeg, sub(a1r, b1i), add(a1i, b1r), twiddles, scales);
      const a2r = madd(p2r, c1, madd(p1r, c2, x0r)), a2i = madd(p2i, c1, madd(p1i, c2, x0i));
      const b2r = nmadd(m2r, s1, mul(m1r, s2)), b2i = nmadd(m2i, s1, mul(m1i, s2));
      storeOutput(last, 2, tr, ti, targetLeg, add(a2r, b2i), sub(a2i, b2r), twiddles, scales);
      storeOutput(last, 3, tr, ti, targetLeg, sub(a2r, b2i), add(a2i, b2r), twiddles, scales);
    }
    sourceReal += sourceStep; sourceImaginary += sourceStep; targetReal += targetStep; targetImaginary += targetStep;
    twiddles += 32;
  }
}

/** Outputs k and 7 - k from the sums and differences of the mirrored legs; c and s are the cosines and sines of 2πjk / 7. */
// @ts-ignore: decorator
@inline
function radix7Pair(
  last: bool, k: i32, targetReal: usize, targetImaginary: usize, targetLeg: usize, twiddles: usize, scales: v128,
  x0r: v128, x0i: v128, p1r: v128, p1i: v128, p2r: v128, p2i: v128, p3r: v128, p3i: v128,
  m1r: v128, m1i: v128, m2r: v128, m2i: v128, m3r: v128, m3i: v128, c1: v128, c2: v128, c3: v128, s1: v128, s2: v128, s3: v128,
): void {
  const ar = madd(p3r, c3, madd(p2r, c2, madd(p1r, c1, x0r)));
  const bi = madd(m3i, s3, madd(m2i, s2, mul(m1i, s1)));
  const ai = madd(p3i, c3, madd(p2i, c2, madd(p1i, c1, x0i)));
  const br = madd(m3r, s3, madd(m2r, s2, mul(m1r, s1)));
  storeOutput(last, k, targetReal, targetImaginary, targetLeg, add(ar, bi), sub(ai, br), twiddles, scales);
  storeOutput(last, 7 - k, targetReal, targetImaginary, targetLeg, sub(ar, bi), add(ai, br), twiddles, scales);
}

// @ts-ignore: decorator
@inline
function radix7(
  last: bool, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, twiddles: usize, scale: f32, constants: usize,
): void {
  const scales = f32x4.splat(scale);
  const c1 = constant(constants, 6), c2 = constant(constants, 7), c3 = constant(constants, 8);
  const s1 = constant(constants, 9), s2 = constant(constants, 10), s3 = constant(constants, 11);
  const n1 = f32x4.neg(s1), n3 = f32x4.neg(s3);
  for (let group = 0; group < count; group++) {
    for (let q: usize = 0; q < inner; q += 16) {
      const sr = sourceReal + q, si = sourceImaginary + q, tr = targetReal + q, ti = targetImaginary + q;
      const x0r = v128.load(sr), x0i = v128.load(si);
      const x1r = v128.load(sr + sourceLeg), x6r = v128.load(sr + 6 * sourceLeg);
      const x1i = v128.load(si + sourceLeg), x6i = v128.load(si + 6 * sourceLeg);
      const p1r = add(x1r, x6r), m1r = sub(x1r, x6r), p1i = add(x1i, x6i), m1i = sub(x1i, x6i);
      const x2r = v128.load(sr + 2 * sourceLeg), x5r = v128.load(sr + 5 * sourceLeg);
      const x2i = v128.load(si + 2 * sourceLeg), x5i = v128.load(si + 5 * sourceLeg);
      const p2r = add(x2r, x5r), m2r = sub(x2r, x5r), p2i = add(x2i, x5i), m2i = sub(x2i, x5i);
      const x3r = v128.load(sr + 3 * sourceLeg), x4r = v128.load(sr + 4 * sourceLeg);
      const x3i = v128.load(si + 3 * sourceLeg), x4i = v128.load(si + 4 * sourceLeg);
      const p3r = add(x3r, x4r), m3r = sub(x3r, x4r), p3i = add(x3i, x4i), m3i = sub(x3i, x4i);
      storeFirst(last, tr, ti, add(add(x0r, p1r), add(p2r, p3r)), add(add(x0i, p1i), add(p2i, p3i)), scales);
      radix7Pair(
        last, 1, tr, ti, targetLeg, twiddles, scales, x0r, x0i, p1r, p1i, p2r, p2i, p3r, p3i, m1r, m1i, m2r, m2i, m3r, m3i, c1, c2, c3, s1,
        s2, s3,
      );
      radix7Pair(
        last, 2, tr, ti, targetLeg, twiddles, scales, x0r, x0i, p1r, p1i, p2r, p2i, p3r, p3i, m1r, m1i, m2r, m2i, m3r, m3i, c2, c3, c1, s2,
        n3, n1,
      );
      radix7Pair(
        last, 3, tr, ti, targetLeg, twiddles, scales, x0r, x0i, p1r, p1i, p2r, p2i, p3r, p3i, m1r, m1i, m2r, m2i, m3r, m3i, c3, c1, c2, s3,
        n1, s2,
      );
    }
    sourceReal += sourceStep; sourceImaginary += sourceStep; targetReal += targetStep; targetImaginary += targetStep;
    twiddles += 48;
  }
}

// @ts-ignore: decorator
@inline
function radix8(
  last: bool, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, twiddles: usize, scale: f32, constants: usize,
): void {
  const scales = f32x4.splat(scale), root = constant(constants, 12);
  for (let group = 0; group < count; group++) {
    for (let q: usize = 0; q < inner; q += 16) {
      const sr = sourceReal + q, si = sourceImaginary + q, tr = targetReal + q, ti = targetImaginary + q;
      // even legs: a radix-4 butterfly of x0, x2, x4, x6
      let ar = v128.load(sr), br = v128.load(sr + 4 * sourceLeg), cr = v128.load(sr + 2 * sourceLeg), dr = v128.load(sr + 6 * sourceLeg);
      let ai = v128.load(si), bi = v128.load(si + 4 * sourceLeg), ci = v128.load(si + 2 * sourceLeg), di = v128.load(si + 6 * sourceLeg);
      let t0r = add(ar, br), t1r = sub(ar, br), t2r = add(cr, dr), t3r = sub(cr, dr);
      let t0i = add(ai, bi), t1i = sub(ai, bi), t2i = add(ci, di), t3i = sub(ci, di);
      const e0r = add(t0r, t2r), e0i = add(t0i, t2i), e2r = sub(t0r, t2r), e2i = sub(t0i, t2i);
      const e1r = add(t1r, t3i), e1i = sub(t1i, t3r), e3r = sub(t1r, t3i), e3i = add(t1i, t3r);
      // odd legs: x1, x3, x5, x7
      ar = v128.load(sr + sourceLeg); br = v128.load(sr + 5 * sourceLeg); cr = v128.load(sr + 3 * sourceLeg);
      dr = v128.load(sr + 7 * sourceLeg);
      ai = v128.load(si + sourceLeg); bi = v128.load(si + 5 * sourceLeg); ci = v128.load(si + 3 * sourceLeg);
      di = v128.load(si + 7 * sourceLeg);
      t0r = add(ar, br); t1r = sub(ar, br); t2r = add(cr, dr); t3r = sub(cr, dr);
      t0i = add(ai, bi); t1i = sub(ai, bi); t2i = add(ci, di); t3i = sub(ci, di);
      const o0r = add(t0r, t2r), o0i = add(t0i, t2i), o2r = sub(t0r, t2r), o2i = sub(t0i, t2i);
      const u1r = add(t1r, t3i), u1i = sub(t1i, t3r), u3r = sub(t1r, t3i), u3i = add(t1i, t3r);
      storeFirst(last, tr, ti, add(e0r, o0r), add(e0i, o0i), scales);
      storeOutput(last, 4, tr, ti, targetLeg, sub(e0r, o0r), sub(e0i, o0i), twiddles, scales);
      // exp(-iπ/4) u1
      const o1r = mul(add(u1r, u1i), root), o1i = mul(sub(u1i, u1r), root);
      storeOutput(last, 1, tr, ti, targetLeg, add(e1r, o1r), add(e1i, o1i), twiddles, scales);
      storeOutput(last, 5, tr, ti, targetLeg, sub(e1r, o1r), sub(e1i, o1i), twiddles, scales);
      // -i o2
      storeOutput(last, 2, tr, ti, targetLeg, add(e2r, o2i), sub(e2i, o2r), twiddles, scales);
      storeOutput(last, 6, tr, ti, targetLeg, sub(e2r, o2i), add(e2i, o2r), twiddles, scales);
      // exp(-3iπ/4) u3 = (o3r, -o3i)
      const o3r = mul(sub(u3i, u3r), root), o3i = mul(add(u3r, u3i), root);
      storeOutput(last, 3, tr, ti, targetLeg, add(e3r, o3r), sub(e3i, o3i), twiddles, scales);
      storeOutput(last, 7, tr, ti, targetLeg, sub(e3r, o3r), add(e3i, o3i), twiddles, scales);
    }
    sourceReal += sourceStep; sourceImaginary += sourceStep; targetReal += targetStep; targetImaginary += targetStep;
    twiddles += 56;
  }
}

/** A pass of any supported radix with twiddles. */
export function middlePass(
  radix: i32, sr: usize, si: usize, tr: usize, ti: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, twiddles: usize, constants: usize,
): void {
  if (radix == 4) radix4(false, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, twiddles, 1, constants);
  else if (radix == 8) radix8(false, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, twiddles, 1, constants);
  else if (radix == 3) radix3(false, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, twiddles, 1, constants);
  else if (radix == 2) radix2(false, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, twiddles, 1, constants);
  else if (radix == 5) radix5(false, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, twiddles, 1, constants);
  else if (radix == 7) radix7(false, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, twiddles, 1, constants);
  else unreachable();
}

/** The last pass: no twiddles, everything times `scale`. */
export function lastPass(
  radix: i32, sr: usize, si: usize, tr: usize, ti: usize, count: i32, inner: usize,
  sourceStep: usize, sourceLeg: usize, targetStep: usize, targetLeg: usize, scale: f32, constants: usize,
): void {
  if (radix == 4) radix4(true, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, 0, scale, constants);
  else if (radix == 8) radix8(true, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, 0, scale, constants);
  else if (radix == 3) radix3(true, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, 0, scale, constants);
  else if (radix == 2) radix2(true, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, 0, scale, constants);
  else if (radix == 5) radix5(true, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, 0, scale, constants);
  else if (radix == 7) radix7(true, sr, si, tr, ti, count, inner, sourceStep, sourceLeg, targetStep, targetLeg, 0, scale, constants);
  else if (radix == 1) scaleCopy(sr, si, tr, ti, inner, scale);
  else unreachable();
}

/**
 * The first pass along a contiguous row: radix 4, four groups at a time, the results transposed so that later passes find runs of four.
 * `legs` = length / 4 >= 4 groups; when it is no multiple of four, the last vector overlaps the one before and rewrites the same bits.
 * `twiddles`: six arrays of `legs` values (re, im of w^1, w^2, w^3). With `interleaved` the source holds (re, im) pairs (a real row read as
 * complex).
 */
// @ts-ignore: decorator
@inline
function firstRowPass(
  interleaved: bool, sourceReal: usize, sourceImaginary: usize, targetReal: usize, targetImaginary: usize, legs: i32, twiddles: usize,
): void {
  const legBytes = <usize>legs << 2;
  const step: usize = interleaved ? legBytes << 1 : legBytes;
  const end = legBytes - 16;
  for (let p: usize = 0; p < legBytes; p += 16) {
    const at = p < end ? p : end;
    let x0r: v128, x1r: v128, x2r: v128, x3r: v128, x0i: v128, x1i: v128, x2i: v128, x3i: v128;
    if (interleaved) {
      const s = sourceReal + (at << 1);
      let low = v128.load(s), high = v128.load(s, 16);
      x0r = v128.shuffle<f32>(low, high, 0, 2, 4, 6); x0i = v128.shuffle<f32>(low, high, 1, 3, 5, 7);
      low = v128.load(s + step); high = v128.load(s + step, 16);
      x1r = v128.shuffle<f32>(low, high, 0, 2, 4, 6); x1i = v128.shuffle<f32>(low, high, 1, 3, 5, 7);
      low = v128.load(s + 2 * step); high = v128.load(s + 2 * step, 16);
      x2r = v128.shuffle<f32>(low, high, 0, 2, 4, 6); x2i = v128.shuffle<f32>(low, high, 1, 3, 5, 7);
      low = v128.load(s + 3 * step); high = v128.load(s + 3 * step, 16);
      x3r = v128.shuffle<f32>(low, high, 0, 2, 4, 6); x3i = v128.shuffle<f32>(low, high, 1, 3, 5, 7);
    } else {
      const sr = sourceReal + at, si = sourceImaginary + at;
      x0r = v128.load(sr); x1r = v128.load(sr + step); x2r = v128.load(sr + 2 * step); x3r = v128.load(sr + 3 * step);
      x0i = v128.load(si); x1i = v128.load(si + step); x2i = v128.load(si + 2 * step); x3i = v128.load(si + 3 * step);
    }
    const t0r = add(x0r, x2r), t1r = sub(x0r, x2r), t2r = add(x1r, x3r), t3r = sub(x1r, x3r);
    const t0i = add(x0i, x2i), t1i = sub(x0i, x2i), t2i = add(x1i, x3i), t3i = sub(x1i, x3i);
    const y0r = add(t0r, t2r), y0i = add(t0i, t2i);
    const w = twiddles + at;
    let wr = v128.load(w), wi = v128.load(w + legBytes);
    const u1r = add(t1r, t3i), u1i = sub(t1i, t3r);
    const y1r = nmadd(u1i, wi, mul(u1r, wr)), y1i = madd(u1r, wi, mul(u1i, wr));
    wr = v128.load(w + 2 * legBytes); wi = v128.load(w + 3 * legBytes);
    const u2r = sub(t0r, t2r), u2i = sub(t0i, t2i);
    const y2r = nmadd(u2i, wi, mul(u2r, wr)), y2i = madd(u2r, wi, mul(u2i, wr));
    wr = v128.load(w + 4 * legBytes); wi = v128.load(w + 5 * legBytes);
    const u3r = sub(t1r, t3i), u3i = add(t1i, t3r);
    const y3r = nmadd(u3i, wi, mul(u3r, wr)), y3i = madd(u3r, wi, mul(u3i, wr));
    storeTransposed(targetReal + (at << 2), 16, y0r, y1r, y2r, y3r);
    storeTransposed(targetImaginary + (at << 2), 16, y0i, y1i, y2i, y3i);
  }
}

/** First pass over a complex row. */
export function firstRowPassComplex(sr: usize, si: usize, tr: usize, ti: usize, legs: i32, twiddles: usize): void {
  firstRowPass(false, sr, si, tr, ti, legs, twiddles);
}

/** First pass over a row of (re, im) pairs. */
export function firstRowPassInterleaved(source: usize, tr: usize, ti: usize, legs: i32, twiddles: usize): void {
  firstRowPass(true, source, source, tr, ti, legs, twiddles);
}
