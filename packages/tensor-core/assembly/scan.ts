/**
 * Sequence kernels, channels last: causal convolution and the selective scan, with their gradients. All work on blocks of 16 channels in
 * scratch (`scan-lanes.ts`); a channel's numbers never meet another's except in ∂B and ∂C, whose order of summation is fixed.
 */
import { multiplyAdd, siluDerivativeF32x4, siluF32x4 } from "./math";
import { LANES, ROW, stageRows, stageTransposed, unstageRows, unstageTransposed } from "./scan-lanes";
import {
  advanceState, advanceWithOutput, CONSTANT_BYTES, multiplyBySigmoid, recordStates, scaleByLog2E, stageDelta, stepBack, storeConstants,
} from "./scan-steps";

/** Rows of one round trip through scratch in the forward kernels. */
const CHUNK: i32 = 64;
/** Steps whose states the backward scan keeps at a time; checkpoints lie this far apart. */
const STRIDE: i32 = 32;

/** The `width - 1` rows before a sequence: `initialState` of this batch, or zeros if its pointer is 0. */
function stageHistory(initialState: usize, rowBytes: usize, target: usize, rows: i32, lanes: i32): void {
  if (initialState) stageRows(initialState, rowBytes, target, rows, lanes);
  else memory.fill(target, 0, <usize>rows * ROW);
}

/** target[t] = bias + Σ_j weight[j] * window[t + j] over block rows. */
function convolve(window: usize, weight: usize, width: i32, bias: usize, target: usize, rows: i32): void {
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const start = v128.load(bias + lane);
    let from = window + lane, to = target + lane;
    if (width == 4) {
      const w0 = v128.load(weight + lane), w1 = v128.load(weight + lane, ROW), w2 = v128.load(weight + lane, 2 * ROW),
        w3 = v128.load(weight + lane, 3 * ROW);
      for (let t = 0; t < rows; t++) {
        let sum = multiplyAdd(w0, v128.load(from), start);
        sum = multiplyAdd(w1, v128.load(from, ROW), sum);
        sum = multiplyAdd(w2, v128.load(from, 2 * ROW), sum);
        v128.store(to, multiplyAdd(w3, v128.load(from, 3 * ROW), sum));
        from += ROW;
        to += ROW;
      }
      continue;
    }
    for (let t = 0; t < rows; t++) {
      let sum = start, at: usize = 0;
      for (let j = 0; j < width; j++) {
        sum = multiplyAdd(v128.load(weight + lane + at), v128.load(from + at), sum);
        at += ROW;
      }
      v128.store(to, sum);
      from += ROW;
      to += ROW;
    }
  }
}

/**
 * See `Kernels.causalConv1d`; bias and initialState may be 0. begin and end count (batch, block of 16 channels), channels fastest.
 * Scratch: 64 * (2 * width + 128) bytes.
 */
export function causalConv1d(
  input: usize, weight: usize, bias: usize, initialState: usize, silu: i32, output: usize, sequence: i32, channels: i32, width: i32,
  scratch: usize, begin: i32, end: i32,
): void {
  const blocks = (channels + LANES - 1) / LANES, rowBytes = <usize>channels << 2;
  const taps = scratch, offset = taps + <usize>width * ROW, window = offset + ROW, result = window + <usize>(CHUNK + width - 1) * ROW;
  for (let unit = begin; unit < end; unit++) {
    const batch = unit / blocks, first = (unit % blocks) * LANES, lanes = min(LANES, channels - first);
    const at = <usize>first << 2;
    stageTransposed(weight + at * <usize>width, width, taps, lanes);
    if (bias) stageRows(bias + at, 0, offset, 1, lanes);
    else memory.fill(offset, 0, ROW);
    const history = width - 1;
    stageHistory(initialState ? initialState + <usize>(batch * history) * rowBytes + at : 0, rowBytes, window, history, lanes);
    for (let t = 0; t < sequence; t += CHUNK) {
      const rows = min(CHUNK, sequence - t), place = <usize>(batch * sequence + t) * rowBytes + at;
      stageRows(input + place, rowBytes, window + <usize>history * ROW, rows, lanes);
      convolve(window, taps, width, offset, result, rows);
      if (silu) for (let q: usize = 0; q < <usize>rows * ROW; q += 16) v128.store(result + q, siluF32x4(v128.load(result + q)));
      unstageRows(result, output + place, rowBytes, rows, lanes);
      memory.copy(window, window + <usize>rows * ROW, <usize>history * ROW);
    }
  }
}

/**
 * Backward of `causalConv1d`; biasGradient and initialStateGradient may be 0. begin and end count blocks of 16 channels; sums over batch
 * and time are made in order within a block. Scratch: 64 * (2 * sequence + 6 * width) bytes.
 */
export function causalConv1dGradient(
  gradient: usize, input: usize, weight: usize, bias: usize, initialState: usize, silu: i32, batches: i32, sequence: i32, channels: i32,
  width: i32,
  inputGradient: usize, weightGradient: usize, biasGradient: usize, initialStateGradient: usize, scratch: usize, begin: i32, end: i32,
): void {
  const history = width - 1, rowBytes = <usize>channels << 2;
  const taps = scratch, tapGradients = taps + <usize>width * ROW, reversed = tapGradients + <usize>width * ROW;
  const offset = reversed + <usize>width * ROW, offsetGradient = offset + ROW;
  // x behind its history; ∂/∂(the sum before SiLU) between two histories of zeros, so that ∂x is a convolution as well
  const window = offsetGradient + ROW, inner = window + <usize>(sequence + history) * ROW;
  for (let block = begin; block < end; block++) {
    const first = block * LANES, lanes = min(LANES, channels - first), at = <usize>first << 2;
    stageTransposed(weight + at * <usize>width, width, taps, lanes);
    for (let j = 0; j < width; j++) memory.copy(reversed + <usize>j * ROW, taps + <usize>(history - j) * ROW, ROW);
    memory.fill(tapGradients, 0, <usize>width * ROW);
    memory.fill(offsetGradient, 0, ROW);
    for (let batch = 0; batch < batches; batch++) {
      const place = <usize>(batch * sequence) * rowBytes + at, statePlace = <usize>(batch * history) * rowBytes + at;
      stageHistory(initialState ? initialState + statePlace : 0, rowBytes, window, history, lanes);
      stageRows(input + place, rowBytes, window + <usize>history * ROW, sequence, lanes);
      const start = inner + <usize>history * ROW, size = <usize>sequence * ROW;
      memory.fill(inner, 0, <usize>history * ROW);
      memory.fill(start + size, 0, <usize>history * ROW);
      if (silu) {
        if (bias) stageRows(bias + at, 0, offset, 1, lanes);
        else memory.fill(offset, 0, ROW);
        convolve(window, taps, width, offset, start, sequence);
        for (let t = 0; t < sequence; t++) {
          const row = start + <usize>t * ROW;
          for (let q: usize = 0; q < ROW; q += 16) v128.store(row + q, siluDerivativeF32x4(v128.load(row + q)));
        }
        multiplyRows(gradient + place, rowBytes, start, sequence, lanes);
      } else {
        stageRows(gradient + place, rowBytes, start, sequence, lanes);
      }
      for (let lane: usize = 0; lane < ROW; lane += 16) {
        const from = start + lane;
        let total = v128.load(offsetGradient + lane);
        for (let t = 0; t < sequence; t += CHUNK) {
          total = f32x4.add(total, sumRows(from + <usize>t * ROW, min(CHUNK, sequence - t)));
        }
        v128.store(offsetGradient + lane, total);
        for (let j = 0; j < width; j++) {
          const tap = tapGradients + <usize>j * ROW + lane, shifted = window + <usize>j * ROW + lane;
          total = v128.load(tap);
          for (let t = 0; t < sequence; t += CHUNK) {
            const at = <usize>t * ROW;
            total = f32x4.add(total, multiplySumRows(from + at, shifted + at, min(CHUNK, sequence - t)));
          }
          v128.store(tap, total);
        }
      }
      // ∂x[s] = Σ_j weight[width - 1 - j] ∂u[s + j], s from -history on; the window is free now.
      memory.fill(offset, 0, ROW);
      convolve(inner, reversed, width, offset, window, sequence + history);
      if (initialStateGradient) unstageRows(window, initialStateGradient + statePlace, rowBytes, history, lanes);
      unstageRows(window + <usize>history * ROW, inputGradient + place, rowBytes, sequence, lanes);
    }
    unstageTransposed(tapGradients, weightGradient + at * <usize>width, width, lanes);
    if (biasGradient) unstageRows(offsetGradient, biasGradient + at, 0, 1, lanes);
  }
}

/** target *= source, source rows `stride` bytes apart, over a block's used lanes. */
function multiplyRows(source: usize, stride: usize, target: usize, rows: i32, lanes: i32): void {
  const end = <usize>lanes << 2, whole = end & ~15;
  for (let r = 0; r < rows; r++) {
    let q: usize = 0;
    for (; q < whole; q += 16) v128.store(target + q, f32x4.mul(v128.load(target + q), v128.load(source + q)));
    for (; q < end; q += 4) store<f32>(target + q, load<f32>(target + q) * load<f32>(source + q));
    source += stride;
    target += ROW;
  }
}

/** Sum of one vector over block rows. */
function sumRows(source: usize, rows: i32): v128 {
  let sum = f32x4.splat(0);
  for (let r = 0; r < rows; r++) {
    sum = f32x4.add(sum, v128.load(source));
    source += ROW;
  }
  return sum;
}

/** Sum of products of two vectors over block rows. */
function multiplySumRows(a: usize, b: usize, rows: i32): v128 {
  let sum = f32x4.splat(0);
  for (let r = 0; r < rows; r++) {
    sum = multiplyAdd(v128.load(a), v128.load(b), sum);
    a += ROW;
    b += ROW;
  }
  return sum;
}

/**
 * See `Kernels.selectiveScan`; skip and initialState may be 0. begin and end count (batch, block of 16 channels), channels fastest.
 * Scratch: 64 * (2 * stateSize + 260) bytes.
 */
export function selectiveScan(
  input: usize, delta: usize, stateMatrix: usize, inputMatrix: usize, outputMatrix: usize, skip: usize, initialState: usize, softplus: i32,
  output: usize, finalState: usize, sequence: i32, channels: i32, stateSize: i32, scratch: usize, begin: i32, end: i32,
): void {
  const blocks = (channels + LANES - 1) / LANES, rowBytes = <usize>channels << 2, size = <usize>stateSize * ROW;
  const constants = scratch, rate = constants + CONSTANT_BYTES, state = rate + size, skips = state + size;
  const x = skips + ROW, step = x + <usize>CHUNK * ROW, product = step + <usize>CHUNK * ROW, y = product + <usize>CHUNK * ROW;
  storeConstants(constants);
  for (let unit = begin; unit < end; unit++) {
    const batch = unit / blocks, first = (unit % blocks) * LANES, lanes = min(LANES, channels - first), at = <usize>first << 2;
    const statePlace = <usize>(batch * channels + first) * (<usize>stateSize << 2);
    stageTransposed(stateMatrix + at * <usize>stateSize, stateSize, rate, lanes);
    scaleByLog2E(rate, rate, stateSize);
    if (initialState) stageTransposed(initialState + statePlace, stateSize, state, lanes);
    else memory.fill(state, 0, size);
    if (skip) stageRows(skip + at, 0, skips, 1, lanes);
    else memory.fill(skips, 0, ROW);
    for (let t = 0; t < sequence; t += CHUNK) {
      const rows = min(CHUNK, sequence - t), row = <usize>(batch * sequence + t), place = row * rowBytes + at;
      stageRows(input + place, rowBytes, x, rows, lanes);
      stageDelta(delta + place, rowBytes, softplus, x, step, product, rows, lanes);
      for (let r: usize = 0; r < <usize>rows * ROW; r += ROW) {
        for (let q: usize = 0; q < ROW; q += 16) v128.store(y + r + q, f32x4.mul(v128.load(x + r + q), v128.load(skips + q)));
      }
      const matrices = row * (<usize>stateSize << 2);
      advanceWithOutput(constants, rate, state, stateSize, step, product, inputMatrix + matrices, outputMatrix + matrices, y, rows);
      unstageRows(y, output + place, rowBytes, rows, lanes);
    }
    unstageTransposed(state, finalState + statePlace, stateSize, lanes);
  }
}

/**
 * Backward of `selectiveScan`. begin and end count (batch, group of `groupBlocks` neighbouring blocks of 16 channels), groups fastest;
 * `groups` of them a batch. skip, initialState, finalStateGradient, initialStateGradient may be 0. What is summed over several units comes
 * out as one slice a unit, to be added by `sumSlices`: ∂A [batch][channels, stateSize], ∂D [batch][channels], ∂B and ∂C [groups][batch,
 * sequence, stateSize]. Scratch: 64 * (stateSize * (72 + max(1, ceil(sequence / 32))) + 200) bytes.
 */
export function selectiveScanGradient(
  gradient: usize, finalStateGradient: usize, input: usize, delta: usize, stateMatrix: usize, inputMatrix: usize, outputMatrix: usize,
  skip: usize,
  initialState: usize, softplus: i32, batches: i32, sequence: i32, channels: i32, stateSize: i32, groups: i32, groupBlocks: i32,
  inputGradient: usize, deltaGradient: usize, stateMatrixSlices: usize, inputMatrixSlices: usize, outputMatrixSlices: usize,
  skipSlices: usize,
  initialStateGradient: usize, scratch: usize, begin: i32, end: i32,
): void {
  const rowBytes = <usize>channels << 2, size = <usize>stateSize * ROW, columns = <usize>stateSize << 2, span = <usize>STRIDE * ROW;
  const blocks = (channels + LANES - 1) / LANES, checkpoints = (sequence + STRIDE - 1) / STRIDE;
  const constants = scratch, matrix = constants + CONSTANT_BYTES, rate = matrix + size, future = rate + size,
    matrixGradient = future + size, sums = matrixGradient + size;
  const history = sums + 2 * size, decays = history + <usize>(STRIDE + 1) * size, saved = decays + <usize>STRIDE * size;
  const skips = saved + <usize>max(1, checkpoints) * size, skipGradient = skips + ROW;
  const x = skipGradient + ROW, step = x + span, product = step + span, g = product + span, dx = g + span, dStep = dx + span;
  storeConstants(constants);
  for (let unit = begin; unit < end; unit++) {
    const batch = unit / groups, group = unit % groups;
    const slice = <usize>(group * batches + batch) * <usize>sequence * columns;
    const inputMatrixSlice = inputMatrixSlices + slice, outputMatrixSlice = outputMatrixSlices + slice;
    memory.fill(inputMatrixSlice, 0, <usize>sequence * columns);
    memory.fill(outputMatrixSlice, 0, <usize>sequence * columns);
    for (let block = group * groupBlocks; block < min(blocks, (group + 1) * groupBlocks); block++) {
      const first = block * LANES, lanes = min(LANES, channels - first), at = <usize>first << 2;
      const statePlace = <usize>(batch * channels + first) * columns;
      stageTransposed(stateMatrix + at * <usize>stateSize, stateSize, matrix, lanes);
      scaleByLog2E(matrix, rate, stateSize);
      if (skip) stageRows(skip + at, 0, skips, 1, lanes);
      else memory.fill(skips, 0, ROW);
      memory.fill(matrixGradient, 0, size);
      memory.fill(skipGradient, 0, ROW);
      // forward, keeping the state at the start of every chunk
      if (initialState) stageTransposed(initialState + statePlace, stateSize, saved, lanes);
      else memory.fill(saved, 0, size);
      for (let chunk = 1; chunk < checkpoints; chunk++) {
        const row = <usize>(batch * sequence + (chunk - 1) * STRIDE), place = row * rowBytes + at, state = saved + <usize>chunk * size;
        memory.copy(state, state - size, size);
        stageRows(input + place, rowBytes, x, STRIDE, lanes);
        stageDelta(delta + place, rowBytes, softplus, x, step, product, STRIDE, lanes);
        advanceState(constants, rate, state, stateSize, step, product, inputMatrix + row * columns, STRIDE);
      }
      if (finalStateGradient) stageTransposed(finalStateGradient + statePlace, stateSize, future, lanes);
      else memory.fill(future, 0, size);
      for (let chunk = checkpoints - 1; chunk >= 0; chunk--) {
        const start = chunk * STRIDE, rows = min(STRIDE, sequence - start), row = <usize>(batch * sequence + start),
          place = row * rowBytes + at;
        stageRows(gradient + place, rowBytes, g, rows, lanes);
        stageRows(input + place, rowBytes, x, rows, lanes);
        stageDelta(delta + place, rowBytes, softplus, x, step, product, rows, lanes);
        memory.copy(history, saved + <usize>chunk * size, size);
        recordStates(constants, rate, history, decays, stateSize, step, product, inputMatrix + row * columns, rows);
        for (let t = rows - 1; t >= 0; t--) {
          const r = <usize>t * ROW, matrices = (row + <usize>t) * columns, sliceRow = <usize>(start + t) * columns;
          const before = history + <usize>t * size;
          stepBack(
            stateSize, matrix, decays + <usize>t * size, before, before + size, g + r, x + r, step + r, product + r, skips,
            inputMatrix + matrices, outputMatrix + matrices, future, matrixGradient, skipGradient, inputMatrixSlice + sliceRow,
            outputMatrixSlice + sliceRow,
            dx + r, dStep + r, sums,
          );
        }
        if (softplus) {
          stageRows(delta + place, rowBytes, step, rows, lanes);
          multiplyBySigmoid(dStep, step, rows);
        }
        unstageRows(dx, inputGradient + place, rowBytes, rows, lanes);
        unstageRows(dStep, deltaGradient + place, rowBytes, rows, lanes);
      }
      unstageTransposed(matrixGradient, stateMatrixSlices + statePlace, stateSize, lanes);
      unstageRows(skipGradient, skipSlices + ((<usize>(batch * channels)) << 2) + at, 0, 1, lanes);
      if (initialStateGradient) unstageTransposed(future, initialStateGradient + statePlace, stateSize, lanes);
    }
  }
}

/** target[i] = Σ_s source[s, i], slices in order, for i in [begin, end). Granularity 1. */
export function sumSlices(source: usize, target: usize, slices: i32, length: i32, begin: i32, end: i32): void {
  const stride = <usize>length << 2;
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    let from = source + (<usize>i << 2), sum = v128.load(from);
    for (let s = 1; s < slices; s++) {
      from += stride;
      sum = f32x4.add(sum, v128.load(from));
    }
    v128.store(target + (<usize>i << 2), sum);
  }
  for (; i < end; i++) {
    let from = source + (<usize>i << 2), sum = load<f32>(from);
    for (let s = 1; s < slices; s++) {
      from += stride;
      sum += load<f32>(from);
    }
    store<f32>(target + (<usize>i << 2), sum);
  }
}
