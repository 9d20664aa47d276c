/**
 * Around the transforms of real lines: packing, unpacking, and moving lines to and from scratch. `width` is bytes across a block, a
 * multiple of 16.
 */

/**
 * Header of a real plan: length, offset of the inner complex plan, offsets of cos and sin of -2πk / length, k = 0 … floor(length / 4) and
 * some more.
 */
export const realTwiddleReal: usize = 8;
export const realTwiddleImaginary: usize = 12;

/**
 * Z, the transform of x[2j] + i x[2j + 1] over half the length h and already halved, becomes the non-negative frequencies of x, in place
 * over rows 0 … h: X[k] = E + w^k O and X[h - k] = conj(E - w^k O), E = Z[k] + conj Z[h - k], O = -i (Z[k] - conj Z[h - k]).
 */
export function blockRealUnpack(plan: usize, real: usize, imaginary: usize, row: usize, width: usize): void {
  const half = load<i32>(plan) >> 1;
  const twiddleReal = plan + <usize>load<i32>(plan, realTwiddleReal),
    twiddleImaginary = plan + <usize>load<i32>(plan, realTwiddleImaginary);
  const zero = f32x4.splat(0), endReal = real + <usize>half * row, endImaginary = imaginary + <usize>half * row;
  for (let q: usize = 0; q < width; q += 16) {
    let re = v128.load(real + q), im = v128.load(imaginary + q);
    re = f32x4.add(re, re);
    im = f32x4.add(im, im);
    v128.store(real + q, f32x4.add(re, im));
    v128.store(imaginary + q, zero);
    v128.store(endReal + q, f32x4.sub(re, im));
    v128.store(endImaginary + q, zero);
  }
  for (let k = 1; k <= half >> 1; k++) {
    const wr = v128.load32_splat(twiddleReal + (<usize>k << 2)), wi = v128.load32_splat(twiddleImaginary + (<usize>k << 2));
    const near = <usize>k * row, far = <usize>(half - k) * row;
    for (let q: usize = 0; q < width; q += 16) {
      const ar = v128.load(real + near + q), ai = v128.load(imaginary + near + q);
      const br = v128.load(real + far + q), bi = v128.load(imaginary + far + q);
      const er = f32x4.add(ar, br), ei = f32x4.sub(ai, bi), or = f32x4.add(ai, bi), oi = f32x4.sub(br, ar);
      const tr = f32x4.sub(f32x4.mul(or, wr), f32x4.mul(oi, wi)), ti = f32x4.add(f32x4.mul(oi, wr), f32x4.mul(or, wi));
      v128.store(real + near + q, f32x4.add(er, tr));
      v128.store(imaginary + near + q, f32x4.add(ei, ti));
      v128.store(real + far + q, f32x4.sub(er, tr));
      v128.store(imaginary + far + q, f32x4.sub(ti, ei));
    }
  }
}

/**
 * The way back, not in place: Z[k] = S + iU and Z[h - k] = conj(S) + i conj(U), S = X[k] + conj X[h - k], U = conj(w^k) (X[k] - conj X[h -
 * k]). Imaginary parts of X[0] and X[h] are ignored. The target has h rows of `width` bytes.
 */
export function blockHermitianPack(
  plan: usize, sourceReal: usize, sourceImaginary: usize, row: usize, targetReal: usize, targetImaginary: usize, width: usize,
): void {
  const half = load<i32>(plan) >> 1;
  const twiddleReal = plan + <usize>load<i32>(plan, realTwiddleReal),
    twiddleImaginary = plan + <usize>load<i32>(plan, realTwiddleImaginary);
  const end = sourceReal + <usize>half * row;
  for (let q: usize = 0; q < width; q += 16) {
    const first = v128.load(sourceReal + q), last = v128.load(end + q);
    v128.store(targetReal + q, f32x4.add(first, last));
    v128.store(targetImaginary + q, f32x4.sub(first, last));
  }
  for (let k = 1; k <= half >> 1; k++) {
    const wr = v128.load32_splat(twiddleReal + (<usize>k << 2)), wi = v128.load32_splat(twiddleImaginary + (<usize>k << 2));
    const near = <usize>k * row, far = <usize>(half - k) * row;
    const nearTarget = <usize>k * width, farTarget = <usize>(half - k) * width;
    for (let q: usize = 0; q < width; q += 16) {
      const ar = v128.load(sourceReal + near + q), ai = v128.load(sourceImaginary + near + q);
      const br = v128.load(sourceReal + far + q), bi = v128.load(sourceImaginary + far + q);
      const sr = f32x4.add(ar, br), si = f32x4.sub(ai, bi), dr = f32x4.sub(ar, br), di = f32x4.add(ai, bi);
      const ur = f32x4.add(f32x4.mul(dr, wr), f32x4.mul(di, wi)), ui = f32x4.sub(f32x4.mul(di, wr), f32x4.mul(dr, wi));
      v128.store(targetReal + nearTarget + q, f32x4.sub(sr, ui));
      v128.store(targetImaginary + nearTarget + q, f32x4.add(si, ur));
      v128.store(targetReal + farTarget + q, f32x4.add(sr, ui));
      v128.store(targetImaginary + farTarget + q, f32x4.sub(ur, si));
    }
  }
}

/** All `length` (odd) frequencies from the non-negative ones. */
export function expandHermitian(
  length: i32, sourceReal: usize, sourceImaginary: usize, row: usize, targetReal: usize, targetImaginary: usize, width: usize,
): void {
  memory.copy(targetReal, sourceReal, width);
  memory.fill(targetImaginary, 0, width);
  for (let k = 1; k <= length >> 1; k++) {
    const from = <usize>k * row, near = <usize>k * width, far = <usize>(length - k) * width;
    for (let q: usize = 0; q < width; q += 16) {
      const re = v128.load(sourceReal + from + q), im = v128.load(sourceImaginary + from + q);
      v128.store(targetReal + near + q, re);
      v128.store(targetImaginary + near + q, im);
      v128.store(targetReal + far + q, re);
      v128.store(targetImaginary + far + q, f32x4.neg(im));
    }
  }
}

/** Copies `rows` rows of `width` bytes. */
export function copyRows(source: usize, sourceRow: usize, target: usize, targetRow: usize, rows: i32, width: usize): void {
  for (let r = 0; r < rows; r++) {
    for (let q: usize = 0; q < width; q += 16) v128.store(target + q, v128.load(source + q));
    source += sourceRow;
    target += targetRow;
  }
}

/** Lines first … first + count - 1 of [matrices, length, inner] side by side in rows of `width` bytes; lanes past `count` are zero. */
export function gatherLines(source: usize, target: usize, width: usize, length: i32, inner: i32, first: i32, count: i32): void {
  if (inner == 1 && count == 4 && length >= 4) {
    transposeIn(source + ((<usize>first * <usize>length) << 2), target, length);
    return;
  }
  if (<usize>count << 2 != width) memory.fill(target, 0, <usize>length * width);
  const step = <usize>inner << 2;
  for (let lane = 0; lane < count; lane++) {
    const line = first + lane;
    let from = source + ((<usize>(line / inner) * <usize>length * step)) + (<usize>(line % inner) << 2);
    let to = target + (<usize>lane << 2);
    for (let j = 0; j < length; j++) {
      store<f32>(to, load<f32>(from));
      from += step;
      to += width;
    }
  }
}

/** The way back; lanes past `count` are dropped. */
export function scatterLines(source: usize, width: usize, target: usize, length: i32, inner: i32, first: i32, count: i32): void {
  if (inner == 1 && count == 4 && length >= 4) {
    transposeOut(source, target + ((<usize>first * <usize>length) << 2), length);
    return;
  }
  const step = <usize>inner << 2;
  for (let lane = 0; lane < count; lane++) {
    const line = first + lane;
    let to = target + ((<usize>(line / inner) * <usize>length * step)) + (<usize>(line % inner) << 2);
    let from = source + (<usize>lane << 2);
    for (let j = 0; j < length; j++) {
      store<f32>(to, load<f32>(from));
      to += step;
      from += width;
    }
  }
}

/** Four contiguous lines of `length` >= 4 to rows of four; the last vectors may overlap the ones before. */
function transposeIn(source: usize, target: usize, length: i32): void {
  const line = <usize>length << 2, end = line - 16;
  for (let p: usize = 0; p < line; p += 16) {
    const at = p < end ? p : end, from = source + at;
    storeTransposed(
      target + (at << 2), 16, v128.load(from), v128.load(from + line), v128.load(from + 2 * line), v128.load(from + 3 * line),
    );
  }
}

function transposeOut(source: usize, target: usize, length: i32): void {
  const line = <usize>length << 2, end = line - 16;
  for (let p: usize = 0; p < line; p += 16) {
    const at = p < end ? p : end, from = source + (at << 2);
    storeTransposed(target + at, line, v128.load(from), v128.load(from, 16), v128.load(from, 32), v128.load(from, 48));
  }
}

/** Stores the columns of four vectors `step` bytes apart. */
// @ts-ignore: decorator
@inline
export function storeTransposed(target: usize, step: usize, a: v128, b: v128, c: v128, d: v128): void {
  const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5), abHigh = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
  const cd = v128.shuffle<f32>(c, d, 0, 4, 1, 5), cdHigh = v128.shuffle<f32>(c, d, 2, 6, 3, 7);
  v128.store(target, v128.shuffle<f64>(ab, cd, 0, 2));
  v128.store(target + step, v128.shuffle<f64>(ab, cd, 1, 3));
  v128.store(target + 2 * step, v128.shuffle<f64>(abHigh, cdHigh, 0, 2));
  v128.store(target + 3 * step, v128.shuffle<f64>(abHigh, cdHigh, 1, 3));
}
