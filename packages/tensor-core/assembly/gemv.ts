/**
 * Products with few rows, as in decoding: bound by the bandwidth of the weights, which are therefore read in place, once. `bias` 0 and
 * `activation` 0 mean none; c is contiguous [m, n]. Ranges count columns of c (rows of the weights).
 */
import { dotFour, dotFourByTwo, gatherFloats, storeResults } from "./dot";
import { epilogue } from "./epilogue";
import { multiplyAdd } from "./math";
import { dequantizeRow, FLOAT32 } from "./weights";

/** Inputs taken at a time by `gemvDot`: two rows of dequantised weights and four of x stay in the first-level cache. */
const DOT_DEPTH: i32 = 512;

/**
 * c[m, n] = a · weights^T for float32 weights [n, k], rows `bColumn` elements apart; for one to three rows of a. Scratch: m * k floats.
 * Any split.
 */
export function gemvFloat(
  m: i32, n: i32, k: i32, a: usize, aRow: i32, aColumn: i32, b: usize, bColumn: i32,
  c: usize, bias: usize, activation: i32, accumulate: i32, scratch: usize, begin: i32, end: i32,
): void {
  let x = a;
  let xRow = <usize>aRow << 2;
  if (aColumn != 1) {
    x = scratch;
    xRow = <usize>k << 2;
    for (let row = 0; row < m; row++) gatherFloats(a + <usize>row * (<usize>aRow << 2), <usize>aColumn << 2, x + <usize>row * xRow, k);
  }
  const step = <usize>bColumn << 2;
  const cRow = <usize>n << 2;
  for (let column = begin; column < end; column += 4) {
    const count = min(end - column, 4);
    const w0 = b + <usize>column * step;
    const w1 = count > 1 ? w0 + step : w0;
    const w2 = count > 2 ? w1 + step : w1;
    const w3 = count > 3 ? w2 + step : w2;
    const at = c + (<usize>column << 2);
    for (let row = 0; row < m; row++) {
      storeResults(at + <usize>row * cRow, dotFour(k, x + <usize>row * xRow, w0, w1, w2, w3), count, accumulate != 0);
    }
  }
  if (bias != 0 || activation != 0) {
    const at = <usize>begin << 2;
    epilogue(c + at, cRow, m, end - begin, bias ? bias + at : 0, activation);
  }
}

/**
 * c[m, n] = a · weights^T for up to 16 rows of a and weights [n, k] of any format (`gemm` lists them) whose rows are contiguous.
 * Scratch bytes: 256 + 4 * (2 * 512 + m * k). Any split.
 */
export function gemvDot(
  m: i32, n: i32, k: i32, a: usize, aRow: i32, aColumn: i32, b: usize, bColumn: i32,
  format: i32, scales: usize, minimums: usize, groupSize: i32,
  c: usize, bias: usize, activation: i32, accumulate: i32, scratch: usize, begin: i32, end: i32,
): void {
  const sums = scratch;
  const temporary = scratch + 256;
  let x = a;
  let xRow = <usize>aRow << 2;
  if (aColumn != 1) {
    x = temporary + 2 * DOT_DEPTH * 4;
    xRow = <usize>k << 2;
    for (let row = 0; row < m; row++) gatherFloats(a + <usize>row * (<usize>aRow << 2), <usize>aColumn << 2, x + <usize>row * xRow, k);
  }
  const cRow = <usize>n << 2;
  for (let column = begin; column < end; column += 2) {
    const both = column + 1 < end;
    memory.fill(sums, 0, 128);
    for (let start = 0; start < k; start += DOT_DEPTH) {
      const depth = min(DOT_DEPTH, k - start);
      let w0 = temporary;
      let w1 = temporary;
      if (format == FLOAT32) {
        w0 = b + ((<usize>column * <usize>bColumn + <usize>start) << 2);
        w1 = both ? w0 + (<usize>bColumn << 2) : w0;
      } else {
        dequantizeRow(format, b, bColumn, scales, minimums, groupSize, k, column, start, depth, w0);
        if (both) {
          w1 += DOT_DEPTH * 4;
          dequantizeRow(format, b, bColumn, scales, minimums, groupSize, k, column + 1, start, depth, w1);
        }
      }
      for (let row = 0; row < m; row += 4) {
        const rows = m - row;
        const x0 = x + <usize>row * xRow + (<usize>start << 2);
        const x1 = rows > 1 ? x0 + xRow : x0;
        const x2 = rows > 2 ? x1 + xRow : x1;
        const x3 = rows > 3 ? x2 + xRow : x2;
        dotFourByTwo(depth, x0, x1, x2, x3, w0, w1, sums + (<usize>row << 3));
      }
    }
    for (let row = 0; row < m; row++) {
      const at = c + <usize>row * cRow + (<usize>column << 2);
      const from = sums + (<usize>(row & ~3) << 3) + (<usize>(row & 3) << 2);
      store<f32>(at, accumulate ? load<f32>(at) + load<f32>(from) : load<f32>(from));
      if (both) store<f32>(at, accumulate ? load<f32>(at, 4) + load<f32>(from, 16) : load<f32>(from, 16), 4);
    }
  }
  if (bias != 0 || activation != 0) {
    const at = <usize>begin << 2;
    epilogue(c + at, cRow, m, end - begin, bias ? bias + at : 0, activation);
  }
}

/** c[count] += Σ x[i] * (row i of b), i from 0 to 7 in order; x is `xStep` bytes apart, b's rows `bStep`. */
function addEightRows(count: i32, x: usize, xStep: usize, b: usize, bStep: usize, c: usize): void {
  const x0 = v128.load_splat<f32>(x);
  const x1 = v128.load_splat<f32>(x + xStep);
  const x2 = v128.load_splat<f32>(x + 2 * xStep);
  const x3 = v128.load_splat<f32>(x + 3 * xStep);
  const x4 = v128.load_splat<f32>(x + 4 * xStep);
  const x5 = v128.load_splat<f32>(x + 5 * xStep);
  const x6 = v128.load_splat<f32>(x + 6 * xStep);
  const x7 = v128.load_splat<f32>(x + 7 * xStep);
  let b0 = b;
  let b1 = b0 + bStep;
  let b2 = b1 + bStep;
  let b3 = b2 + bStep;
  let b4 = b3 + bStep;
  let b5 = b4 + bStep;
  let b6 = b5 + bStep;
  let b7 = b6 + bStep;
  for (; count >= 8; count -= 8) {
    let left = multiplyAdd(x0, v128.load(b0), v128.load(c));
    let right = multiplyAdd(x0, v128.load(b0, 16), v128.load(c, 16));
    left = multiplyAdd(x1, v128.load(b1), left);
    right = multiplyAdd(x1, v128.load(b1, 16), right);
    left = multiplyAdd(x2, v128.load(b2), left);
    right = multiplyAdd(x2, v128.load(b2, 16), right);
    left = multiplyAdd(x3, v128.load(b3), left);
    right = multiplyAdd(x3, v128.load(b3, 16), right);
    left = multiplyAdd(x4, v128.load(b4), left);
    right = multiplyAdd(x4, v128.load(b4, 16), right);
    left = multiplyAdd(x5, v128.load(b5), left);
    right = multiplyAdd(x5, v128.load(b5, 16), right);
    left = multiplyAdd(x6, v128.load(b6), left);
    right = multiplyAdd(x6, v128.load(b6, 16), right);
    left = multiplyAdd(x7, v128.load(b7), left);
    right = multiplyAdd(x7, v128.load(b7, 16), right);
    v128.store(c, left);
    v128.store(c, right, 16);
    c += 32;
    b0 += 32;
    b1 += 32;
    b2 += 32;
    b3 += 32;
    b4 += 32;
    b5 += 32;
    b6 += 32;
    b7 += 32;
  }
  for (; count > 0; count--) {
    let sum = v128.load32_zero(c);
    sum = multiplyAdd(x0, v128.load32_zero(b0), sum);
    sum = multiplyAdd(x1, v128.load32_zero(b1), sum);
    sum = multiplyAdd(x2, v128.load32_zero(b2), sum);
    sum = multiplyAdd(x3, v128.load32_zero(b3), sum);
    sum = multiplyAdd(x4, v128.load32_zero(b4), sum);
    sum = multiplyAdd(x5, v128.load32_zero(b5), sum);
    sum = multiplyAdd(x6, v128.load32_zero(b6), sum);
    sum = multiplyAdd(x7, v128.load32_zero(b7), sum);
    v128.store_lane<f32>(c, sum, 0);
    c += 4;
    b0 += 4;
    b1 += 4;
    b2 += 4;
    b3 += 4;
    b4 += 4;
    b5 += 4;
    b6 += 4;
    b7 += 4;
  }
}

function addOneRow(count: i32, x: usize, b: usize, c: usize): void {
  const factor = v128.load_splat<f32>(x);
  for (; count >= 4; count -= 4) {
    v128.store(c, multiplyAdd(factor, v128.load(b), v128.load(c)));
    b += 16;
    c += 16;
  }
  for (; count > 0; count--) {
    v128.store_lane<f32>(c, multiplyAdd(factor, v128.load32_zero(b), v128.load32_zero(c)), 0);
    b += 4;
    c += 4;
  }
}

/**
 * c[m, n] = a · b for few rows of a and float32 b [k, n] whose rows are contiguous, `bRow` elements apart: eight rows of b stream past c
 * at a time. Any split.
 */
export function gemvColumns(
  m: i32, n: i32, k: i32, a: usize, aRow: i32, aColumn: i32, b: usize, bRow: i32, c: usize, bias: usize, activation: i32, accumulate: i32,
  begin: i32, end: i32,
): void {
  const aRowBytes = <usize>aRow << 2;
  const aStep = <usize>aColumn << 2;
  const bStep = <usize>bRow << 2;
  const cRow = <usize>n << 2;
  // One row streams; with more of them, what one row has read must still be in the first-level cache for the next.
  const block = m == 1 ? 4096 : 512;
  for (let column = begin; column < end; column += block) {
    const columns = min(block, end - column);
    const target = c + (<usize>column << 2);
    if (!accumulate) for (let row = 0; row < m; row++) memory.fill(target + <usize>row * cRow, 0, <usize>columns << 2);
    let from = b + (<usize>column << 2);
    let x = a;
    let left = k;
    for (; left >= 8; left -= 8) {
      for (let row = 0; row < m; row++) {
        addEightRows(columns, x + <usize>row * aRowBytes, aStep, from, bStep, target + <usize>row * cRow);
      }
      from += bStep << 3;
      x += aStep << 3;
    }
    for (; left > 0; left--) {
      for (let row = 0; row < m; row++) addOneRow(columns, x + <usize>row * aRowBytes, from, target + <usize>row * cRow);
      from += bStep;
      x += aStep;
    }
    if (bias != 0 || activation != 0) epilogue(target, cRow, m, columns, bias ? bias + (<usize>column << 2) : 0, activation);
  }
}
