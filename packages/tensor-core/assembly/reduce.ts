/**
 * Reductions over the last axis (`reduceRows`) and over the middle of three (`reduceColumns`), extremes' places, and running totals. Orders
 * of addition depend on shapes alone.
 */
import { loadPartial, storePartial } from "./math";

/** Operations: float32 from 0, int32 from 4, bool (bytes) from 8. `mean` is a sum with a divisor. */
const SUM: i32 = 0;
const PRODUCT: i32 = 1;
const MAXIMUM: i32 = 2;
const MINIMUM: i32 = 3;
const INTEGER: i32 = 4;
const ANY: i32 = 8;
const ALL: i32 = 9;

/** Elements that float32 accumulators take in before they are added to float64 ones. */
const BLOCK: i32 = 1024;
/** Rows that do so in `reduceColumns`. */
const BLOCK_ROWS: i32 = 64;

/** The first argument's NaN passes through `pmax` and `pmin`, the second's is put back. */
// @ts-ignore: decorator
@inline
function foldInline(operation: i32, a: v128, b: v128): v128 {
  switch (operation) {
    case SUM: return f32x4.add(a, b);
    case PRODUCT: return f32x4.mul(a, b);
    case MAXIMUM: return v128.bitselect(f32x4.pmax(a, b), b, f32x4.eq(b, b));
    case MINIMUM: return v128.bitselect(f32x4.pmin(a, b), b, f32x4.eq(b, b));
    case INTEGER + SUM: return i32x4.add(a, b);
    case INTEGER + PRODUCT: return i32x4.mul(a, b);
    case INTEGER + MAXIMUM: return i32x4.max_s(a, b);
    default: return i32x4.min_s(a, b);
  }
}

function fold(operation: i32, a: v128, b: v128): v128 {
  return foldInline(operation, a, b);
}

/** What an empty reduction gives. */
function identity(operation: i32): v128 {
  switch (operation) {
    case PRODUCT: return f32x4.splat(1.0);
    case MAXIMUM: return f32x4.splat(-Infinity);
    case MINIMUM: return f32x4.splat(Infinity);
    case INTEGER + PRODUCT: return i32x4.splat(1);
    case INTEGER + MAXIMUM: return i32x4.splat(i32.MIN_VALUE);
    case INTEGER + MINIMUM: return i32x4.splat(i32.MAX_VALUE);
    default: return i32x4.splat(0);
  }
}

/** Lanes to doubles, pairwise: (0, 1) + (2, 3). */
// @ts-ignore: decorator
@inline
function widen(v: v128): v128 {
  return f64x2.add(f64x2.promote_low_f32x4(v), f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3)));
}

/** Sum of a row: eight vectors of float32 partial sums in blocks, blocks in float64. */
function sumRow(input: usize, count: i32): f64 {
  const zero = f32x4.splat(0.0);
  let total = zero;
  while (count >= 4) {
    const block = min(count, BLOCK);
    let s0 = zero;
    let s1 = zero;
    let s2 = zero;
    let s3 = zero;
    let s4 = zero;
    let s5 = zero;
    let s6 = zero;
    let s7 = zero;
    let left = block;
    for (; left >= 32; left -= 32) {
      s0 = f32x4.add(s0, v128.load(input));
      s1 = f32x4.add(s1, v128.load(input, 16));
      s2 = f32x4.add(s2, v128.load(input, 32));
      s3 = f32x4.add(s3, v128.load(input, 48));
      s4 = f32x4.add(s4, v128.load(input, 64));
      s5 = f32x4.add(s5, v128.load(input, 80));
      s6 = f32x4.add(s6, v128.load(input, 96));
      s7 = f32x4.add(s7, v128.load(input, 112));
      input += 128;
    }
    for (; left >= 4; left -= 4) {
      s0 = f32x4.add(s0, v128.load(input));
      input += 16;
    }
    const low = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3));
    const high = f32x4.add(f32x4.add(s4, s5), f32x4.add(s6, s7));
    total = f64x2.add(total, f64x2.add(widen(low), widen(high)));
    count -= block - left;
  }
  if (count > 0) total = f64x2.add(total, widen(loadPartial(input, count)));
  return f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
}

/** Largest (or smallest) of a row, NaN if it holds one, in every lane: `pmax` drops NaN, so NaN is watched for beside it. */
// @ts-ignore: decorator
@inline
function extremeOfRow(largest: bool, input: usize, count: i32): v128 {
  const start = f32x4.splat(largest ? -Infinity : Infinity);
  let s0 = start;
  let s1 = start;
  let s2 = start;
  let s3 = start;
  let numbers = i32x4.splat(-1);
  for (; count >= 16; count -= 16) {
    const v0 = v128.load(input);
    const v1 = v128.load(input, 16);
    const v2 = v128.load(input, 32);
    const v3 = v128.load(input, 48);
    s0 = largest ? f32x4.pmax(s0, v0) : f32x4.pmin(s0, v0);
    s1 = largest ? f32x4.pmax(s1, v1) : f32x4.pmin(s1, v1);
    s2 = largest ? f32x4.pmax(s2, v2) : f32x4.pmin(s2, v2);
    s3 = largest ? f32x4.pmax(s3, v3) : f32x4.pmin(s3, v3);
    numbers = v128.and(numbers, v128.and(v128.and(f32x4.eq(v0, v0), f32x4.eq(v1, v1)), v128.and(f32x4.eq(v2, v2), f32x4.eq(v3, v3))));
    input += 64;
  }
  for (; count > 0; count--) {
    const v = v128.load32_splat(input);
    s0 = largest ? f32x4.pmax(s0, v) : f32x4.pmin(s0, v);
    numbers = v128.and(numbers, f32x4.eq(v, v));
    input += 4;
  }
  if (!i32x4.all_true(numbers)) return f32x4.splat(NaN);
  s0 = largest ? f32x4.pmax(f32x4.pmax(s0, s1), f32x4.pmax(s2, s3)) : f32x4.pmin(f32x4.pmin(s0, s1), f32x4.pmin(s2, s3));
  const pair = v128.shuffle<i32>(s0, s0, 2, 3, 0, 1);
  s0 = largest ? f32x4.pmax(s0, pair) : f32x4.pmin(s0, pair);
  const other = v128.shuffle<i32>(s0, s0, 1, 0, 3, 2);
  return largest ? f32x4.pmax(s0, other) : f32x4.pmin(s0, other);
}

/** The fold of a row, in every lane. */
function foldRow(operation: i32, input: usize, count: i32): v128 {
  if (operation == MAXIMUM) return extremeOfRow(true, input, count);
  if (operation == MINIMUM) return extremeOfRow(false, input, count);
  const start = identity(operation);
  let s0 = start;
  for (; count >= 4; count -= 4) {
    s0 = fold(operation, s0, v128.load(input));
    input += 16;
  }
  for (; count > 0; count--) {
    s0 = fold(operation, s0, v128.load_lane<i32>(input, start, 0));
    input += 4;
  }
  s0 = fold(operation, s0, v128.shuffle<i32>(s0, s0, 2, 3, 0, 1));
  return fold(operation, s0, v128.shuffle<i32>(s0, s0, 1, 0, 3, 2));
}

/** Divides sums of int32 for their mean, which truncates. */
function divideIntegers(operation: i32, v: v128, divisor: f64): v128 {
  if (operation != INTEGER + SUM || divisor == 1) return v;
  for (let lane = 0; lane < 4; lane++) {
    v = i32x4.replace_lane(v, 0, <i32>(<f64>i32x4.extract_lane(v, 0) / divisor));
    v = v128.shuffle<i32>(v, v, 1, 2, 3, 0);
  }
  return v;
}

/**
 * output[row, block] = operation over input[row, block * blockLength … (block + 1) * blockLength), the last block up to `columns`; rows of
 * contiguous elements `rowStride` apart. Sums are divided by `divisor`. Range over rows × blocks.
 */
export function reduceRows(
  operation: i32, input: usize, output: usize, columns: i32, rowStride: i32, blockLength: i32, blocks: i32, divisor: f64, begin: i32,
  end: i32,
): void {
  for (let item = begin; item < end; item++) {
    const start = (item % blocks) * blockLength;
    const count = min(blockLength, columns - start);
    const place = (item / blocks) * rowStride + start;
    const source = input + (<usize>place << 2);
    const target = output + (<usize>item << 2);
    if (operation == SUM) store<f32>(target, <f32>(sumRow(source, count) / divisor));
    else if (operation < ANY) v128.store_lane<i32>(target, divideIntegers(operation, foldRow(operation, source, count), divisor), 0);
    else {
      // Bytes 0 or 1: any looks for a 1, all for a 0.
      const sought: u32 = operation == ANY ? 1 : 0;
      let found = false;
      const bytes = input + <usize>place;
      for (let i = 0; i < count && !found; i++) found = load<u8>(bytes + <usize>i) == sought;
      store<u8>(output + <usize>item, found ? sought : sought ^ 1);
    }
  }
}

/** Folds `rows` rows, `step` bytes apart, into `width` columns of accumulators: sums of whole vectors four rows at a time. */
function foldTile(operation: i32, source: usize, step: usize, rows: i32, accumulators: usize, width: i32): void {
  const whole = width & ~3;
  const rest = width - whole;
  const stop = accumulators + (<usize>whole << 2);
  let left = rows;
  for (; left > 0; left--) {
    let from = source;
    let to = accumulators;
    if (operation == SUM) {
      if (left >= 4) {
        for (; to < stop; to += 16) {
          const pair = f32x4.add(v128.load(from), v128.load(from + step));
          const next = f32x4.add(v128.load(from + 2 * step), v128.load(from + 3 * step));
          v128.store(to, f32x4.add(v128.load(to), f32x4.add(pair, next)));
          from += 16;
        }
        for (let i = 0; rest && i < 4; i++) {
          v128.store(to, f32x4.add(v128.load(to), loadPartial(from, rest)));
          from += step;
        }
        source += 3 * step;
        left -= 3;
      } else {
        for (; to < stop; to += 16) {
          v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
          from += 16;
        }
        if (rest) v128.store(to, f32x4.add(v128.load(to), loadPartial(from, rest)));
      }
    } else {
      for (; to < stop; to += 16) {
        v128.store(to, foldInline(operation, v128.load(to), v128.load(from)));
        from += 16;
      }
      if (rest) v128.store(to, fold(operation, v128.load(to), loadPartial(from, rest)));
    }
    source += step;
  }
}

/**
 * output[o, k] = operation over i of input[o, i, k], contiguous [any, size, inner]; sums are divided by `divisor`. Range over outer ×
 * ceil(inner / tile) tiles of columns; `tile` is a multiple of 4. Scratch: 12 * tile bytes.
 */
export function reduceColumns(
  operation: i32, input: usize, output: usize, size: i32, inner: i32, tile: i32, divisor: f64, scratch: usize, begin: i32, end: i32,
): void {
  const shift: usize = operation >= ANY ? 0 : 2;
  const step = <usize>inner << shift;
  const doubles = scratch + (<usize>tile << 2);
  const tiles = (inner + tile - 1) / tile;
  for (let item = begin; item < end; item++) {
    const o = <usize>(item / tiles);
    const k = (item % tiles) * tile;
    const width = min(inner - k, tile);
    let source = input + ((o * <usize>size * <usize>inner + <usize>k) << shift);
    const target = output + ((o * <usize>inner + <usize>k) << shift);
    if (operation >= ANY) {
      const sought: u32 = operation == ANY ? 1 : 0;
      memory.fill(target, <u8>(sought ^ 1), <usize>width);
      for (let i = 0; i < size; i++) {
        for (let c: usize = 0; c < <usize>width; c++) if (load<u8>(source + c) == sought) store<u8>(target + c, sought);
        source += step;
      }
      continue;
    }
    const bytes = <usize>((width + 3) >> 2) << 4;
    const start = identity(operation);
    for (let at: usize = 0; at < bytes; at += 16) v128.store(scratch + at, start);
    if (operation == SUM) {
      memory.fill(doubles, 0, bytes << 1);
      for (let i = 0; i < size; i += BLOCK_ROWS) {
        foldTile(SUM, source, step, min(BLOCK_ROWS, size - i), scratch, width);
        source += BLOCK_ROWS * step;
        for (let at: usize = 0; at < bytes; at += 16) {
          const v = v128.load(scratch + at);
          const place = doubles + (at << 1);
          v128.store(place, f64x2.add(v128.load(place), f64x2.promote_low_f32x4(v)));
          v128.store(place, f64x2.add(v128.load(place, 16), f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3))), 16);
          v128.store(scratch + at, start);
        }
      }
      const divisors = f64x2.splat(divisor);
      for (let at: usize = 0; at < bytes; at += 16) {
        const place = doubles + (at << 1);
        const low = f32x4.demote_f64x2_zero(f64x2.div(v128.load(place), divisors));
        const high = f32x4.demote_f64x2_zero(f64x2.div(v128.load(place, 16), divisors));
        v128.store(scratch + at, v128.shuffle<i64>(low, high, 0, 2));
      }
    } else foldTile(operation, source, step, size, scratch, width);
    for (let at: usize = 0; at < bytes; at += 16) {
      const rest = width - <i32>(at >> 2);
      const v = divideIntegers(operation, v128.load(scratch + at), divisor);
      if (rest >= 4) v128.store(target + at, v);
      else storePartial(target + at, v, rest);
    }
  }
}

/** Whether a beats b: NaN beats numbers, the first of equals stays. */
// @ts-ignore: decorator
@inline
function beats(integer: bool, largest: bool, a: usize, b: usize): bool {
  if (integer) return largest ? load<i32>(a) > load<i32>(b) : load<i32>(a) < load<i32>(b);
  const x = load<f32>(a);
  const y = load<f32>(b);
  if (y != y) return false;
  return x != x || (largest ? x > y : x < y);
}

/** output[o, k] = the place along the middle axis of the first extreme of contiguous [any, size, inner]. Range over outer × inner. */
export function argReduce(
  integer: i32, largest: i32, input: usize, output: usize, size: i32, inner: i32, begin: i32, end: i32,
): void {
  if (inner == 1) {
    // Find the extreme with vectors, then look where it first stands.
    for (let row = begin; row < end; row++) {
      const source = input + (<usize>row * <usize>size << 2);
      let place = 0;
      if (integer) {
        const extreme = i32x4.extract_lane(foldRow(INTEGER + (largest ? MAXIMUM : MINIMUM), source, size), 0);
        while (place < size - 1 && load<i32>(source + (<usize>place << 2)) != extreme) place++;
      } else {
        const extremes = foldRow(largest ? MAXIMUM : MINIMUM, source, size);
        const extreme = f32x4.extract_lane(extremes, 0);
        const isNaN = extreme != extreme;
        for (; place <= size - 4; place += 4) {
          const v = v128.load(source + (<usize>place << 2));
          if (v128.any_true(isNaN ? f32x4.ne(v, v) : f32x4.eq(v, extremes))) break;
        }
        for (; place < size - 1; place++) {
          const x = load<f32>(source + (<usize>place << 2));
          if (isNaN ? x != x : x == extreme) break;
        }
      }
      store<i32>(output + (<usize>row << 2), place);
    }
    return;
  }
  memory.fill(output + (<usize>begin << 2), 0, <usize>(end - begin) << 2);
  while (begin < end) {
    const o = begin / inner;
    const width = min(inner - begin % inner, end - begin);
    const source = input + (<usize>o * <usize>size * <usize>inner + <usize>(begin % inner) << 2);
    for (let i = 1; i < size; i++) {
      for (let c = 0; c < width; c++) {
        const column = source + (<usize>c << 2);
        const place = output + (<usize>(begin + c) << 2);
        const best = column + (<usize>load<i32>(place) * <usize>inner << 2);
        if (beats(integer != 0, largest != 0, column + (<usize>i * <usize>inner << 2), best)) store<i32>(place, i);
      }
    }
    begin += width;
  }
}

/**
 * Running sum (in float64) or product along the middle axis of contiguous [any, size, inner]; `reverse`: from the end. Range over outer ×
 * inner.
 */
export function cumulative(
  integer: i32, product: i32, reverse: i32, input: usize, output: usize, size: i32, inner: i32, begin: i32, end: i32,
): void {
  const step = reverse ? -(<usize>inner << 2) : <usize>inner << 2;
  while (begin < end) {
    let at = <usize>(begin / inner) * <usize>size * <usize>inner + <usize>(begin % inner) << 2;
    if (reverse) at += <usize>(size - 1) * <usize>inner << 2;
    if (!integer && inner - begin % inner >= 4 && end - begin >= 4) {
      const start = f64x2.splat(product ? 1.0 : 0.0);
      let low = start;
      let high = start;
      for (let i = 0; i < size; i++) {
        const v = v128.load(input + at);
        const vLow = f64x2.promote_low_f32x4(v);
        const vHigh = f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
        low = product ? f64x2.mul(low, vLow) : f64x2.add(low, vLow);
        high = product ? f64x2.mul(high, vHigh) : f64x2.add(high, vHigh);
        v128.store(output + at, v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2));
        at += step;
      }
      begin += 4;
    } else if (integer) {
      let total = product;
      for (let i = 0; i < size; i++) {
        const x = load<i32>(input + at);
        total = product ? total * x : total + x;
        store<i32>(output + at, total);
        at += step;
      }
      begin++;
    } else {
      let total: f64 = product ? 1 : 0;
      for (let i = 0; i < size; i++) {
        const x = <f64>load<f32>(input + at);
        total = product ? total * x : total + x;
        store<f32>(output + at, <f32>total);
        at += step;
      }
      begin++;
    }
  }
}
