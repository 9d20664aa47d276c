/**
 * One row times weights [n, k] stored as float16 or as groups of integers, computed on the stored bytes: what decoding a language model spends its time on.
 * Four rows of weights go side by side. Every sum has an order of its own that depends on k (and the group size) alone. `bias` 0 and `activation` 0 mean none.
 * Ranges count rows of the weights; any split gives the same bits.
 */
import { gatherFloats, storeResults, sumFour } from "./dot";
import { epilogue } from "./gemm-tile";
import { evenHalfBits, halfBitsToFloat, halfToFloat, HALF_SCALE, oddHalfBits } from "./half";
import { multiplyAdd, sumLanes } from "./math";

// @ts-ignore: decorator
@inline
function finish(c: usize, n: i32, bias: usize, activation: i32, begin: i32, end: i32): void {
  if (bias == 0 && activation == 0) return;
  const at = <usize>begin << 2;
  epilogue(c + at, <usize>n << 2, 1, end - begin, bias ? bias + at : 0, activation);
}

// @ts-ignore: decorator
@inline
function addHalves(halves: v128, even: v128, odd: v128, sum: v128): v128 {
  const scale = f32x4.splat(HALF_SCALE);
  sum = multiplyAdd(f32x4.mul(evenHalfBits(halves), scale), even, sum);
  return multiplyAdd(f32x4.mul(oddHalfBits(halves), scale), odd, sum);
}

// @ts-ignore: decorator
@inline
function largerMagnitude(largest: v128, halves: v128): v128 {
  return i16x8.max_u(largest, v128.and(halves, i32x4.splat(0x7fff7fff)));
}

/** `dotHalves` of one row when it holds Infinity or NaN: the same order, every step exact. */
function dotSpecialHalves(k: i32, x: usize, w: usize): v128 {
  let sum = f32x4.splat(0);
  for (; k >= 8; k -= 8) {
    const halves = v128.load(w);
    sum = multiplyAdd(halfBitsToFloat(evenHalfBits(halves)), v128.load(x), sum);
    sum = multiplyAdd(halfBitsToFloat(oddHalfBits(halves)), v128.load(x, 16), sum);
    x += 32;
    w += 16;
  }
  return sum;
}

/** Dot products of four float16 rows with x, whose every eight floats are in the order 0 2 4 6 1 3 5 7. k: a multiple of 8. */
function dotHalves(k: i32, x: usize, w0: usize, w1: usize, w2: usize, w3: usize): v128 {
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
  let largest = f32x4.splat(0);
  const end = x + (<usize>k << 2);
  let at: usize = 0;
  for (let from = x; from < end; from += 32) {
    const even = v128.load(from);
    const odd = v128.load(from, 16);
    let halves = v128.load(w0 + at);
    largest = largerMagnitude(largest, halves);
    s0 = addHalves(halves, even, odd, s0);
    halves = v128.load(w1 + at);
    largest = largerMagnitude(largest, halves);
    s1 = addHalves(halves, even, odd, s1);
    halves = v128.load(w2 + at);
    largest = largerMagnitude(largest, halves);
    s2 = addHalves(halves, even, odd, s2);
    halves = v128.load(w3 + at);
    largest = largerMagnitude(largest, halves);
    s3 = addHalves(halves, even, odd, s3);
    at += 16;
  }
  if (v128.any_true(i16x8.ge_u(largest, i16x8.splat(0x7c00)))) {
    s0 = dotSpecialHalves(k, x, w0);
    s1 = dotSpecialHalves(k, x, w1);
    s2 = dotSpecialHalves(k, x, w2);
    s3 = dotSpecialHalves(k, x, w3);
  }
  return sumFour(s0, s1, s2, s3);
}

/** The last k % 8 terms of one row. */
function dotHalvesTail(k: i32, x: usize, w: usize): f32 {
  let sum: f32 = 0;
  for (let i: usize = 0; i < <usize>k; i++) sum += load<f32>(x + (i << 2)) * halfToFloat(w + (i << 1));
  return sum;
}

/** c[n] = x · weights^T, float16 weights with rows `bColumn` elements apart. Scratch: k floats. */
export function gemvHalf(
  n: i32, k: i32, a: usize, aColumn: i32, b: usize, bColumn: i32, c: usize, bias: usize, activation: i32, accumulate: i32,
  scratch: usize, begin: i32, end: i32,
): void {
  gatherFloats(a, <usize>aColumn << 2, scratch, k);
  const whole = k & ~7;
  for (let i = 0; i < whole; i += 8) {
    const at = scratch + (<usize>i << 2);
    const first = v128.load(at);
    const second = v128.load(at, 16);
    v128.store(at, v128.shuffle<f32>(first, second, 0, 2, 4, 6));
    v128.store(at, v128.shuffle<f32>(first, second, 1, 3, 5, 7), 16);
  }
  const step = <usize>bColumn << 1;
  const tail = k - whole;
  const tailX = scratch + (<usize>whole << 2);
  const tailAt = <usize>whole << 1;
  for (let column = begin; column < end; column += 4) {
    const count = min(end - column, 4);
    const w0 = b + <usize>column * step;
    const w1 = count > 1 ? w0 + step : w0;
    const w2 = count > 2 ? w1 + step : w1;
    const w3 = count > 3 ? w2 + step : w2;
    let results = dotHalves(whole, scratch, w0, w1, w2, w3);
    if (tail) {
      const rest = f32x4.replace_lane(
        f32x4.replace_lane(
          f32x4.replace_lane(f32x4.splat(dotHalvesTail(tail, tailX, w0 + tailAt)), 1, dotHalvesTail(tail, tailX, w1 + tailAt)),
          2, dotHalvesTail(tail, tailX, w2 + tailAt),
        ),
        3, dotHalvesTail(tail, tailX, w3 + tailAt),
      );
      results = f32x4.add(results, rest);
    }
    storeResults(c + (<usize>column << 2), results, count, accumulate != 0);
  }
  finish(c, n, bias, activation, begin, end);
}

/** sums[group] = (Σ x over the group, 0, 0, 0). `groupSize`: a multiple of 8. */
function sumGroups(k: i32, groupSize: i32, x: usize, sums: usize): void {
  for (let start = 0; start < k; start += groupSize) {
    let left = f32x4.splat(0);
    let right = f32x4.splat(0);
    for (let i = 0; i < groupSize; i += 8) {
      left = f32x4.add(left, v128.load(x));
      right = f32x4.add(right, v128.load(x, 16));
      x += 32;
    }
    v128.store(sums, f32x4.replace_lane(f32x4.splat(0), 0, sumLanes(f32x4.add(left, right))));
    sums += 16;
  }
}

// @ts-ignore: decorator
@inline
function addInt8(w: usize, left: v128, right: v128, sum: v128): v128 {
  const values = v128.load_ext<i8>(w);
  sum = multiplyAdd(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(values)), left, sum);
  return multiplyAdd(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(values)), right, sum);
}

/**
 * c[n] = x · weights^T for int8 weights [n, k] in groups (a multiple of 8, dividing k): Σ over groups of scale * Σ q x + minimum * Σ x.
 * Scratch floats: k + 4 * k / groupSize.
 */
export function gemvInt8(
  n: i32, k: i32, a: usize, aColumn: i32, b: usize, scales: usize, minimums: usize, groupSize: i32,
  c: usize, bias: usize, activation: i32, accumulate: i32, scratch: usize, begin: i32, end: i32,
): void {
  const sums = scratch + (<usize>k << 2);
  gatherFloats(a, <usize>aColumn << 2, scratch, k);
  if (minimums) sumGroups(k, groupSize, scratch, sums);
  const groupStep = <usize>(k / groupSize) << 2;
  for (let column = begin; column < end; column += 4) {
    const count = min(end - column, 4);
    const step1: usize = count > 1 ? 1 : 0;
    const step2: usize = count > 2 ? 2 : step1;
    const step3: usize = count > 3 ? 3 : step2;
    const w0 = b + <usize>column * <usize>k;
    const w1 = w0 + step1 * <usize>k;
    const w2 = w0 + step2 * <usize>k;
    const w3 = w0 + step3 * <usize>k;
    let group = <usize>column * groupStep;
    let t0 = f32x4.splat(0), t1 = f32x4.splat(0), t2 = f32x4.splat(0), t3 = f32x4.splat(0);
    let x = scratch;
    let at: usize = 0;
    let groupSum = sums;
    while (at < <usize>k) {
      let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
      for (const stop = at + groupSize; at < stop; at += 8) {
        const left = v128.load(x);
        const right = v128.load(x, 16);
        s0 = addInt8(w0 + at, left, right, s0);
        s1 = addInt8(w1 + at, left, right, s1);
        s2 = addInt8(w2 + at, left, right, s2);
        s3 = addInt8(w3 + at, left, right, s3);
        x += 32;
      }
      const group1 = group + step1 * groupStep;
      const group2 = group + step2 * groupStep;
      const group3 = group + step3 * groupStep;
      t0 = multiplyAdd(v128.load_splat<f32>(scales + group), s0, t0);
      t1 = multiplyAdd(v128.load_splat<f32>(scales + group1), s1, t1);
      t2 = multiplyAdd(v128.load_splat<f32>(scales + group2), s2, t2);
      t3 = multiplyAdd(v128.load_splat<f32>(scales + group3), s3, t3);
      if (minimums) {
        const sum = v128.load(groupSum);
        t0 = multiplyAdd(v128.load32_zero(minimums + group), sum, t0);
        t1 = multiplyAdd(v128.load32_zero(minimums + group1), sum, t1);
        t2 = multiplyAdd(v128.load32_zero(minimums + group2), sum, t2);
        t3 = multiplyAdd(v128.load32_zero(minimums + group3), sum, t3);
        groupSum += 16;
      }
      group += 4;
    }
    storeResults(c + (<usize>column << 2), sumFour(t0, t1, t2, t3), count, accumulate != 0);
  }
  finish(c, n, bias, activation, begin, end);
}

/**
 * Puts x into the order of 4-bit weights: 32 values are 16 bytes or four 32-bit lanes, and lane i holds value 8 i + j in bits 4 j to 4 j + 3. Masking in place
 * gives q * 16^j without a shift, so x[8 i + j] is divided by 16^j (exactly); only the top one is shifted, because it would be negative.
 */
function permuteForUint4(k: i32, x: usize, to: usize): void {
  for (let start = 0; start < k; start += 32) {
    let factor: f32 = 1;
    for (let j = 0; j < 8; j++) {
      if (j == 7) factor = 1;
      for (let i = 0; i < 4; i++) store<f32>(to + (<usize>(4 * j + i) << 2), load<f32>(x + (<usize>(8 * i + j) << 2)) * factor);
      factor *= 0.0625;
    }
    x += 128;
    to += 128;
  }
}

// @ts-ignore: decorator
@inline
function addMasked(w: v128, mask: i32, x: v128, sum: v128): v128 {
  return multiplyAdd(f32x4.convert_i32x4_s(v128.and(w, i32x4.splat(mask))), x, sum);
}

/**
 * c[n] = x · weights^T for 4-bit weights [n, k / 2 bytes] in groups (a multiple of 32, dividing k). Scratch floats: 2 * k + 4 * k / groupSize.
 */
export function gemvUint4(
  n: i32, k: i32, a: usize, aColumn: i32, b: usize, scales: usize, minimums: usize, groupSize: i32,
  c: usize, bias: usize, activation: i32, accumulate: i32, scratch: usize, begin: i32, end: i32,
): void {
  const plain = scratch + (<usize>k << 2);
  const sums = plain + (<usize>k << 2);
  gatherFloats(a, <usize>aColumn << 2, plain, k);
  if (minimums) sumGroups(k, groupSize, plain, sums);
  permuteForUint4(k, plain, scratch);
  const groupStep = <usize>(k / groupSize) << 2;
  const rowBytes = <usize>k >> 1;
  const groupBytes = <usize>groupSize >> 1;
  for (let column = begin; column < end; column += 4) {
    const count = min(end - column, 4);
    const step1: usize = count > 1 ? 1 : 0;
    const step2: usize = count > 2 ? 2 : step1;
    const step3: usize = count > 3 ? 3 : step2;
    const row0 = b + <usize>column * rowBytes;
    const row1 = row0 + step1 * rowBytes;
    const row2 = row0 + step2 * rowBytes;
    const row3 = row0 + step3 * rowBytes;
    let group = <usize>column * groupStep;
    let t0 = f32x4.splat(0), t1 = f32x4.splat(0), t2 = f32x4.splat(0), t3 = f32x4.splat(0);
    let x = scratch;
    let at: usize = 0;
    let groupSum = sums;
    while (at < rowBytes) {
      let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
      for (const stop = at + groupBytes; at < stop; at += 16) {
        const w0 = v128.load(row0 + at);
        const w1 = v128.load(row1 + at);
        const w2 = v128.load(row2 + at);
        const w3 = v128.load(row3 + at);
        let value = v128.load(x);
        s0 = addMasked(w0, 0xf, value, s0);
        s1 = addMasked(w1, 0xf, value, s1);
        s2 = addMasked(w2, 0xf, value, s2);
        s3 = addMasked(w3, 0xf, value, s3);
        value = v128.load(x, 16);
        s0 = addMasked(w0, 0xf0, value, s0);
        s1 = addMasked(w1, 0xf0, value, s1);
        s2 = addMasked(w2, 0xf0, value, s2);
        s3 = addMasked(w3, 0xf0, value, s3);
        value = v128.load(x, 32);
        s0 = addMasked(w0, 0xf00, value, s0);
        s1 = addMasked(w1, 0xf00, value, s1);
        s2 = addMasked(w2, 0xf00, value, s2);
        s3 = addMasked(w3, 0xf00, value, s3);
        value = v128.load(x, 48);
        s0 = addMasked(w0, 0xf000, value, s0);
        s1 = addMasked(w1, 0xf000, value, s1);
        s2 = addMasked(w2, 0xf000, value, s2);
        s3 = addMasked(w3, 0xf000, value, s3);
        value = v128.load(x, 64);
        s0 = addMasked(w0, 0xf0000, value, s0);
        s1 = addMasked(w1, 0xf0000, value, s1);
        s2 = addMasked(w2, 0xf0000, value, s2);
        s3 = addMasked(w3, 0xf0000, value, s3);
        value = v128.load(x, 80);
        s0 = addMasked(w0, 0xf00000, value, s0);
        s1 = addMasked(w1, 0xf00000, value, s1);
        s2 = addMasked(w2, 0xf00000, value, s2);
        s3 = addMasked(w3, 0xf00000, value, s3);
        value = v128.load(x, 96);
        s0 = addMasked(w0, 0xf000000, value, s0);
        s1 = addMasked(w1, 0xf000000, value, s1);
        s2 = addMasked(w2, 0xf000000, value, s2);
        s3 = addMasked(w3, 0xf000000, value, s3);
        value = v128.load(x, 112);
        s0 = multiplyAdd(f32x4.convert_i32x4_s(i32x4.shr_u(w0, 28)), value, s0);
        s1 = multiplyAdd(f32x4.convert_i32x4_s(i32x4.shr_u(w1, 28)), value, s1);
        s2 = multiplyAdd(f32x4.convert_i32x4_s(i32x4.shr_u(w2, 28)), value, s2);
        s3 = multiplyAdd(f32x4.convert_i32x4_s(i32x4.shr_u(w3, 28)), value, s3);
        x += 128;
      }
      const group1 = group + step1 * groupStep;
      const group2 = group + step2 * groupStep;
      const group3 = group + step3 * groupStep;
      t0 = multiplyAdd(v128.load_splat<f32>(scales + group), s0, t0);
      t1 = multiplyAdd(v128.load_splat<f32>(scales + group1), s1, t1);
      t2 = multiplyAdd(v128.load_splat<f32>(scales + group2), s2, t2);
      t3 = multiplyAdd(v128.load_splat<f32>(scales + group3), s3, t3);
      if (minimums) {
        const sum = v128.load(groupSum);
        t0 = multiplyAdd(v128.load32_zero(minimums + group), sum, t0);
        t1 = multiplyAdd(v128.load32_zero(minimums + group1), sum, t1);
        t2 = multiplyAdd(v128.load32_zero(minimums + group2), sum, t2);
        t3 = multiplyAdd(v128.load32_zero(minimums + group3), sum, t3);
        groupSum += 16;
      }
      group += 4;
    }
    storeResults(c + (<usize>column << 2), sumFour(t0, t1, t2, t3), count, accumulate != 0);
  }
  finish(c, n, bias, activation, begin, end);
}
