/**
 * Blocks of 16 channels (one cache line) in scratch, the common ground of the sequence kernels: rows of 64 bytes, lanes past the last
 * channel zero, so that the loops have no tails.
 */
import { loadPartial, storePartial } from "./math";

/** Channels in a block. */
export const LANES: i32 = 16;
/** Bytes of a block's row. */
export const ROW: usize = 64;

/** Copies `rows` rows of `lanes` floats, `stride` bytes apart, to block rows. */
export function stageRows(source: usize, stride: usize, target: usize, rows: i32, lanes: i32): void {
  if (lanes == LANES) {
    for (let r = 0; r < rows; r++) {
      v128.store(target, v128.load(source));
      v128.store(target, v128.load(source, 16), 16);
      v128.store(target, v128.load(source, 32), 32);
      v128.store(target, v128.load(source, 48), 48);
      source += stride;
      target += ROW;
    }
    return;
  }
  const whole = <usize>(lanes >> 2) << 4, rest = lanes & 3;
  for (let r = 0; r < rows; r++) {
    let q: usize = 0;
    for (; q < whole; q += 16) v128.store(target + q, v128.load(source + q));
    if (rest) {
      v128.store(target + q, loadPartial(source + q, rest));
      q += 16;
    }
    for (; q < ROW; q += 16) v128.store(target + q, f32x4.splat(0));
    source += stride;
    target += ROW;
  }
}

/** The way back. */
export function unstageRows(source: usize, target: usize, stride: usize, rows: i32, lanes: i32): void {
  const whole = <usize>(lanes >> 2) << 4, rest = lanes & 3;
  for (let r = 0; r < rows; r++) {
    for (let q: usize = 0; q < whole; q += 16) v128.store(target + q, v128.load(source + q));
    if (rest) storePartial(target + whole, v128.load(source + whole), rest);
    source += ROW;
    target += stride;
  }
}

/** Rows of a [channels, columns] matrix as columns of a block: block row n, lane c = source[c, n]. */
export function stageTransposed(source: usize, columns: i32, target: usize, lanes: i32): void {
  if (lanes < LANES) memory.fill(target, 0, <usize>columns * ROW);
  for (let c = 0; c < lanes; c++) {
    let to = target + (<usize>c << 2);
    for (let n = 0; n < columns; n++) {
      store<f32>(to, load<f32>(source));
      source += 4;
      to += ROW;
    }
  }
}

/** The way back. */
export function unstageTransposed(source: usize, target: usize, columns: i32, lanes: i32): void {
  for (let c = 0; c < lanes; c++) {
    let from = source + (<usize>c << 2);
    for (let n = 0; n < columns; n++) {
      store<f32>(target, load<f32>(from));
      target += 4;
      from += ROW;
    }
  }
}
