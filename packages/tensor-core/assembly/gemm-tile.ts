/**
 * The inner loop of the matrix product, in two sizes. It decides the speed of everything, so the order of its instructions matters: both
 * products of a row before both sums is 5 % faster than product, sum, product, sum on Zen 4. Binaryen would undo that (it moves a product
 * to its only use), so `scripts/build-kernels.ts` takes the bodies of this file's functions from an unoptimised build; V8's own optimizer
 * keeps the order.
 *
 * One output is always Σ over k in order, so the sizes give the same bits, and a runtime uses the one that its compiler has registers for:
 * eight accumulators suit every engine, ten (or twelve with fused multiply-add) are faster where V8 does not spill them, since version 13.
 */
import { storeRow } from "./epilogue";

/** c[4, 8] (row stride `cRow` bytes) = or += the product of a packed row panel [k, 4] and a packed column panel [k, 8]. */
export function gemmTileNarrow(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  if (RELAXED) fused4(k, a, b, c, cRow, add);
  else separate4(k, a, b, c, cRow, add);
}

// @ts-ignore: decorator
@inline
function separate4(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  const end = a + <usize>k * 16;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a);
    let left = f32x4.mul(value, b0);
    let right = f32x4.mul(value, b1);
    c00 = f32x4.add(left, c00);
    c01 = f32x4.add(right, c01);
    value = v128.load_splat<f32>(a, 4);
    left = f32x4.mul(value, b0);
    right = f32x4.mul(value, b1);
    c10 = f32x4.add(left, c10);
    c11 = f32x4.add(right, c11);
    value = v128.load_splat<f32>(a, 8);
    left = f32x4.mul(value, b0);
    right = f32x4.mul(value, b1);
    c20 = f32x4.add(left, c20);
    c21 = f32x4.add(right, c21);
    value = v128.load_splat<f32>(a, 12);
    left = f32x4.mul(value, b0);
    right = f32x4.mul(value, b1);
    c30 = f32x4.add(left, c30);
    c31 = f32x4.add(right, c31);
    a += 16;
    b += 32;
  }
  storeRow(c, add, c00, c01);
  storeRow(c + cRow, add, c10, c11);
  storeRow(c + 2 * cRow, add, c20, c21);
  storeRow(c + 3 * cRow, add, c30, c31);
}

// @ts-ignore: decorator
@inline
function fused4(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  const end = a + <usize>k * 16;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a);
    c00 = f32x4.relaxed_madd(value, b0, c00);
    c01 = f32x4.relaxed_madd(value, b1, c01);
    value = v128.load_splat<f32>(a, 4);
    c10 = f32x4.relaxed_madd(value, b0, c10);
    c11 = f32x4.relaxed_madd(value, b1, c11);
    value = v128.load_splat<f32>(a, 8);
    c20 = f32x4.relaxed_madd(value, b0, c20);
    c21 = f32x4.relaxed_madd(value, b1, c21);
    value = v128.load_splat<f32>(a, 12);
    c30 = f32x4.relaxed_madd(value, b0, c30);
    c31 = f32x4.relaxed_madd(value, b1, c31);
    a += 16;
    b += 32;
  }
  storeRow(c, add, c00, c01);
  storeRow(c + cRow, add, c10, c11);
  storeRow(c + 2 * cRow, add, c20, c21);
  storeRow(c + 3 * cRow, add, c30, c31);
}

/** As `gemmTileNarrow` with five rows, or six in the relaxed build. */
export function gemmTileWide(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  if (RELAXED) fused6(k, a, b, c, cRow, add);
  else separate5(k, a, b, c, cRow, add);
}

// @ts-ignore: decorator
@inline
function separate5(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0);
  const end = a + <usize>k * 20;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a);
    let left = f32x4.mul(value, b0);
    let right = f32x4.mul(value, b1);
    c00 = f32x4.add(left, c00);
    c01 = f32x4.add(right, c01);
    value = v128.load_splat<f32>(a, 4);
    left = f32x4.mul(value, b0);
    right = f32x4.mul(value, b1);
    c10 = f32x4.add(left, c10);
    c11 = f32x4.add(right, c11);
    value = v128.load_splat<f32>(a, 8);
    left = f32x4.mul(value, b0);
    right = f32x4.mul(value, b1);
    c20 = f32x4.add(left, c20);
    c21 = f32x4.add(right, c21);
    value = v128.load_splat<f32>(a, 12);
    left = f32x4.mul(value, b0);
    right = f32x4.mul(value, b1);
    c30 = f32x4.add(left, c30);
    c31 = f32x4.add(right, c31);
    value = v128.load_splat<f32>(a, 16);
    left = f32x4.mul(value, b0);
    right = f32x4.mul(value, b1);
    c40 = f32x4.add(left, c40);
    c41 = f32x4.add(right, c41);
    a += 20;
    b += 32;
  }
  storeRow(c, add, c00, c01);
  storeRow(c + cRow, add, c10, c11);
  storeRow(c + 2 * cRow, add, c20, c21);
  storeRow(c + 3 * cRow, add, c30, c31);
  storeRow(c + 4 * cRow, add, c40, c41);
}

// @ts-ignore: decorator
@inline
function fused6(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0), c50 = f32x4.splat(0), c51 = f32x4.splat(0);
  const end = a + <usize>k * 24;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a);
    c00 = f32x4.relaxed_madd(value, b0, c00);
    c01 = f32x4.relaxed_madd(value, b1, c01);
    value = v128.load_splat<f32>(a, 4);
    c10 = f32x4.relaxed_madd(value, b0, c10);
    c11 = f32x4.relaxed_madd(value, b1, c11);
    value = v128.load_splat<f32>(a, 8);
    c20 = f32x4.relaxed_madd(value, b0, c20);
    c21 = f32x4.relaxed_madd(value, b1, c21);
    value = v128.load_splat<f32>(a, 12);
    c30 = f32x4.relaxed_madd(value, b0, c30);
    c31 = f32x4.relaxed_madd(value, b1, c31);
    value = v128.load_splat<f32>(a, 16);
    c40 = f32x4.relaxed_madd(value, b0, c40);
    c41 = f32x4.relaxed_madd(value, b1, c41);
    value = v128.load_splat<f32>(a, 20);
    c50 = f32x4.relaxed_madd(value, b0, c50);
    c51 = f32x4.relaxed_madd(value, b1, c51);
    a += 24;
    b += 32;
  }
  storeRow(c, add, c00, c01);
  storeRow(c + cRow, add, c10, c11);
  storeRow(c + 2 * cRow, add, c20, c21);
  storeRow(c + 3 * cRow, add, c30, c31);
  storeRow(c + 4 * cRow, add, c40, c41);
  storeRow(c + 5 * cRow, add, c50, c51);
}
