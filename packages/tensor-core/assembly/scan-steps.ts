/** The inner loops of the selective scan over one block of 16 channels. */
import { multiplyAdd, sigmoidF32x4, softplusF32x4, sumLanes } from "./math";
import { LANES, ROW, stageRows } from "./scan-lanes";

/** Bytes of the table that `storeConstants` writes. */
export const CONSTANT_BYTES: usize = 192;

/**
 * What `exp2F32x4` needs, as vectors in memory. Loops load them into variables first: a literal would be made anew in every round, since
 * neither compiler moves vector constants out of loops, and that is a third of the scan's time.
 */
export function storeConstants(target: usize): void {
  v128.store(target, f32x4.splat(128.0));
  v128.store(target, f32x4.splat(-127.0), 16);
  v128.store(target, f32x4.splat(12583039.0), 32);
  v128.store(target, f32x4.splat(1.0), 48);
  v128.store(target, f32x4.splat(6.931472028550421e-1), 64);
  v128.store(target, f32x4.splat(2.402264791363012e-1), 80);
  v128.store(target, f32x4.splat(5.550332471162809e-2), 96);
  v128.store(target, f32x4.splat(9.618437357674640e-3), 112);
  v128.store(target, f32x4.splat(1.339887440266574e-3), 128);
  v128.store(target, f32x4.splat(1.535336188319500e-4), 144);
}

/**
 * 2^x to 1 ulp of its own, Cephes' polynomial; under 2^-126.5 it is 0. The scan multiplies A by log2 e once, which saves the exponential a
 * product: the product with delta that follows is rounded in any case.
 */
// @ts-ignore: decorator
@inline
function exp2F32x4(
  x: v128, top: v128, bottom: v128, magic: v128, c6: v128, c5: v128, c4: v128, c3: v128, c2: v128, c1: v128, one: v128,
): v128 {
  const clamped = f32x4.pmax(f32x4.pmin(x, top), bottom);
  // n + 127 in the low bits of the sum: shifted left they are the bits of 2^n
  const shifted = f32x4.add(clamped, magic);
  const r = f32x4.sub(clamped, f32x4.sub(shifted, magic));
  let p = multiplyAdd(c6, r, c5);
  p = multiplyAdd(p, r, c4);
  p = multiplyAdd(p, r, c3);
  p = multiplyAdd(p, r, c2);
  p = multiplyAdd(p, r, c1);
  p = multiplyAdd(p, r, one);
  return f32x4.mul(p, i32x4.shl(shifted, 23));
}

/** target = source * log2 e over `rows` block rows. */
export function scaleByLog2E(source: usize, target: usize, rows: i32): void {
  const log2E = f32x4.splat(1.4426950408889634);
  for (let q: usize = 0; q < <usize>rows * ROW; q += 16) v128.store(target + q, f32x4.mul(v128.load(source + q), log2E));
}

/** Stages delta (through softplus, lanes past the last channel staying 0) and delta * x. */
export function stageDelta(
  delta: usize, stride: usize, softplus: i32, input: usize, step: usize, product: usize, rows: i32, lanes: i32,
): void {
  stageRows(delta, stride, step, rows, lanes);
  const end = <usize>rows * ROW;
  if (softplus) {
    const used = <usize>(lanes + 3 >> 2) << 4, rest = lanes & 3;
    const lane = i32x4(0, 1, 2, 3);
    const mask = rest ? i32x4.lt_s(lane, i32x4.splat(rest)) : i32x4.splat(-1);
    for (let row: usize = 0; row < end; row += ROW) {
      for (let q: usize = 0; q < used; q += 16) {
        const d = softplusF32x4(v128.load(step + row + q));
        v128.store(step + row + q, q + 16 == used ? v128.and(d, mask) : d);
      }
    }
  }
  for (let q: usize = 0; q < end; q += 16) v128.store(product + q, f32x4.mul(v128.load(step + q), v128.load(input + q)));
}

/**
 * `rows` steps of h = exp(d A) h + d x B and, with `output`, y += C h. Blocks: rate (A log2 e) and state [stateSize], step, product, y
 * [rows].
 */
// @ts-ignore: decorator
@inline
function advance(
  output: bool, constants: usize, rate: usize, state: usize, stateSize: i32, step: usize, product: usize, inputMatrix: usize,
  outputMatrix: usize, y: usize, rows: i32,
): void {
  const top = v128.load(constants), bottom = v128.load(constants, 16), magic = v128.load(constants, 32), one = v128.load(constants, 48);
  const c1 = v128.load(constants, 64), c2 = v128.load(constants, 80), c3 = v128.load(constants, 96), c4 = v128.load(constants, 112);
  const c5 = v128.load(constants, 128), c6 = v128.load(constants, 144);
  const columns = <usize>stateSize << 2;
  for (let t = 0; t < rows; t++) {
    for (let half: usize = 0; half < ROW; half += 32) {
      const d0 = v128.load(step + half), d1 = v128.load(step + half, 16);
      const p0 = v128.load(product + half), p1 = v128.load(product + half, 16);
      let y0 = output ? v128.load(y + half) : d0, y1 = output ? v128.load(y + half, 16) : d1;
      let at = half;
      for (let n: usize = 0; n < columns; n += 4) {
        const b = v128.load32_splat(inputMatrix + n);
        const a0 = exp2F32x4(f32x4.mul(d0, v128.load(rate + at)), top, bottom, magic, c6, c5, c4, c3, c2, c1, one);
        const a1 = exp2F32x4(f32x4.mul(d1, v128.load(rate + at, 16)), top, bottom, magic, c6, c5, c4, c3, c2, c1, one);
        const h0 = multiplyAdd(a0, v128.load(state + at), f32x4.mul(p0, b));
        const h1 = multiplyAdd(a1, v128.load(state + at, 16), f32x4.mul(p1, b));
        v128.store(state + at, h0);
        v128.store(state + at, h1, 16);
        if (output) {
          const c = v128.load32_splat(outputMatrix + n);
          y0 = multiplyAdd(c, h0, y0);
          y1 = multiplyAdd(c, h1, y1);
        }
        at += ROW;
      }
      if (output) {
        v128.store(y + half, y0);
        v128.store(y + half, y1, 16);
      }
    }
    step += ROW; product += ROW; y += ROW; inputMatrix += columns; outputMatrix += columns;
  }
}

/** Advances the state and adds the outputs to y. */
export function advanceWithOutput(
  constants: usize, rate: usize, state: usize, stateSize: i32, step: usize, product: usize, inputMatrix: usize, outputMatrix: usize,
  y: usize, rows: i32,
): void {
  advance(true, constants, rate, state, stateSize, step, product, inputMatrix, outputMatrix, y, rows);
}

/** Advances the state only. */
export function advanceState(
  constants: usize, rate: usize, state: usize, stateSize: i32, step: usize, product: usize, inputMatrix: usize, rows: i32,
): void {
  advance(false, constants, rate, state, stateSize, step, product, inputMatrix, 0, 0, rows);
}

/** As `advanceState`, keeping every decay exp(d A) and every state: history [rows + 1, stateSize], its first entry given. */
export function recordStates(
  constants: usize, rate: usize, history: usize, decays: usize, stateSize: i32, step: usize, product: usize, inputMatrix: usize, rows: i32,
): void {
  const top = v128.load(constants), bottom = v128.load(constants, 16), magic = v128.load(constants, 32), one = v128.load(constants, 48);
  const c1 = v128.load(constants, 64), c2 = v128.load(constants, 80), c3 = v128.load(constants, 96), c4 = v128.load(constants, 112);
  const c5 = v128.load(constants, 128), c6 = v128.load(constants, 144);
  const columns = <usize>stateSize << 2, size = <usize>stateSize * ROW;
  for (let t = 0; t < rows; t++) {
    for (let half: usize = 0; half < ROW; half += 32) {
      const d0 = v128.load(step + half), d1 = v128.load(step + half, 16);
      const p0 = v128.load(product + half), p1 = v128.load(product + half, 16);
      let at = half;
      for (let n: usize = 0; n < columns; n += 4) {
        const b = v128.load32_splat(inputMatrix + n);
        const a0 = exp2F32x4(f32x4.mul(d0, v128.load(rate + at)), top, bottom, magic, c6, c5, c4, c3, c2, c1, one);
        const a1 = exp2F32x4(f32x4.mul(d1, v128.load(rate + at, 16)), top, bottom, magic, c6, c5, c4, c3, c2, c1, one);
        v128.store(decays + at, a0);
        v128.store(decays + at, a1, 16);
        v128.store(history + size + at, multiplyAdd(a0, v128.load(history + at), f32x4.mul(p0, b)));
        v128.store(history + size + at, multiplyAdd(a1, v128.load(history + at, 16), f32x4.mul(p1, b)), 16);
        at += ROW;
      }
    }
    step += ROW; product += ROW; inputMatrix += columns; history += size; decays += size;
  }
}

/**
 * One step backward. `future` [stateSize] holds ∂/∂h[t] from later steps and leaves with that of h[t - 1]. Adds to matrixGradient (∂A) and
 * skipGradient, adds the channels' share to inputMatrixGradient and outputMatrixGradient [stateSize], and overwrites the rows inputGradient
 * and stepGradient (∂/∂d). sums: room for 2 * stateSize vectors.
 */
export function stepBack(
  stateSize: i32, matrix: usize, decay: usize, before: usize, after: usize, gradient: usize, input: usize, step: usize, product: usize,
  skip: usize,
  inputMatrix: usize, outputMatrix: usize, future: usize, matrixGradient: usize, skipGradient: usize, inputMatrixGradient: usize,
  outputMatrixGradient: usize, inputGradient: usize, stepGradient: usize, sums: usize,
): void {
  const columns = <usize>stateSize << 2;
  memory.fill(sums, 0, columns << 3);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const g = v128.load(gradient + lane), x = v128.load(input + lane), d = v128.load(step + lane), p = v128.load(product + lane);
    let throughInput = f32x4.splat(0), throughDecay = f32x4.splat(0);
    let at = lane, sum = sums;
    for (let n: usize = 0; n < columns; n += 4) {
      const q = multiplyAdd(v128.load32_splat(outputMatrix + n), g, v128.load(future + at));
      v128.store(sum, multiplyAdd(q, p, v128.load(sum)));
      v128.store(sum, multiplyAdd(g, v128.load(after + at), v128.load(sum, 16)), 16);
      throughInput = multiplyAdd(q, v128.load32_splat(inputMatrix + n), throughInput);
      const decayed = f32x4.mul(q, v128.load(decay + at));
      const change = f32x4.mul(decayed, v128.load(before + at));
      throughDecay = multiplyAdd(v128.load(matrix + at), change, throughDecay);
      v128.store(matrixGradient + at, multiplyAdd(d, change, v128.load(matrixGradient + at)));
      v128.store(future + at, decayed);
      at += ROW;
      sum += 32;
    }
    v128.store(inputGradient + lane, multiplyAdd(d, throughInput, f32x4.mul(v128.load(skip + lane), g)));
    v128.store(stepGradient + lane, multiplyAdd(x, throughInput, throughDecay));
    v128.store(skipGradient + lane, multiplyAdd(g, x, v128.load(skipGradient + lane)));
  }
  for (let n: usize = 0; n < columns; n += 4) {
    store<f32>(inputMatrixGradient + n, load<f32>(inputMatrixGradient + n) + sumLanes(v128.load(sums)));
    store<f32>(outputMatrixGradient + n, load<f32>(outputMatrixGradient + n) + sumLanes(v128.load(sums, 16)));
    sums += 32;
  }
}

/** gradient *= softplus'(delta) = sigmoid(delta) over block rows. */
export function multiplyBySigmoid(gradient: usize, delta: usize, rows: i32): void {
  for (let q: usize = 0; q < <usize>rows * ROW; q += 16) {
    v128.store(gradient + q, f32x4.mul(v128.load(gradient + q), sigmoidF32x4(v128.load(delta + q))));
  }
}
