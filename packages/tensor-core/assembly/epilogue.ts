/** How results are stored: edges of tiles, bias and activation. Left out of `index.ts`. */
import { geluF32x4, geluTanhF32x4, loadPartial, reluF32x4, siluF32x4, storePartial } from "./math";

/** Activation codes of the kernels, those of `activationCodes` in `matmul.ts`. */
const RELU: i32 = 1;
const SILU: i32 = 2;
const GELU: i32 = 3;
const GELU_TANH: i32 = 4;

/** Eight neighbouring results become c or are added to it. */
// @ts-ignore: decorator
@inline
export function storeRow(c: usize, add: bool, left: v128, right: v128): void {
  if (add) {
    left = f32x4.add(v128.load(c), left);
    right = f32x4.add(v128.load(c, 16), right);
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}

/** Copies (or adds) the top left [rows, columns] of a scratch tile [rows, 8] to c. */
export function storeEdge(tile: usize, c: usize, cRow: usize, rows: i32, columns: i32, add: bool): void {
  for (let row = 0; row < rows; row++) {
    let from = tile;
    let to = c;
    let left = columns;
    for (; left >= 4; left -= 4) {
      const values = v128.load(from);
      v128.store(to, add ? f32x4.add(v128.load(to), values) : values);
      from += 16;
      to += 16;
    }
    for (; left > 0; left--) {
      const value = load<f32>(from);
      store<f32>(to, add ? load<f32>(to) + value : value);
      from += 4;
      to += 4;
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
