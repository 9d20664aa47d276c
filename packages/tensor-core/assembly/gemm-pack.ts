/** Packing for the matrix product: strips of a and b in the order in which the tiles read them. Left out of `index.ts`. */
import { HALF_MASK, HALF_SCALE, HALF_SPECIAL, halfToFloat, halvesToFloats, opaqueConstant } from "./half";
import { loadPartial } from "./math";
import { dequantizeRow, FLOAT16, FLOAT32 } from "./weights";

/** Columns of a tile. */
// @ts-ignore: decorator
@inline
export const TILE_COLUMNS: i32 = 8;

/** Rows of the panel that starts with `left` rows to go: the last four are one of the narrow tile. */
// @ts-ignore: decorator
@inline
export function panelRows(left: i32, tileRows: i32): i32 {
  return left > 4 ? tileRows : 4;
}

/** Interleaves four contiguous rows: to[k] = (row0[k], row1[k], row2[k], row3[k]), `step` bytes apart. */
function interleaveFour(to: usize, step: usize, row0: usize, row1: usize, row2: usize, row3: usize, count: i32): void {
  for (; count >= 4; count -= 4) {
    const r0 = v128.load(row0);
    const r1 = v128.load(row1);
    const r2 = v128.load(row2);
    const r3 = v128.load(row3);
    const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<f64>(low01, low23, 0, 2));
    v128.store(to + step, v128.shuffle<f64>(low01, low23, 1, 3));
    v128.store(to + 2 * step, v128.shuffle<f64>(high01, high23, 0, 2));
    v128.store(to + 3 * step, v128.shuffle<f64>(high01, high23, 1, 3));
    to += 4 * step;
    row0 += 16;
    row1 += 16;
    row2 += 16;
    row3 += 16;
  }
  for (; count > 0; count--) {
    store<f32>(to, load<f32>(row0));
    store<f32>(to, load<f32>(row1), 4);
    store<f32>(to, load<f32>(row2), 8);
    store<f32>(to, load<f32>(row3), 12);
    to += step;
    row0 += 4;
    row1 += 4;
    row2 += 4;
    row3 += 4;
  }
}

function interleaveTwo(to: usize, step: usize, row0: usize, row1: usize, count: i32): void {
  for (; count >= 2; count -= 2) {
    const r0 = v128.load64_zero(row0);
    const r1 = v128.load64_zero(row1);
    const both = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    v128.store_lane<u64>(to, both, 0);
    v128.store_lane<u64>(to + step, both, 1);
    to += 2 * step;
    row0 += 8;
    row1 += 8;
  }
  if (count > 0) {
    store<f32>(to, load<f32>(row0));
    store<f32>(to, load<f32>(row1), 4);
  }
}

/** The rows of a wide tile past the fourth, to the places after them. */
function appendRows(to: usize, step: usize, r4: usize, r5: usize, aColumn: usize, k: i32): void {
  if (RELAXED && aColumn == 4) {
    interleaveTwo(to, step, r4, r5, k);
    return;
  }
  for (; k > 0; k--) {
    store<f32>(to, load<f32>(r4));
    if (RELAXED) store<f32>(to, load<f32>(r5), 4);
    to += step;
    r4 += aColumn;
    r5 += aColumn;
  }
}

/**
 * Rows [0, rows) of a [rows, k] block into panels [k, panelRows]. Rows past the end repeat the last one: their products go to a scratch
 * tile and are dropped. Strides in bytes.
 */
export function packRows(to: usize, a: usize, aRow: usize, aColumn: usize, rows: i32, k: i32, tileRows: i32): void {
  for (let row = 0; row < rows; ) {
    const left = rows - row;
    const height = panelRows(left, tileRows);
    const step = <usize>height << 2;
    const r0 = a + <usize>row * aRow;
    const r1 = left > 1 ? r0 + aRow : r0;
    const r2 = left > 2 ? r1 + aRow : r1;
    const r3 = left > 3 ? r2 + aRow : r2;
    if (aColumn == 4) {
      interleaveFour(to, step, r0, r1, r2, r3, k);
    } else if (aRow == 4 && left >= 4) {
      let from = r0;
      let target = to;
      for (let i = 0; i < k; i++) {
        v128.store(target, v128.load(from));
        from += aColumn;
        target += step;
      }
    } else {
      let from: usize = 0;
      let target = to;
      for (let i = 0; i < k; i++) {
        store<f32>(target, load<f32>(r0 + from));
        store<f32>(target, load<f32>(r1 + from), 4);
        store<f32>(target, load<f32>(r2 + from), 8);
        store<f32>(target, load<f32>(r3 + from), 12);
        from += aColumn;
        target += step;
      }
    }
    if (height > 4) appendRows(to + 16, step, r3 + aRow, left > 5 ? r3 + 2 * aRow : r3 + aRow, aColumn, k);
    to += <usize>k * step;
    row += height;
  }
}

/** Eight contiguous rows of k floats, `step` bytes apart from `first`, into one panel [k, 8]; rows past `count` repeat the last one. */
function interleaveEight(to: usize, first: usize, step: usize, count: i32, k: i32): void {
  const r1 = count > 1 ? first + step : first;
  const r2 = count > 2 ? r1 + step : r1;
  const r3 = count > 3 ? r2 + step : r2;
  const r4 = count > 4 ? r3 + step : r3;
  const r5 = count > 5 ? r4 + step : r4;
  const r6 = count > 6 ? r5 + step : r5;
  const r7 = count > 7 ? r6 + step : r6;
  interleaveFour(to, 32, first, r1, r2, r3, k);
  interleaveFour(to + 16, 32, r4, r5, r6, r7, k);
}

function copyPanel(to: usize, from: usize, bRow: usize, k: i32): void {
  for (let i = 0; i < k; i++) {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    from += bRow;
    to += 32;
  }
}

/** Four neighbouring panels at once read two whole cache lines of every row of b. */
function copyFourPanels(to: usize, panel: usize, from: usize, bRow: usize, k: i32): void {
  const to1 = to + panel;
  const to2 = to1 + panel;
  const to3 = to2 + panel;
  const end = <usize>k << 5;
  for (let at: usize = 0; at < end; at += 32) {
    v128.store(to + at, v128.load(from));
    v128.store(to + at, v128.load(from, 16), 16);
    v128.store(to1 + at, v128.load(from, 32));
    v128.store(to1 + at, v128.load(from, 48), 16);
    v128.store(to2 + at, v128.load(from, 64));
    v128.store(to2 + at, v128.load(from, 80), 16);
    v128.store(to3 + at, v128.load(from, 96));
    v128.store(to3 + at, v128.load(from, 112), 16);
    from += bRow;
  }
}

function copyHalfPanel(to: usize, from: usize, bRow: usize, k: i32): void {
  const mask = opaqueConstant(HALF_MASK, k);
  const scale = opaqueConstant(HALF_SCALE, k);
  const special = opaqueConstant(HALF_SPECIAL, k);
  for (let i = 0; i < k; i++) {
    const halves = v128.load(from);
    v128.store(to, halvesToFloats(i32x4.extend_low_i16x8_s(halves), mask, scale, special));
    v128.store(to, halvesToFloats(i32x4.extend_high_i16x8_s(halves), mask, scale, special), 16);
    from += bRow;
    to += 32;
  }
}

/** One panel of `count` columns, fewer than 8, that are next to each other; the others become 0. */
function copyEdgePanel(to: usize, from: usize, bRow: usize, count: i32, k: i32): void {
  const zero = f32x4.splat(0);
  for (let i = 0; i < k; i++) {
    if (count >= 4) {
      v128.store(to, v128.load(from));
      v128.store(to, count > 4 ? loadPartial(from + 16, count - 4) : zero, 16);
    } else {
      v128.store(to, loadPartial(from, count));
      v128.store(to, zero, 16);
    }
    from += bRow;
    to += 32;
  }
}

function gatherPanel(to: usize, from: usize, bRow: usize, bColumn: usize, count: i32, k: i32, half: bool): void {
  for (let i = 0; i < k; i++) {
    let at = from;
    for (let column = 0; column < TILE_COLUMNS; column++) {
      let value: f32 = 0;
      if (column < count) value = half ? halfToFloat(at) : load<f32>(at);
      store<f32>(to + (<usize>column << 2), value);
      at += bColumn;
    }
    from += bRow;
    to += 32;
  }
}

/**
 * Columns [column, column + columns) and rows [start, start + k) of b (element strides; a quantised b is its transpose's rows) into panels
 * [k, 8]. `inputs` is b's whole row count. Scratch: 8 * k floats, used by the formats that are not float32.
 */
export function packColumns(
  to: usize, format: i32, b: usize, bRow: i32, bColumn: i32, scales: usize, minimums: usize, groupSize: i32, inputs: i32,
  column: i32, columns: i32, start: i32, k: i32, scratch: usize,
): void {
  const panel = <usize>k << 5;
  if (format == FLOAT32) {
    const row = <usize>bRow << 2;
    const step = <usize>bColumn << 2;
    let from = b + ((<usize>start * <usize>bRow + <usize>column * <usize>bColumn) << 2);
    let left = columns;
    if (step == 4) {
      for (; left >= 4 * TILE_COLUMNS; left -= 4 * TILE_COLUMNS) {
        copyFourPanels(to, panel, from, row, k);
        to += 4 * panel;
        from += 16 * TILE_COLUMNS;
      }
    }
    for (; left > 0; left -= TILE_COLUMNS) {
      if (row == 4) interleaveEight(to, from, step, left, k);
      else if (step == 4) {
        if (left >= TILE_COLUMNS) copyPanel(to, from, row, k);
        else copyEdgePanel(to, from, row, left, k);
      } else gatherPanel(to, from, row, step, left, k, false);
      to += panel;
      from += step * TILE_COLUMNS;
    }
    return;
  }
  for (let done = 0; done < columns; done += TILE_COLUMNS) {
    const left = columns - done;
    if (format == FLOAT16 && bRow != 1) {
      const from = b + ((<usize>start * <usize>bRow + <usize>(column + done) * <usize>bColumn) << 1);
      if (bColumn == 1 && left >= TILE_COLUMNS) copyHalfPanel(to, from, <usize>bRow << 1, k);
      else gatherPanel(to, from, <usize>bRow << 1, <usize>bColumn << 1, left, k, true);
    } else {
      const count = min(left, TILE_COLUMNS);
      for (let i = 0; i < count; i++) {
        dequantizeRow(format, b, bColumn, scales, minimums, groupSize, inputs, column + done + i, start, k, scratch + <usize>(i * k) * 4);
      }
      interleaveEight(to, scratch, <usize>k << 2, count, k);
    }
    to += panel;
  }
}
