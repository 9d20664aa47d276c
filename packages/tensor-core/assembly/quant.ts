/**
 * Few rows times weights [n, k] stored as float16 or as groups of integers, computed on the stored bytes: what decoding a language model
 * spends its time on. Every sum has an order of its own that depends on k and the group size alone. `bias` 0 and `activation` 0 mean none;
 * c is contiguous [m, n]. Ranges count rows of the weights; any split gives the same bits.
 *
 * Scaling by powers of two, which is exact, keeps conversions out of the loops. float16: a float16's bits moved to float32's places are
 * the number times 2^-112, so x is scaled up and the sum down. Integers: x becomes 30-bit integers of one exponent a group, as two 15-bit
 * halves, and products and sums inside a group are exact; x loses what lies 2^30 below the largest of its group. Infinity or NaN in x
 * makes a whole output NaN there.
 */
import { gatherFloats, storeResults, sumFour } from "./dot";
import { epilogue } from "./epilogue";
import { evenHalfBits, HALF_MASK, HALF_SPECIAL, markSpecial, oddHalfBits, opaqueConstant } from "./half";
import { multiplyAdd, sumLanes } from "./math";

// @ts-ignore: decorator
@inline
function finish(m: i32, n: i32, c: usize, bias: usize, activation: i32, begin: i32, end: i32): void {
  if (bias == 0 && activation == 0) return;
  const at = <usize>begin << 2;
  epilogue(c + at, <usize>n << 2, m, end - begin, bias ? bias + at : 0, activation);
}

// @ts-ignore: decorator
@inline
function powerOfTwo(exponent: i32): f32 {
  return reinterpret<f32>((exponent + 127) << 23);
}

/** The smallest e with |x| < 2^e for all of x, not below -90; 129 when there is Infinity or NaN. `count`: a multiple of 4. */
function largestExponent(x: usize, count: i32): i32 {
  const mask = opaqueConstant(0x7fffffff, count);
  let largest = i32x4.splat(0);
  for (; count > 0; count -= 4) {
    largest = i32x4.max_s(largest, v128.and(v128.load(x), mask));
    x += 16;
  }
  largest = i32x4.max_s(largest, i8x16.shuffle(largest, largest, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  const bits = max(i32x4.extract_lane(largest, 0), i32x4.extract_lane(largest, 1));
  return max((bits >> 23) - 126, -90);
}

/**
 * Copies a row of x behind its scale: 16 bytes, of which 4 are the factor for the results, then the floats, padded with zeros to a
 * multiple of 8.
 */
function prepareForHalves(k: i32, x: usize, step: usize, to: usize): void {
  const padded = (k + 7) & ~7;
  const floats = to + 16;
  gatherFloats(x, step, floats, k);
  memory.fill(floats + (<usize>k << 2), 0, <usize>(padded - k) << 2);
  // As far up as float32 reaches: x < 2^127 and the scale itself < 2^128.
  const shift = min(127, 126 - largestExponent(floats, padded));
  store<f32>(to, powerOfTwo(112 - shift));
  const scale = f32x4.splat(powerOfTwo(shift));
  for (let at = floats; at < floats + (<usize>padded << 2); at += 32) {
    const first = f32x4.mul(v128.load(at), scale);
    const second = f32x4.mul(v128.load(at, 16), scale);
    v128.store(at, v128.shuffle<f32>(first, second, 0, 2, 4, 6));
    v128.store(at, v128.shuffle<f32>(first, second, 1, 3, 5, 7), 16);
  }
}

/** One row of weights that holds Infinity or NaN: the same order of the same steps as `dotHalfRow`, with those in place. */
function dotSpecialHalves(k: i32, x: usize, w: usize): v128 {
  const mask = opaqueConstant(HALF_MASK, k);
  const special = opaqueConstant(HALF_SPECIAL, k);
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
  for (; k >= 16; k -= 16) {
    const first = v128.load(w);
    const second = v128.load(w, 16);
    s0 = multiplyAdd(markSpecial(evenHalfBits(first, mask), special), v128.load(x), s0);
    s1 = multiplyAdd(markSpecial(oddHalfBits(first, mask), special), v128.load(x, 16), s1);
    s2 = multiplyAdd(markSpecial(evenHalfBits(second, mask), special), v128.load(x, 32), s2);
    s3 = multiplyAdd(markSpecial(oddHalfBits(second, mask), special), v128.load(x, 48), s3);
    x += 64;
    w += 32;
  }
  if (k > 0) {
    const halves = v128.load(w);
    s0 = multiplyAdd(markSpecial(evenHalfBits(halves, mask), special), v128.load(x), s0);
    s1 = multiplyAdd(markSpecial(oddHalfBits(halves, mask), special), v128.load(x, 16), s1);
  }
  return f32x4.add(f32x4.add(s0, s2), f32x4.add(s1, s3));
}

/** Products of a prepared x with one float16 row, added up in four partial sums and then lane by lane. k: a multiple of 8. */
function dotHalfRow(k: i32, x: usize, w: usize): v128 {
  const mask = opaqueConstant(HALF_MASK, k);
  const magnitude = opaqueConstant(0x7fff7fff, k);
  let s0 = f32x4.splat(0), s1 = f32x4.splat(0), s2 = f32x4.splat(0), s3 = f32x4.splat(0);
  let largest = f32x4.splat(0);
  let from = x;
  let at = w;
  let left = k;
  for (; left >= 16; left -= 16) {
    const first = v128.load(at);
    const second = v128.load(at, 16);
    largest = i16x8.max_u(largest, i16x8.max_u(v128.and(first, magnitude), v128.and(second, magnitude)));
    s0 = multiplyAdd(evenHalfBits(first, mask), v128.load(from), s0);
    s1 = multiplyAdd(oddHalfBits(first, mask), v128.load(from, 16), s1);
    s2 = multiplyAdd(evenHalfBits(second, mask), v128.load(from, 32), s2);
    s3 = multiplyAdd(oddHalfBits(second, mask), v128.load(from, 48), s3);
    from += 64;
    at += 32;
  }
  if (left > 0) {
    const halves = v128.load(at);
    largest = i16x8.max_u(largest, v128.and(halves, magnitude));
    s0 = multiplyAdd(evenHalfBits(halves, mask), v128.load(from), s0);
    s1 = multiplyAdd(oddHalfBits(halves, mask), v128.load(from, 16), s1);
  }
  if (v128.any_true(i16x8.ge_u(largest, i16x8.splat(0x7c00)))) return dotSpecialHalves(k, x, w);
  return f32x4.add(f32x4.add(s0, s2), f32x4.add(s1, s3));
}

/** Dot products of four float16 rows with a prepared x, row after row (`dotFour` says why). k: a multiple of 8. */
function dotHalves(k: i32, x: usize, w0: usize, w1: usize, w2: usize, w3: usize): v128 {
  return sumFour(dotHalfRow(k, x, w0), dotHalfRow(k, x, w1), dotHalfRow(k, x, w2), dotHalfRow(k, x, w3));
}

/**
 * c[m, n] = a · weights^T, float16 weights with contiguous rows `bColumn` elements apart.
 * Scratch bytes: 64 + m * (16 + 4 * k rounded up to 8).
 */
export function gemvHalf(
  m: i32, n: i32, k: i32, a: usize, aRow: i32, aColumn: i32, b: usize, bColumn: i32,
  c: usize, bias: usize, activation: i32, accumulate: i32, scratch: usize, begin: i32, end: i32,
): void {
  const whole = k & ~7;
  const rest = k - whole;
  const wholeBytes = <usize>whole << 1;
  const prepared = scratch + 64;
  const preparedRow = 16 + (<usize>((k + 7) & ~7) << 2);
  for (let row = 0; row < m; row++) {
    prepareForHalves(k, a + ((<usize>row * <usize>aRow) << 2), <usize>aColumn << 2, prepared + <usize>row * preparedRow);
  }
  if (rest) memory.fill(scratch, 0, 64);
  const step = <usize>bColumn << 1;
  for (let column = begin; column < end; column += 4) {
    const count = min(end - column, 4);
    const w0 = b + <usize>column * step;
    const w1 = count > 1 ? w0 + step : w0;
    const w2 = count > 2 ? w1 + step : w1;
    const w3 = count > 3 ? w2 + step : w2;
    if (rest) {
      // The last few weights of each row, padded with zeros.
      const restBytes = <usize>rest << 1;
      memory.copy(scratch, w0 + wholeBytes, restBytes);
      memory.copy(scratch + 16, w1 + wholeBytes, restBytes);
      memory.copy(scratch + 32, w2 + wholeBytes, restBytes);
      memory.copy(scratch + 48, w3 + wholeBytes, restBytes);
    }
    for (let row = 0; row < m; row++) {
      const x = prepared + <usize>row * preparedRow;
      let sums = dotHalves(whole, x + 16, w0, w1, w2, w3);
      if (rest) sums = f32x4.add(sums, dotHalves(8, x + 16 + (<usize>whole << 2), scratch, scratch + 16, scratch + 32, scratch + 48));
      storeResults(c + ((<usize>row * <usize>n + <usize>column) << 2), f32x4.mul(sums, v128.load_splat<f32>(x)), count, accumulate != 0);
    }
  }
  finish(m, n, c, bias, activation, begin, end);
}

/** Bytes of the record that each group of x has: the units of its upper and lower halves, and its sum as (sum, 0, 0, 0) from byte 16. */
// @ts-ignore: decorator
@inline
const RECORD: usize = 32;

/** Products that one lane can sum without overflow: 2^31 / (2^7 * 2^15), in two times four lanes. */
// @ts-ignore: decorator
@inline
const EXACT_BLOCK: usize = 1024;

// @ts-ignore: decorator
@inline
function storeParts(to: usize, first: v128, second: v128, low: v128): void {
  v128.store(to, i16x8.narrow_i32x4_s(i32x4.shr_s(first, 15), i32x4.shr_s(second, 15)));
  v128.store(to, i16x8.narrow_i32x4_s(v128.and(first, low), v128.and(second, low)), 16);
}

/**
 * Turns a row of x into integers: for every eight numbers, eight upper halves (signed) and eight lower halves (15 bits). In natural order,
 * or for 4-bit weights every 32 numbers as those of index 0, 1, 2 and 3 mod 4. `plain`: room for k floats. `groupSize`: a multiple of 8,
 * or of 32.
 */
function prepareForIntegers(k: i32, groupSize: i32, x: usize, step: usize, plain: usize, to: usize, records: usize, fourBits: bool): void {
  gatherFloats(x, step, plain, k);
  const low = opaqueConstant(0x7fff, k);
  for (let start = 0; start < k; start += groupSize) {
    const exponent = largestExponent(plain, groupSize);
    store<f32>(records, exponent > 128 ? NaN : powerOfTwo(exponent - 15));
    store<f32>(records, exponent > 128 ? NaN : powerOfTwo(exponent - 30), 4);
    const scale = f32x4.splat(powerOfTwo(30 - exponent));
    let sum = f32x4.splat(0);
    const end = plain + (<usize>groupSize << 2);
    if (fourBits) {
      for (; plain < end; plain += 128) {
        for (let part: usize = 0; part < 2; part++) {
          const from = plain + (part << 6);
          const r0 = v128.load(from);
          const r1 = v128.load(from, 16);
          const r2 = v128.load(from, 32);
          const r3 = v128.load(from, 48);
          sum = f32x4.add(sum, f32x4.add(f32x4.add(r0, r1), f32x4.add(r2, r3)));
          // The transpose, as integers, over the floats it came from.
          const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
          const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
          const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
          const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
          v128.store(from, i32x4.trunc_sat_f32x4_s(f32x4.mul(v128.shuffle<f64>(low01, low23, 0, 2), scale)));
          v128.store(from, i32x4.trunc_sat_f32x4_s(f32x4.mul(v128.shuffle<f64>(low01, low23, 1, 3), scale)), 16);
          v128.store(from, i32x4.trunc_sat_f32x4_s(f32x4.mul(v128.shuffle<f64>(high01, high23, 0, 2), scale)), 32);
          v128.store(from, i32x4.trunc_sat_f32x4_s(f32x4.mul(v128.shuffle<f64>(high01, high23, 1, 3), scale)), 48);
        }
        for (let part: usize = 0; part < 4; part++) {
          const from = plain + (part << 4);
          storeParts(to + (part << 5), v128.load(from), v128.load(from, 64), low);
        }
        to += 128;
      }
    } else {
      for (; plain < end; plain += 32) {
        const first = v128.load(plain);
        const second = v128.load(plain, 16);
        sum = f32x4.add(sum, f32x4.add(first, second));
        storeParts(to, i32x4.trunc_sat_f32x4_s(f32x4.mul(first, scale)), i32x4.trunc_sat_f32x4_s(f32x4.mul(second, scale)), low);
        to += 32;
      }
    }
    v128.store(records, f32x4.replace_lane(f32x4.splat(0), 0, sumLanes(sum)), 16);
    records += RECORD;
  }
}

/** total + scale * (upper * its unit + lower * its unit). */
// @ts-ignore: decorator
@inline
function addBlock(upper: v128, lower: v128, record: usize, scale: usize, total: v128): v128 {
  const high = f32x4.mul(f32x4.convert_i32x4_s(upper), v128.load_splat<f32>(record));
  const low = f32x4.mul(f32x4.convert_i32x4_s(lower), v128.load_splat<f32>(record, 4));
  return multiplyAdd(f32x4.add(high, low), v128.load_splat<f32>(scale), total);
}

/** Two rows of int8 weights times a prepared x: the totals, in lanes 0 and 1. */
function dotInt8(
  k: i32, groupSize: i32, x: usize, record: usize, w0: usize, w1: usize, scale0: usize, scale1: usize, minimum0: usize, minimum1: usize,
): v128 {
  let total0 = f32x4.splat(0);
  let total1 = f32x4.splat(0);
  let at: usize = 0;
  while (at < <usize>k) {
    const groupEnd = at + <usize>groupSize;
    while (at < groupEnd) {
      let upper0 = i32x4.splat(0), lower0 = i32x4.splat(0), upper1 = i32x4.splat(0), lower1 = i32x4.splat(0);
      const stop = min(groupEnd, at + EXACT_BLOCK);
      for (; at < stop; at += 8) {
        const high = v128.load(x);
        const low = v128.load(x, 16);
        let weights = v128.load_ext<i8>(w0 + at);
        upper0 = i32x4.add(upper0, i32x4.dot_i16x8_s(weights, high));
        lower0 = i32x4.add(lower0, i32x4.dot_i16x8_s(weights, low));
        weights = v128.load_ext<i8>(w1 + at);
        upper1 = i32x4.add(upper1, i32x4.dot_i16x8_s(weights, high));
        lower1 = i32x4.add(lower1, i32x4.dot_i16x8_s(weights, low));
        x += 32;
      }
      total0 = addBlock(upper0, lower0, record, scale0, total0);
      total1 = addBlock(upper1, lower1, record, scale1, total1);
    }
    if (minimum0) {
      const sum = v128.load(record, 16);
      total0 = multiplyAdd(v128.load32_zero(minimum0), sum, total0);
      total1 = multiplyAdd(v128.load32_zero(minimum1), sum, total1);
      minimum0 += 4;
      minimum1 += 4;
    }
    record += RECORD;
    scale0 += 4;
    scale1 += 4;
  }
  return sumFour(total0, total1, total0, total1);
}

/** As `dotInt8`, two 4-bit weights a byte. In 16-bit lanes, lane i of 16 bytes holds weights 4 i to 4 i + 3. */
function dotUint4(
  k: i32, groupSize: i32, x: usize, record: usize, w0: usize, w1: usize, scale0: usize, scale1: usize, minimum0: usize, minimum1: usize,
): v128 {
  const mask = opaqueConstant(0x000f000f, k);
  let total0 = f32x4.splat(0);
  let total1 = f32x4.splat(0);
  let at: usize = 0;
  const end = <usize>k >> 1;
  while (at < end) {
    const groupEnd = at + (<usize>groupSize >> 1);
    while (at < groupEnd) {
      let upper0 = i32x4.splat(0), lower0 = i32x4.splat(0), upper1 = i32x4.splat(0), lower1 = i32x4.splat(0);
      const stop = min(groupEnd, at + EXACT_BLOCK);
      for (; at < stop; at += 16) {
        const bytes0 = v128.load(w0 + at);
        const bytes1 = v128.load(w1 + at);
        let high = v128.load(x);
        let low = v128.load(x, 16);
        let weights = v128.and(bytes0, mask);
        upper0 = i32x4.add(upper0, i32x4.dot_i16x8_s(weights, high));
        lower0 = i32x4.add(lower0, i32x4.dot_i16x8_s(weights, low));
        weights = v128.and(bytes1, mask);
        upper1 = i32x4.add(upper1, i32x4.dot_i16x8_s(weights, high));
        lower1 = i32x4.add(lower1, i32x4.dot_i16x8_s(weights, low));
        high = v128.load(x, 32);
        low = v128.load(x, 48);
        weights = v128.and(i16x8.shr_u(bytes0, 4), mask);
        upper0 = i32x4.add(upper0, i32x4.dot_i16x8_s(weights, high));
        lower0 = i32x4.add(lower0, i32x4.dot_i16x8_s(weights, low));
        weights = v128.and(i16x8.shr_u(bytes1, 4), mask);
        upper1 = i32x4.add(upper1, i32x4.dot_i16x8_s(weights, high));
        lower1 = i32x4.add(lower1, i32x4.dot_i16x8_s(weights, low));
        high = v128.load(x, 64);
        low = v128.load(x, 80);
        weights = v128.and(i16x8.shr_u(bytes0, 8), mask);
        upper0 = i32x4.add(upper0, i32x4.dot_i16x8_s(weights, high));
        lower0 = i32x4.add(lower0, i32x4.dot_i16x8_s(weights, low));
        weights = v128.and(i16x8.shr_u(bytes1, 8), mask);
        upper1 = i32x4.add(upper1, i32x4.dot_i16x8_s(weights, high));
        lower1 = i32x4.add(lower1, i32x4.dot_i16x8_s(weights, low));
        high = v128.load(x, 96);
        low = v128.load(x, 112);
        weights = i16x8.shr_u(bytes0, 12);
        upper0 = i32x4.add(upper0, i32x4.dot_i16x8_s(weights, high));
        lower0 = i32x4.add(lower0, i32x4.dot_i16x8_s(weights, low));
        weights = i16x8.shr_u(bytes1, 12);
        upper1 = i32x4.add(upper1, i32x4.dot_i16x8_s(weights, high));
        lower1 = i32x4.add(lower1, i32x4.dot_i16x8_s(weights, low));
        x += 128;
      }
      total0 = addBlock(upper0, lower0, record, scale0, total0);
      total1 = addBlock(upper1, lower1, record, scale1, total1);
    }
    if (minimum0) {
      const sum = v128.load(record, 16);
      total0 = multiplyAdd(v128.load32_zero(minimum0), sum, total0);
      total1 = multiplyAdd(v128.load32_zero(minimum1), sum, total1);
      minimum0 += 4;
      minimum1 += 4;
    }
    record += RECORD;
    scale0 += 4;
    scale1 += 4;
  }
  return sumFour(total0, total1, total0, total1);
}

/**
 * c[m, n] = a · weights^T for weights [n, k] in groups along k, `w = scale * q + minimum`: Σ over groups of scale * Σ q x + minimum * Σ x.
 * `fourBits` 0: int8, groups a multiple of 8; 1: uint4, a multiple of 32. Groups divide k. Scratch bytes: 4 * k + m * (4 * k + 32 * k /
 * groupSize).
 */
export function gemvIntegers(
  m: i32, n: i32, k: i32, a: usize, aRow: i32, aColumn: i32, b: usize, fourBits: i32, scales: usize, minimums: usize, groupSize: i32,
  c: usize, bias: usize, activation: i32, accumulate: i32, scratch: usize, begin: i32, end: i32,
): void {
  const groups = <usize>(k / groupSize);
  const prepared = scratch + (<usize>k << 2);
  const integerBytes = <usize>k << 2;
  const preparedRow = integerBytes + groups * RECORD;
  for (let row = 0; row < m; row++) {
    const to = prepared + <usize>row * preparedRow;
    prepareForIntegers(
      k, groupSize, a + ((<usize>row * <usize>aRow) << 2), <usize>aColumn << 2, scratch, to, to + integerBytes, fourBits != 0,
    );
  }
  const rowBytes = fourBits ? <usize>k >> 1 : <usize>k;
  for (let column = begin; column < end; column += 2) {
    const count = min(end - column, 2);
    const next = <usize>(count - 1);
    const weights = b + <usize>column * rowBytes;
    const nextWeights = weights + next * rowBytes;
    const group = (<usize>column * groups) << 2;
    const nextGroup = group + ((next * groups) << 2);
    const minimum0 = minimums ? minimums + group : 0;
    const minimum1 = minimums ? minimums + nextGroup : 0;
    for (let row = 0; row < m; row++) {
      const x = prepared + <usize>row * preparedRow;
      const record = x + integerBytes;
      const results = fourBits
        ? dotUint4(k, groupSize, x, record, weights, nextWeights, scales + group, scales + nextGroup, minimum0, minimum1)
        : dotInt8(k, groupSize, x, record, weights, nextWeights, scales + group, scales + nextGroup, minimum0, minimum1);
      storeResults(c + ((<usize>row * <usize>n + <usize>column) << 2), results, count, accumulate != 0);
    }
  }
  finish(m, n, c, bias, activation, begin, end);
}
