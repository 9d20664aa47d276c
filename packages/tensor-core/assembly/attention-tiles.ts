/**
 * Register-blocked products and layouts for `attention`. Not exported from the module: `index.ts` leaves this file out.
 *
 * A block holds up to BLOCK keys (or queries). Three layouts in scratch memory, with `padded` = headDim rounded up to 8:
 * - rows: [BLOCK][padded], zeros past headDim;
 * - panels: [BLOCK / 8][padded][8], a transposed copy, 8 rows side by side for each feature, zeros past headDim;
 * - quads: [BLOCK / 4][padded][4], the same with 4 rows side by side;
 * - tiles: [rows / 4][padded / 8][4][8], accumulators in the order in which the 4 x 8 products hold them in registers.
 * Scores are [rows][BLOCK]. Every product adds in the order of its inner index, whichever kernel computes it, so results do not depend on
 * how rows are grouped.
 */
import { loadPartial, multiplyAdd, storePartial } from "./math";

/** Keys a block holds, and the row length of score blocks. */
export const BLOCK: i32 = 64;
/** Bytes of a row of scores. */
export const BLOCK_BYTES: usize = 256;

/** headDim rounded up to whole tiles. */
// @ts-ignore: decorator
@inline
export function paddedDim(headDim: i32): i32 {
  return (headDim + 7) & ~7;
}

/** Copies `count` strided rows to the rows layout, multiplied by `scale`. Strides in bytes. */
export function packRows(from: usize, rowStride: usize, count: i32, headDim: i32, padded: i32, scale: f32, to: usize): void {
  for (let row = 0; row < count; row++) {
    packRow(from, headDim, padded, scale, to);
    from += rowStride;
    to += <usize>padded << 2;
  }
}

/** One row of `packRows`. */
export function packRow(from: usize, headDim: i32, padded: i32, scale: f32, to: usize): void {
  const factor = f32x4.splat(scale);
  const last = to + (<usize>padded << 2);
  const whole = to + (<usize>(headDim & ~3) << 2);
  for (; to < whole; to += 16, from += 16) v128.store(to, f32x4.mul(v128.load(from), factor));
  if (headDim & 3) {
    v128.store(to, f32x4.mul(loadPartial(from, headDim & 3), factor));
    to += 16;
  }
  for (; to < last; to += 16) v128.store(to, f32x4.splat(0.0));
}

/** Stores the transpose of four vectors at `to`, `step` (a constant of the call) bytes apart. */
// @ts-ignore: decorator
@inline
function storeTransposed(a: v128, b: v128, c: v128, d: v128, to: usize, step: usize): void {
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(to + step, v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store(to + 2 * step, v128.shuffle<i64>(abHigh, cdHigh, 0, 2));
  v128.store(to + 3 * step, v128.shuffle<i64>(abHigh, cdHigh, 1, 3));
}

/** Copies `count` (a multiple of 4) rows from the rows layout to the quads layout. */
export function packQuads(rows: usize, count: i32, padded: i32, to: usize): void {
  const rowBytes = <usize>padded << 2;
  const end = rows + <usize>count * rowBytes;
  for (; rows < end; rows += 4 * rowBytes) {
    for (let i: usize = 0; i < rowBytes; i += 16, to += 64) {
      const a = rows + i;
      const b = a + rowBytes;
      const c = b + rowBytes;
      storeTransposed(v128.load(a), v128.load(b), v128.load(c), v128.load(c + rowBytes), to, 16);
    }
  }
}

/** Copies `count` strided rows to the panels layout; a last panel that is not full repeats its last row. */
export function packPanels(from: usize, rowStride: usize, count: i32, headDim: i32, padded: i32, to: usize): void {
  const whole = <usize>(headDim >> 2);
  const rest = headDim & 3;
  for (let row = 0; row < count; row += 8) {
    for (let half = 0; half < 8; half += 4) {
      const last = count - 1;
      const a = from + <usize>min(row + half, last) * rowStride;
      const b = from + <usize>min(row + half + 1, last) * rowStride;
      const c = from + <usize>min(row + half + 2, last) * rowStride;
      const d = from + <usize>min(row + half + 3, last) * rowStride;
      let panel = to + (<usize>half << 2);
      let i: usize = 0;
      for (let quad: usize = 0; quad < whole; quad++, i += 16, panel += 128) {
        storeTransposed(v128.load(a + i), v128.load(b + i), v128.load(c + i), v128.load(d + i), panel, 32);
      }
      let feature = headDim & ~3;
      if (rest) {
        storeTransposed(loadPartial(a + i, rest), loadPartial(b + i, rest), loadPartial(c + i, rest), loadPartial(d + i, rest), panel, 32);
        panel += 128;
        feature += 4;
      }
      for (; feature < padded; feature++, panel += 32) v128.store(panel, f32x4.splat(0.0));
    }
    to += <usize>padded << 5;
  }
}

/** scores[i, j] = quad[i] · panels[j] for the four rows of a quad and the first `count` columns of the panels, rounded up to 8. */
export function multiplyPanels(quad: usize, b: usize, scores: usize, count: i32, padded: i32): void {
  const last = quad + (<usize>padded << 4);
  const end = scores + (<usize>count << 2);
  for (; scores < end; scores += 32) {
    let s00 = f32x4.splat(0.0);
    let s01 = s00;
    let s10 = s00;
    let s11 = s00;
    let s20 = s00;
    let s21 = s00;
    let s30 = s00;
    let s31 = s00;
    for (let p = quad; p < last; p += 16, b += 32) {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      let x = v128.load32_splat(p);
      s00 = multiplyAdd(x, b0, s00);
      s01 = multiplyAdd(x, b1, s01);
      x = v128.load32_splat(p, 4);
      s10 = multiplyAdd(x, b0, s10);
      s11 = multiplyAdd(x, b1, s11);
      x = v128.load32_splat(p, 8);
      s20 = multiplyAdd(x, b0, s20);
      s21 = multiplyAdd(x, b1, s21);
      x = v128.load32_splat(p, 12);
      s30 = multiplyAdd(x, b0, s30);
      s31 = multiplyAdd(x, b1, s31);
    }
    v128.store(scores, s00);
    v128.store(scores, s01, 16);
    v128.store(scores, s10, 256);
    v128.store(scores, s11, 272);
    v128.store(scores, s20, 512);
    v128.store(scores, s21, 528);
    v128.store(scores, s30, 768);
    v128.store(scores, s31, 784);
  }
}

/** tiles[i, d] += Σ_j scores[i, j] rows[j, d] for four rows of scores and `count` rows `rowStride` bytes apart. */
export function accumulateRows(scores: usize, rows: usize, rowStride: usize, count: i32, padded: i32, tiles: usize): void {
  const end = scores + (<usize>count << 2);
  for (let feature = 0; feature < padded; feature += 8, rows += 32, tiles += 128) {
    let t00 = v128.load(tiles);
    let t01 = v128.load(tiles, 16);
    let t10 = v128.load(tiles, 32);
    let t11 = v128.load(tiles, 48);
    let t20 = v128.load(tiles, 64);
    let t21 = v128.load(tiles, 80);
    let t30 = v128.load(tiles, 96);
    let t31 = v128.load(tiles, 112);
    let b = rows;
    for (let p = scores; p < end; p += 4, b += rowStride) {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      let x = v128.load32_splat(p);
      t00 = multiplyAdd(x, b0, t00);
      t01 = multiplyAdd(x, b1, t01);
      x = v128.load32_splat(p, 256);
      t10 = multiplyAdd(x, b0, t10);
      t11 = multiplyAdd(x, b1, t11);
      x = v128.load32_splat(p, 512);
      t20 = multiplyAdd(x, b0, t20);
      t21 = multiplyAdd(x, b1, t21);
      x = v128.load32_splat(p, 768);
      t30 = multiplyAdd(x, b0, t30);
      t31 = multiplyAdd(x, b1, t31);
    }
    v128.store(tiles, t00);
    v128.store(tiles, t01, 16);
    v128.store(tiles, t10, 32);
    v128.store(tiles, t11, 48);
    v128.store(tiles, t20, 64);
    v128.store(tiles, t21, 80);
    v128.store(tiles, t30, 96);
    v128.store(tiles, t31, 112);
  }
}

/** The same for one row of scores: `tile` is where its 8 features of the first tile lie. */
export function accumulateRow(scores: usize, rows: usize, rowStride: usize, count: i32, padded: i32, tile: usize): void {
  const end = scores + (<usize>count << 2);
  for (let feature = 0; feature < padded; feature += 8, rows += 32, tile += 128) {
    let t0 = v128.load(tile);
    let t1 = v128.load(tile, 16);
    let b = rows;
    for (let p = scores; p < end; p += 4, b += rowStride) {
      const x = v128.load32_splat(p);
      t0 = multiplyAdd(x, v128.load(b), t0);
      t1 = multiplyAdd(x, v128.load(b, 16), t1);
    }
    v128.store(tile, t0);
    v128.store(tile, t1, 16);
  }
}

/** tiles[j, d] += Σ_i scores[i, j] rows[i, d] for four columns j of the scores and `count` rows in the rows layout. */
export function accumulateColumns(scores: usize, rows: usize, count: i32, padded: i32, tiles: usize): void {
  const rowBytes = <usize>padded << 2;
  const end = scores + <usize>count * BLOCK_BYTES;
  for (let feature = 0; feature < padded; feature += 8, rows += 32, tiles += 128) {
    let t00 = v128.load(tiles);
    let t01 = v128.load(tiles, 16);
    let t10 = v128.load(tiles, 32);
    let t11 = v128.load(tiles, 48);
    let t20 = v128.load(tiles, 64);
    let t21 = v128.load(tiles, 80);
    let t30 = v128.load(tiles, 96);
    let t31 = v128.load(tiles, 112);
    let b = rows;
    for (let p = scores; p < end; p += BLOCK_BYTES, b += rowBytes) {
      const b0 = v128.load(b);
      const b1 = v128.load(b, 16);
      let x = v128.load32_splat(p);
      t00 = multiplyAdd(x, b0, t00);
      t01 = multiplyAdd(x, b1, t01);
      x = v128.load32_splat(p, 4);
      t10 = multiplyAdd(x, b0, t10);
      t11 = multiplyAdd(x, b1, t11);
      x = v128.load32_splat(p, 8);
      t20 = multiplyAdd(x, b0, t20);
      t21 = multiplyAdd(x, b1, t21);
      x = v128.load32_splat(p, 12);
      t30 = multiplyAdd(x, b0, t30);
      t31 = multiplyAdd(x, b1, t31);
    }
    v128.store(tiles, t00);
    v128.store(tiles, t01, 16);
    v128.store(tiles, t10, 32);
    v128.store(tiles, t11, 48);
    v128.store(tiles, t20, 64);
    v128.store(tiles, t21, 80);
    v128.store(tiles, t30, 96);
    v128.store(tiles, t31, 112);
  }
}

/** Multiplies each row of a panel of tiles by its lane of `factors`. */
export function scaleTiles(tiles: usize, padded: i32, factors: v128): void {
  const f0 = v128.shuffle<i32>(factors, factors, 0, 0, 0, 0);
  const f1 = v128.shuffle<i32>(factors, factors, 1, 1, 1, 1);
  const f2 = v128.shuffle<i32>(factors, factors, 2, 2, 2, 2);
  const f3 = v128.shuffle<i32>(factors, factors, 3, 3, 3, 3);
  const end = tiles + (<usize>padded << 4);
  for (; tiles < end; tiles += 128) {
    v128.store(tiles, f32x4.mul(v128.load(tiles), f0));
    v128.store(tiles, f32x4.mul(v128.load(tiles, 16), f0), 16);
    v128.store(tiles, f32x4.mul(v128.load(tiles, 32), f1), 32);
    v128.store(tiles, f32x4.mul(v128.load(tiles, 48), f1), 48);
    v128.store(tiles, f32x4.mul(v128.load(tiles, 64), f2), 64);
    v128.store(tiles, f32x4.mul(v128.load(tiles, 80), f2), 80);
    v128.store(tiles, f32x4.mul(v128.load(tiles, 96), f3), 96);
    v128.store(tiles, f32x4.mul(v128.load(tiles, 112), f3), 112);
  }
}

/** Overwrites scores [from, to) of a row with `value`. */
export function fillScores(scores: usize, from: i32, to: i32, value: f32): void {
  const end = scores + (<usize>to << 2);
  for (let p = scores + (<usize>from << 2); p < end; p += 4) store<f32>(p, value);
}

/** output = factor * one row of a panel of tiles; `tile` as for `accumulateRow`. */
export function unpackTileRow(tile: usize, headDim: i32, factor: f32, output: usize): void {
  const f = f32x4.splat(factor);
  const end = output + (<usize>headDim << 2);
  for (; output + 32 <= end; output += 32, tile += 128) {
    v128.store(output, f32x4.mul(v128.load(tile), f));
    v128.store(output, f32x4.mul(v128.load(tile, 16), f), 16);
  }
  if (output + 16 <= end) {
    v128.store(output, f32x4.mul(v128.load(tile), f));
    output += 16;
    tile += 16;
  }
  if (output < end) storePartial(output, f32x4.mul(v128.load(tile), f), <i32>(end - output) >> 2);
}
