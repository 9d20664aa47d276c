/**
 * The inner loops of the matrix product and its epilogue. Left out of `index.ts`: `gemm.ts` and `gemv.ts` build the exported kernels from these.
 *
 * One output is always Σ over k in order, inside blocks of k that depend on k alone, so its bits depend neither on the tile it falls into nor on threads.
 */
import { geluF32x4, geluTanhF32x4, loadPartial, multiplyAdd, reluF32x4, siluF32x4, storePartial } from "./math";

/** Rows of a packed tile: eight accumulators are what V8 keeps in registers beside two temporaries; with fused multiply-add twelve fit. */
export const TILE_ROWS: i32 = RELAXED ? 6 : 4;
/** Columns of a tile. */
export const TILE_COLUMNS: i32 = 8;

/** Activation codes of the kernels, in the order of `activationCodes` in `matmul.ts`. */
const RELU: i32 = 1;
const SILU: i32 = 2;
const GELU: i32 = 3;
const GELU_TANH: i32 = 4;

// @ts-ignore: decorator
@inline
function storeRow(c: usize, add: bool, left: v128, right: v128): void {
  if (add) {
    left = f32x4.add(v128.load(c), left);
    right = f32x4.add(v128.load(c, 16), right);
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}

/** c[TILE_ROWS, 8] (row stride `cRow` bytes) = or += the product of a packed row panel [k, TILE_ROWS] and a packed column panel [k, 8]. */
export function packedTile(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  if (RELAXED) packedTile6(k, a, b, c, cRow, add);
  else packedTile4(k, a, b, c, cRow, add);
}

// The order inside a row (both products of one broadcast value) is what V8 turns into spill-free code; unrolling by hand makes it spill.
// @ts-ignore: decorator
@inline
function packedTile4(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  const end = a + (<usize>k << 4);
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a);
    c00 = multiplyAdd(value, b0, c00);
    c01 = multiplyAdd(value, b1, c01);
    value = v128.load_splat<f32>(a, 4);
    c10 = multiplyAdd(value, b0, c10);
    c11 = multiplyAdd(value, b1, c11);
    value = v128.load_splat<f32>(a, 8);
    c20 = multiplyAdd(value, b0, c20);
    c21 = multiplyAdd(value, b1, c21);
    value = v128.load_splat<f32>(a, 12);
    c30 = multiplyAdd(value, b0, c30);
    c31 = multiplyAdd(value, b1, c31);
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
function packedTile6(k: i32, a: usize, b: usize, c: usize, cRow: usize, add: bool): void {
  let c00 = f32x4.splat(0), c01 = f32x4.splat(0), c10 = f32x4.splat(0), c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0), c21 = f32x4.splat(0), c30 = f32x4.splat(0), c31 = f32x4.splat(0);
  let c40 = f32x4.splat(0), c41 = f32x4.splat(0), c50 = f32x4.splat(0), c51 = f32x4.splat(0);
  const end = a + <usize>k * 24;
  while (a < end) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let value = v128.load_splat<f32>(a);
    c00 = multiplyAdd(value, b0, c00);
    c01 = multiplyAdd(value, b1, c01);
    value = v128.load_splat<f32>(a, 4);
    c10 = multiplyAdd(value, b0, c10);
    c11 = multiplyAdd(value, b1, c11);
    value = v128.load_splat<f32>(a, 8);
    c20 = multiplyAdd(value, b0, c20);
    c21 = multiplyAdd(value, b1, c21);
    value = v128.load_splat<f32>(a, 12);
    c30 = multiplyAdd(value, b0, c30);
    c31 = multiplyAdd(value, b1, c31);
    value = v128.load_splat<f32>(a, 16);
    c40 = multiplyAdd(value, b0, c40);
    c41 = multiplyAdd(value, b1, c41);
    value = v128.load_splat<f32>(a, 20);
    c50 = multiplyAdd(value, b0, c50);
    c51 = multiplyAdd(value, b1, c51);
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

/**
 * c[4, 8] = or += four rows of a (at `a0` to `a3`, elements `aStep` bytes apart) times eight columns of b (rows `bStep` bytes apart).
 * For matrices too small to be worth packing.
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

/** Copies (or adds) the top left [rows, columns] of a scratch tile [TILE_ROWS, 8] to c. */
export function storeEdge(tile: usize, c: usize, cRow: usize, rows: i32, columns: i32, add: bool): void {
  for (let row = 0; row < rows; row++) {
    for (let column: usize = 0; column < <usize>columns; column++) {
      const to = c + (column << 2);
      const value = load<f32>(tile + (column << 2));
      store<f32>(to, add ? load<f32>(to) + value : value);
    }
    tile += 32;
    c += cRow;
  }
}

// Not inlined: the four activations are most of this file's code, and take longer than a call.
function activate(x: v128, activation: i32): v128 {
  if (activation == RELU) return reluF32x4(x);
  if (activation == SILU) return siluF32x4(x);
  if (activation == GELU) return geluF32x4(x);
  if (activation == GELU_TANH) return geluTanhF32x4(x);
  return x;
}

/** c[rows, columns] = activation(c + bias), in place. `bias` 0 = none. */
export function epilogue(c: usize, cRow: usize, rows: i32, columns: i32, bias: usize, activation: i32): void {
  const whole = columns & ~3;
  const rest = columns & 3;
  for (let row = 0; row < rows; row++) {
    for (let column: usize = 0; column < <usize>whole; column += 4) {
      const at = c + (column << 2);
      let x = v128.load(at);
      if (bias) x = f32x4.add(x, v128.load(bias + (column << 2)));
      v128.store(at, activate(x, activation));
    }
    if (rest) {
      const at = c + (<usize>whole << 2);
      let x = loadPartial(at, rest);
      if (bias) x = f32x4.add(x, loadPartial(bias + (<usize>whole << 2), rest));
      storePartial(at, activate(x, activation), rest);
    }
    c += cRow;
  }
}
