/** A tile for matrices too small to be worth packing. Left out of `index.ts`. */
import { storeRow } from "./epilogue";
import { multiplyAdd } from "./math";

/**
 * c[4, 8] = or += four rows of a (at `a0` to `a3`, elements `aStep` bytes apart) times eight columns of b (rows `bStep` bytes apart).
 */
export function directTile(
  k: i32, a0: usize, a1: usize, a2: usize, a3: usize, aStep: usize, b: usize, bStep: usize, c: usize, cRow: usize, add: bool,
): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  for (; k > 0; k--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a0);
    c00 = multiplyAdd(value, b0, c00);
    c01 = multiplyAdd(value, b1, c01);
    value = v128.load_splat<f32>(a1);
    c10 = multiplyAdd(value, b0, c10);
    c11 = multiplyAdd(value, b1, c11);
    value = v128.load_splat<f32>(a2);
    c20 = multiplyAdd(value, b0, c20);
    c21 = multiplyAdd(value, b1, c21);
    value = v128.load_splat<f32>(a3);
    c30 = multiplyAdd(value, b0, c30);
    c31 = multiplyAdd(value, b1, c31);
    a0 += aStep;
    a1 += aStep;
    a2 += aStep;
    a3 += aStep;
    b += bStep;
  }
  storeRow(c, add, c00, c01);
  storeRow(c + cRow, add, c10, c11);
  storeRow(c + 2 * cRow, add, c20, c21);
  storeRow(c + 3 * cRow, add, c30, c31);
}
