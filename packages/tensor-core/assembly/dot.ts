/** Helpers of the kernels that compute dot products of contiguous rows. Left out of `index.ts`. */
import { loadPartial, multiplyAdd } from "./math";

/** Sums of the lanes of four vectors, each as (0 + 2) + (1 + 3). */
// @ts-ignore: decorator
@inline
export function sumFour(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f64>(ab, cd, 0, 2), v128.shuffle<f64>(ab, cd, 1, 3));
}

/** The first `count` (1 to 4) of four results become c or are added to it. */
export function storeResults(c: usize, results: v128, count: i32, add: bool): void {
  if (count == 4) {
    v128.store(c, add ? f32x4.add(v128.load(c), results) : results);
    return;
  }
  let value = f32x4.extract_lane(results, 0);
  store<f32>(c, add ? load<f32>(c) + value : value);
  if (count == 1) return;
  value = f32x4.extract_lane(results, 1);
  store<f32>(c, add ? load<f32>(c, 4) + value : value, 4);
  if (count == 2) return;
  value = f32x4.extract_lane(results, 2);
  store<f32>(c, add ? load<f32>(c, 8) + value : value, 8);
}

/** Copies `count` floats, `stepBytes` apart, next to each other. */
export function gatherFloats(from: usize, stepBytes: usize, to: usize, count: i32): void {
  if (stepBytes == 4) {
    memory.copy(to, from, <usize>count << 2);
    return;
  }
  for (; count > 0; count--) {
    store<f32>(to, load<f32>(from));
    from += stepBytes;
    to += 4;
  }
}

/** Products of x with one row of weights, added up in eight partial sums and then lane by lane. */
function dotRow(k: i32, x: usize, w: usize): v128 {
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
  let s4 = f32x4.splat(0), s5 = f32x4.splat(0), s6 = f32x4.splat(0), s7 = f32x4.splat(0);
  for (; k >= 32; k -= 32) {
    s0 = multiplyAdd(v128.load(x), v128.load(w), s0);
    s1 = multiplyAdd(v128.load(x, 16), v128.load(w, 16), s1);
    s2 = multiplyAdd(v128.load(x, 32), v128.load(w, 32), s2);
    s3 = multiplyAdd(v128.load(x, 48), v128.load(w, 48), s3);
    s4 = multiplyAdd(v128.load(x, 64), v128.load(w, 64), s4);
    s5 = multiplyAdd(v128.load(x, 80), v128.load(w, 80), s5);
    s6 = multiplyAdd(v128.load(x, 96), v128.load(w, 96), s6);
    s7 = multiplyAdd(v128.load(x, 112), v128.load(w, 112), s7);
    x += 128;
    w += 128;
  }
  for (; k >= 4; k -= 4) {
    s0 = multiplyAdd(v128.load(x), v128.load(w), s0);
    x += 16;
    w += 16;
  }
  if (k > 0) s1 = multiplyAdd(loadPartial(x, k), loadPartial(w, k), s1);
  return f32x4.add(f32x4.add(f32x4.add(s0, s4), f32x4.add(s1, s5)), f32x4.add(f32x4.add(s2, s6), f32x4.add(s3, s7)));
}

/**
 * Dot products of x with four rows of weights. One row after another, as they lie in memory: four at a time would save loads of x, but
 * main memory serves four short streams at a third of the speed of one, and the weights of a model do not stay in a cache.
 */
export function dotFour(k: i32, x: usize, w0: usize, w1: usize, w2: usize, w3: usize): v128 {
  return sumFour(dotRow(k, x, w0), dotRow(k, x, w1), dotRow(k, x, w2), dotRow(k, x, w3));
}

/** sums[0..3] += x0..x3 · w0, sums[4..7] += x0..x3 · w1. */
export function dotFourByTwo(k: i32, x0: usize, x1: usize, x2: usize, x3: usize, w0: usize, w1: usize, sums: usize): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0), b3 = f32x4.splat(0);
  // One index for six rows: an address is then one addition, and V8 keeps the six bases in registers.
  let at: usize = 0;
  const whole = <usize>(k & ~3) << 2;
  for (; at < whole; at += 16) {
    const left = v128.load(w0 + at);
    const right = v128.load(w1 + at);
    let value = v128.load(x0 + at);
    a0 = multiplyAdd(value, left, a0);
    b0 = multiplyAdd(value, right, b0);
    value = v128.load(x1 + at);
    a1 = multiplyAdd(value, left, a1);
    b1 = multiplyAdd(value, right, b1);
    value = v128.load(x2 + at);
    a2 = multiplyAdd(value, left, a2);
    b2 = multiplyAdd(value, right, b2);
    value = v128.load(x3 + at);
    a3 = multiplyAdd(value, left, a3);
    b3 = multiplyAdd(value, right, b3);
  }
  const rest = k & 3;
  if (rest) {
    const left = loadPartial(w0 + at, rest);
    const right = loadPartial(w1 + at, rest);
    let value = loadPartial(x0 + at, rest);
    a0 = multiplyAdd(value, left, a0);
    b0 = multiplyAdd(value, right, b0);
    value = loadPartial(x1 + at, rest);
    a1 = multiplyAdd(value, left, a1);
    b1 = multiplyAdd(value, right, b1);
    value = loadPartial(x2 + at, rest);
    a2 = multiplyAdd(value, left, a2);
    b2 = multiplyAdd(value, right, b2);
    value = loadPartial(x3 + at, rest);
    a3 = multiplyAdd(value, left, a3);
    b3 = multiplyAdd(value, right, b3);
  }
  v128.store(sums, f32x4.add(v128.load(sums), sumFour(a0, a1, a2, a3)));
  v128.store(sums, f32x4.add(v128.load(sums, 16), sumFour(b0, b1, b2, b3)), 16);
}
