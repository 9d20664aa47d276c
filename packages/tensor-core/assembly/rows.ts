/**
 * Softmax, norms, losses, gates and rotary embeddings: kernels over contiguous rows. Optional arrays are absent when their pointer is 0.
 * Every row (or element, or token) is computed alone, so any split of the range gives the same bits.
 */
import { LOG2_E, ONE } from "./constants";
import { loadPartial, logF32, storePartial, sumLanes } from "./math";
import {
  addMaskToRow, dotOfRows, exponentialsOfRow, LOG2E, maximumOfRow, partialLanes, POWER_1, POWER_2, POWER_3, POWER_4, POWER_5, POWER_LEAST,
  POWER_MOST, POWER_ROUND, powerOfTwo, powerOfTwoOf, scaleRow, sumOfExponentials, sumOfRow, sumOfSquares,
} from "./row-functions";

/** Elements of a logits row looked at together: they stay in the first-level cache between the maximum and the exponentials. */
const LOSS_CHUNK: i32 = 2048;

/** output = (scale * x - first) - second, in this order so that large scores keep the digits of their differences. */
function shiftRow(x: usize, output: usize, count: i32, scale: f32, first: f32, second: f32): void {
  const factor = f32x4.splat(scale);
  const a = f32x4.splat(first);
  const b = f32x4.splat(second);
  const end = x + (<usize>count << 2);
  for (; x + 16 <= end; x += 16, output += 16) v128.store(output, f32x4.sub(f32x4.sub(f32x4.mul(factor, v128.load(x)), a), b));
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    storePartial(output, f32x4.sub(f32x4.sub(f32x4.mul(factor, loadPartial(x, rest)), a), b), rest);
  }
}

/**
 * Softmax or log-softmax of `scale * input + mask` over rows. Row r = (i * rows1 + j) * rows2 + k takes its mask at
 * i * maskStride0 + j * maskStride1 + k * maskStride2.
 */
export function softmax(
  input: usize, output: usize, columns: i32, scale: f32, logarithm: i32, mask: usize, rows1: i32, rows2: i32,
  maskStride0: i32, maskStride1: i32, maskStride2: i32, maskColumnStride: i32, begin: i32, end: i32,
): void {
  const rowBytes = <usize>columns << 2;
  for (let row = begin; row < end; row++) {
    let x = input + <usize>row * rowBytes;
    const y = output + <usize>row * rowBytes;
    let factor = scale;
    if (mask) {
      const outer = row / rows2;
      const offset = outer / rows1 * maskStride0 + outer % rows1 * maskStride1 + row % rows2 * maskStride2;
      addMaskToRow(x, y, columns, scale, mask + (<usize>offset << 2), maskColumnStride, 1.0);
      x = y;
      factor = 1.0;
    }
    const maximum = maximumOfRow(x, columns, factor);
    // With nothing but -Infinity (and NaN) in the row, subtracting 0 gives zeros (and NaN) instead of NaN everywhere.
    const base: f32 = maximum == -Infinity ? 0.0 : maximum;
    if (logarithm) {
      const sum = sumOfExponentials(x, columns, factor, base);
      shiftRow(x, y, columns, factor, base, sum == 0.0 ? 0.0 : logF32(sum));
    } else {
      const sum = exponentialsOfRow(x, y, columns, factor, base);
      scaleRow(y, columns, sum == 0.0 ? 1.0 : 1.0 / sum);
    }
  }
}

/** result = scale * output * (gradient - Σ gradient * output), or scale * (gradient - e^output Σ gradient) for the logarithm. */
export function softmaxGradient(
  gradient: usize, output: usize, result: usize, columns: i32, scale: f32, logarithm: i32, begin: i32, end: i32,
): void {
  const rowBytes = <usize>columns << 2;
  const factor = f32x4.splat(scale);
  for (let row = begin; row < end; row++) {
    const offset = <usize>row * rowBytes;
    let g = gradient + offset;
    let y = output + offset;
    let r = result + offset;
    const last = g + rowBytes;
    const sum = f32x4.splat(logarithm ? sumOfRow(g, columns) : dotOfRows(g, y, columns));
    if (logarithm) {
      exponentialsOfRow(y, r, columns, 1.0, 0.0);
      for (; g + 16 <= last; g += 16, r += 16) {
        v128.store(r, f32x4.mul(factor, f32x4.sub(v128.load(g), f32x4.mul(v128.load(r), sum))));
      }
      if (g < last) {
        const rest = <i32>(last - g) >> 2;
        storePartial(r, f32x4.mul(factor, f32x4.sub(loadPartial(g, rest), f32x4.mul(loadPartial(r, rest), sum))), rest);
      }
    } else {
      for (; g + 16 <= last; g += 16, y += 16, r += 16) {
        v128.store(r, f32x4.mul(f32x4.mul(factor, v128.load(y)), f32x4.sub(v128.load(g), sum)));
      }
      if (g < last) {
        const rest = <i32>(last - g) >> 2;
        storePartial(r, f32x4.mul(f32x4.mul(factor, loadPartial(y, rest)), f32x4.sub(loadPartial(g, rest), sum)), rest);
      }
    }
  }
}

/** output = (x - mean) * rstd * weight + bias. */
function writeNormalized(x: usize, weight: usize, bias: usize, output: usize, count: i32, mean: f32, rstd: f32): void {
  const m = f32x4.splat(mean);
  const s = f32x4.splat(rstd);
  const end = x + (<usize>count << 2);
  if (weight && bias) {
    for (; x + 16 <= end; x += 16, output += 16, weight += 16, bias += 16) {
      const normalized = f32x4.mul(f32x4.sub(v128.load(x), m), s);
      v128.store(output, f32x4.add(f32x4.mul(normalized, v128.load(weight)), v128.load(bias)));
    }
  } else if (weight) {
    for (; x + 16 <= end; x += 16, output += 16, weight += 16) {
      v128.store(output, f32x4.mul(f32x4.mul(f32x4.sub(v128.load(x), m), s), v128.load(weight)));
    }
  } else if (bias) {
    for (; x + 16 <= end; x += 16, output += 16, bias += 16) {
      v128.store(output, f32x4.add(f32x4.mul(f32x4.sub(v128.load(x), m), s), v128.load(bias)));
    }
  } else {
    for (; x + 16 <= end; x += 16, output += 16) v128.store(output, f32x4.mul(f32x4.sub(v128.load(x), m), s));
  }
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    let value = f32x4.mul(f32x4.sub(loadPartial(x, rest), m), s);
    if (weight) value = f32x4.mul(value, loadPartial(weight, rest));
    if (bias) value = f32x4.add(value, loadPartial(bias, rest));
    storePartial(output, value, rest);
  }
}

/** Layer normalization of rows; stores the mean and 1 / sqrt(variance + epsilon) of each. */
export function layerNorm(
  input: usize, weight: usize, bias: usize, epsilon: f64, output: usize, mean: usize, rstd: usize, columns: i32, begin: i32, end: i32,
): void {
  const rowBytes = <usize>columns << 2;
  const inverse = 1.0 / <f64>columns;
  for (let row = begin; row < end; row++) {
    const x = input + <usize>row * rowBytes;
    const m = <f32>(<f64>sumOfRow(x, columns) * inverse);
    const s = <f32>(1.0 / sqrt<f64>(<f64>sumOfSquares(x, columns, m) * inverse + epsilon));
    store<f32>(mean + (<usize>row << 2), m);
    store<f32>(rstd + (<usize>row << 2), s);
    writeNormalized(x, weight, bias, output + <usize>row * rowBytes, columns, m, s);
  }
}

/** Root-mean-square normalization of rows; stores 1 / sqrt(mean(x²) + epsilon) of each. */
export function rmsNorm(input: usize, weight: usize, epsilon: f64, output: usize, rstd: usize, columns: i32, begin: i32, end: i32): void {
  const rowBytes = <usize>columns << 2;
  const inverse = 1.0 / <f64>columns;
  for (let row = begin; row < end; row++) {
    const x = input + <usize>row * rowBytes;
    const s = <f32>(1.0 / sqrt<f64>(<f64>sumOfSquares(x, columns, 0.0) * inverse + epsilon));
    store<f32>(rstd + (<usize>row << 2), s);
    writeNormalized(x, weight, 0, output + <usize>row * rowBytes, columns, 0.0, s);
  }
}

/** accumulator += (x - mean) * rstd * gradient. */
function accumulateWeightGradient(accumulator: usize, x: usize, gradient: usize, count: i32, mean: f32, rstd: f32): void {
  const m = f32x4.splat(mean);
  const s = f32x4.splat(rstd);
  const end = x + (<usize>count << 2);
  for (; x + 16 <= end; x += 16, gradient += 16, accumulator += 16) {
    const normalized = f32x4.mul(f32x4.sub(v128.load(x), m), s);
    v128.store(accumulator, f32x4.add(v128.load(accumulator), f32x4.mul(normalized, v128.load(gradient))));
  }
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    const normalized = f32x4.mul(f32x4.sub(loadPartial(x, rest), m), s);
    storePartial(accumulator, f32x4.add(loadPartial(accumulator, rest), f32x4.mul(normalized, loadPartial(gradient, rest))), rest);
  }
}

/** accumulator += x. */
function accumulateRow(accumulator: usize, x: usize, count: i32): void {
  const end = x + (<usize>count << 2);
  for (; x + 16 <= end; x += 16, accumulator += 16) v128.store(accumulator, f32x4.add(v128.load(accumulator), v128.load(x)));
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    storePartial(accumulator, f32x4.add(loadPartial(accumulator, rest), loadPartial(x, rest)), rest);
  }
}

/** The four lanes of gradient * weight; `weight` 0 stands for ones. */
// @ts-ignore: decorator
@inline
function weighted(gradient: usize, weight: usize, i: usize): v128 {
  const g = v128.load(gradient + i);
  return weight ? f32x4.mul(g, v128.load(weight + i)) : g;
}

/**
 * result = rstd * (g w - mean(g w) - n mean(g w n)) with n = (x - mean) * rstd; without the second term unless `centred` (layer norm).
 * `centred` is a constant of the call.
 */
// @ts-ignore: decorator
@inline
function normInputGradient(g: usize, x: usize, weight: usize, result: usize, count: i32, mean: f32, rstd: f32, centred: boolean): void {
  const m = f32x4.splat(mean);
  const s = f32x4.splat(rstd);
  const bytes = <usize>count << 2;
  const whole = bytes & ~15;
  const rest = count & 3;
  let sum0 = f32x4.splat(0.0);
  let sum1 = sum0;
  let product0 = sum0;
  let product1 = sum0;
  let i: usize = 0;
  for (; i + 32 <= whole; i += 32) {
    const w0 = weighted(g, weight, i);
    const w1 = weighted(g, weight, i + 16);
    if (centred) {
      sum0 = f32x4.add(sum0, w0);
      sum1 = f32x4.add(sum1, w1);
      product0 = f32x4.add(product0, f32x4.mul(w0, f32x4.sub(v128.load(x + i), m)));
      product1 = f32x4.add(product1, f32x4.mul(w1, f32x4.sub(v128.load(x + i + 16), m)));
    } else {
      product0 = f32x4.add(product0, f32x4.mul(w0, v128.load(x + i)));
      product1 = f32x4.add(product1, f32x4.mul(w1, v128.load(x + i + 16)));
    }
  }
  if (i < whole) {
    const w = weighted(g, weight, i);
    sum0 = f32x4.add(sum0, w);
    product0 = f32x4.add(product0, f32x4.mul(w, f32x4.sub(v128.load(x + i), m)));
  }
  if (rest) {
    let w = loadPartial(g + whole, rest);
    if (weight) w = f32x4.mul(w, loadPartial(weight + whole, rest));
    sum1 = f32x4.add(sum1, w);
    product1 = f32x4.add(product1, v128.and(f32x4.mul(w, f32x4.sub(loadPartial(x + whole, rest), m)), partialLanes(rest)));
  }
  const inverse: f32 = <f32>1.0 / <f32>count;
  const meanGradient = f32x4.splat(centred ? sumLanes(f32x4.add(sum0, sum1)) * inverse : 0.0);
  const slope = f32x4.splat(sumLanes(f32x4.add(product0, product1)) * inverse * rstd * rstd);
  for (i = 0; i < whole; i += 16) {
    const w = weighted(g, weight, i);
    if (centred) {
      const d = f32x4.sub(v128.load(x + i), m);
      v128.store(result + i, f32x4.mul(s, f32x4.sub(f32x4.sub(w, meanGradient), f32x4.mul(d, slope))));
    } else {
      v128.store(result + i, f32x4.mul(s, f32x4.sub(w, f32x4.mul(v128.load(x + i), slope))));
    }
  }
  if (rest) {
    let w = loadPartial(g + whole, rest);
    if (weight) w = f32x4.mul(w, loadPartial(weight + whole, rest));
    const d = f32x4.sub(loadPartial(x + whole, rest), m);
    storePartial(result + whole, f32x4.mul(s, f32x4.sub(f32x4.sub(w, meanGradient), f32x4.mul(d, slope))), rest);
  }
}

/**
 * Gradients of `layerNorm`, in blocks of `rowsPerBlock` rows; [begin, end) counts blocks. Block b overwrites `columns` floats at
 * weightPartials + b * columns with its share of the weight gradient, and likewise for the bias; 0 = not wanted.
 */
export function layerNormGradient(
  gradient: usize, input: usize, weight: usize, mean: usize, rstd: usize, inputGradient: usize, weightPartials: usize, biasPartials: usize,
  rows: i32, columns: i32, rowsPerBlock: i32, begin: i32, end: i32,
): void {
  const rowBytes = <usize>columns << 2;
  for (let block = begin; block < end; block++) {
    const weightPartial = weightPartials ? weightPartials + <usize>block * rowBytes : 0;
    const biasPartial = biasPartials ? biasPartials + <usize>block * rowBytes : 0;
    if (weightPartial) memory.fill(weightPartial, 0, rowBytes);
    if (biasPartial) memory.fill(biasPartial, 0, rowBytes);
    const last = min(rows, (block + 1) * rowsPerBlock);
    for (let row = block * rowsPerBlock; row < last; row++) {
      const offset = <usize>row * rowBytes;
      const m = load<f32>(mean + (<usize>row << 2));
      const s = load<f32>(rstd + (<usize>row << 2));
      normInputGradient(gradient + offset, input + offset, weight, inputGradient + offset, columns, m, s, true);
      if (weightPartial) accumulateWeightGradient(weightPartial, input + offset, gradient + offset, columns, m, s);
      if (biasPartial) accumulateRow(biasPartial, gradient + offset, columns);
    }
  }
}

/** Gradients of `rmsNorm`, in blocks as for `layerNormGradient`. */
export function rmsNormGradient(
  gradient: usize, input: usize, weight: usize, rstd: usize, inputGradient: usize, weightPartials: usize,
  rows: i32, columns: i32, rowsPerBlock: i32, begin: i32, end: i32,
): void {
  const rowBytes = <usize>columns << 2;
  for (let block = begin; block < end; block++) {
    const weightPartial = weightPartials ? weightPartials + <usize>block * rowBytes : 0;
    if (weightPartial) memory.fill(weightPartial, 0, rowBytes);
    const last = min(rows, (block + 1) * rowsPerBlock);
    for (let row = block * rowsPerBlock; row < last; row++) {
      const offset = <usize>row * rowBytes;
      const s = load<f32>(rstd + (<usize>row << 2));
      normInputGradient(gradient + offset, input + offset, weight, inputGradient + offset, columns, 0.0, s, false);
      if (weightPartial) accumulateWeightGradient(weightPartial, input + offset, gradient + offset, columns, 0.0, s);
    }
  }
}

/** output[c] = Σ_b partials[b, c] in order of b; [begin, end) counts columns. */
export function sumPartials(partials: usize, blocks: i32, columns: i32, output: usize, begin: i32, end: i32): void {
  const bytes = <usize>(end - begin) << 2;
  let from = partials + (<usize>begin << 2);
  const to = output + (<usize>begin << 2);
  memory.copy(to, from, bytes);
  for (let block = 1; block < blocks; block++) {
    from += <usize>columns << 2;
    accumulateRow(to, from, end - begin);
  }
}

/** Losses and log-sum-exps of rows of logits; see `crossEntropy` in the backend contract. A target outside the row gives NaN. */
export function crossEntropy(
  logits: usize, targets: usize, losses: usize, logSumExp: usize, columns: i32, ignoreIndex: i32, labelSmoothing: f32, begin: i32, end: i32,
): void {
  for (let row = begin; row < end; row++) {
    const x = logits + (<usize>row * <usize>columns << 2);
    const target = load<i32>(targets + (<usize>row << 2));
    let maximum: f32 = -Infinity;
    let base: f32 = 0.0;
    let sum: f64 = 0.0;
    let total: f64 = 0.0;
    // One pass over memory: each chunk is read twice from the cache, and the sum rescaled when the maximum rises.
    for (let c = 0; c < columns; c += LOSS_CHUNK) {
      const count = min(LOSS_CHUNK, columns - c);
      const chunk = x + (<usize>c << 2);
      const chunkMaximum = maximumOfRow(chunk, count, 1.0);
      if (chunkMaximum > maximum) {
        sum *= <f64>powerOfTwoOf((maximum - chunkMaximum) * LOG2E);
        maximum = chunkMaximum;
        base = chunkMaximum;
      }
      sum += <f64>sumOfExponentials(chunk, count, 1.0, base);
      if (labelSmoothing > 0.0) total += <f64>sumOfRow(chunk, count);
    }
    const logarithm = logF32(<f32>sum);
    store<f32>(logSumExp + (<usize>row << 2), base + logarithm);
    let loss: f32 = 0.0;
    if (target != ignoreIndex) {
      if (<u32>target >= <u32>columns) loss = NaN;
      else {
        const logit = load<f32>(x + (<usize>target << 2));
        // Differences first: large logits keep their digits.
        loss = logarithm + (<f32>1.0 - labelSmoothing) * (base - logit);
        if (labelSmoothing > 0.0) loss += labelSmoothing * <f32>(<f64>base - total / <f64>columns);
      }
    }
    store<f32>(losses + (<usize>row << 2), loss);
  }
}

/** x = factor * (x - shift), in place. */
function shiftAndScaleRow(x: usize, count: i32, shift: f32, factor: f32): void {
  const s = f32x4.splat(shift);
  const f = f32x4.splat(factor);
  const end = x + (<usize>count << 2);
  for (; x + 16 <= end; x += 16) v128.store(x, f32x4.mul(f, f32x4.sub(v128.load(x), s)));
  if (x < end) {
    const rest = <i32>(end - x) >> 2;
    storePartial(x, f32x4.mul(f, f32x4.sub(loadPartial(x, rest), s)), rest);
  }
}

/** result[r, c] = gradient[r] * (p[c] - (1 - s) [c = target] - s / columns); zeros for ignored rows, NaN for a target outside the row. */
export function crossEntropyGradient(
  gradient: usize, logits: usize, targets: usize, logSumExp: usize, result: usize, columns: i32, ignoreIndex: i32, labelSmoothing: f32,
  begin: i32, end: i32,
): void {
  const rowBytes = <usize>columns << 2;
  const floor = labelSmoothing / <f32>columns;
  for (let row = begin; row < end; row++) {
    const index = <usize>row << 2;
    const y = result + <usize>row * rowBytes;
    const target = load<i32>(targets + index);
    if (target == ignoreIndex) {
      memory.fill(y, 0, rowBytes);
      continue;
    }
    const x = logits + <usize>row * rowBytes;
    const known = <u32>target < <u32>columns;
    const g: f32 = known ? load<f32>(gradient + index) : NaN;
    const base = load<f32>(logSumExp + index);
    for (let c = 0; c < columns; c += LOSS_CHUNK) {
      const count = min(LOSS_CHUNK, columns - c);
      const chunk = <usize>c << 2;
      exponentialsOfRow(x + chunk, y + chunk, count, 1.0, base);
      shiftAndScaleRow(y + chunk, count, floor, g);
    }
    const hit = y + (<usize>target << 2);
    if (known) store<f32>(hit, load<f32>(hit) - g * (<f32>1.0 - labelSmoothing));
  }
}

/** output = silu(gate) * up; [begin, end) counts elements. */
export function swiglu(gate: usize, up: usize, output: usize, begin: i32, end: i32): void {
  const least = POWER_LEAST;
  const most = POWER_MOST;
  const round = POWER_ROUND;
  const one = ONE;
  const c1 = POWER_1;
  const c2 = POWER_2;
  const c3 = POWER_3;
  const c4 = POWER_4;
  const c5 = POWER_5;
  const base = f32x4.neg(LOG2_E);
  const last = <usize>end << 2;
  let i = <usize>begin << 2;
  for (; i + 16 <= last; i += 16) {
    const x = v128.load(gate + i);
    const e = powerOfTwo(f32x4.pmin(f32x4.mul(x, base), most), least, round, one, c1, c2, c3, c4, c5);
    v128.store(output + i, f32x4.div(f32x4.mul(x, v128.load(up + i)), f32x4.add(one, e)));
  }
  if (i < last) {
    const rest = <i32>(last - i) >> 2;
    const x = loadPartial(gate + i, rest);
    const e = powerOfTwo(f32x4.pmin(f32x4.mul(x, base), most), least, round, one, c1, c2, c3, c4, c5);
    storePartial(output + i, f32x4.div(f32x4.mul(x, loadPartial(up + i, rest)), f32x4.add(one, e)), rest);
  }
}

/** gateGradient = g u s (1 + x (1 - s)) and upGradient = g x s, with s = sigmoid(x) of the gate x; [begin, end) counts elements. */
export function swigluGradient(
  gradient: usize, gate: usize, up: usize, gateGradient: usize, upGradient: usize, begin: i32, end: i32,
): void {
  const least = POWER_LEAST;
  const most = POWER_MOST;
  const round = POWER_ROUND;
  const one = ONE;
  const c1 = POWER_1;
  const c2 = POWER_2;
  const c3 = POWER_3;
  const c4 = POWER_4;
  const c5 = POWER_5;
  const base = f32x4.neg(LOG2_E);
  const last = <usize>end << 2;
  for (let i = <usize>begin << 2; i < last; i += 16) {
    const rest = <i32>(last - i) >> 2;
    const full = rest >= 4;
    const x = full ? v128.load(gate + i) : loadPartial(gate + i, rest);
    const e = powerOfTwo(f32x4.pmin(f32x4.mul(x, base), most), least, round, one, c1, c2, c3, c4, c5);
    const s = f32x4.div(one, f32x4.add(one, e));
    const g = full ? v128.load(gradient + i) : loadPartial(gradient + i, rest);
    const u = full ? v128.load(up + i) : loadPartial(up + i, rest);
    const gs = f32x4.mul(g, s);
    const forGate = f32x4.mul(f32x4.mul(gs, u), f32x4.add(one, f32x4.mul(x, f32x4.sub(one, s))));
    const forUp = f32x4.mul(gs, x);
    if (full) {
      v128.store(gateGradient + i, forGate);
      v128.store(upGradient + i, forUp);
    } else {
      storePartial(gateGradient + i, forGate, rest);
      storePartial(upGradient + i, forUp, rest);
    }
  }
}

/**
 * Rotary position embedding of tokens [batch * sequence, heads, headDim]; [begin, end) counts tokens. `cosine` and `sine` [tableRows,
 * rotaryDim / 2]; `direction` is 1, or -1 for the inverse. A position outside the table gives NaN.
 */
export function rotaryEmbedding(
  input: usize, output: usize, cosine: usize, sine: usize, positions: usize, positionOffset: i32, tableRows: i32,
  sequence: i32, heads: i32, headDim: i32, rotaryDim: i32, interleaved: i32, direction: f32, begin: i32, end: i32,
): void {
  const half = rotaryDim >> 1;
  const headBytes = <usize>headDim << 2;
  const halfBytes = <usize>half << 2;
  const signs = f32x4.mul(f32x4(-1.0, 1.0, -1.0, 1.0), f32x4.splat(direction));
  for (let token = begin; token < end; token++) {
    const s = token % sequence;
    const position = positions ? load<i32>(positions + (<usize>s << 2)) : positionOffset + s;
    let x = input + <usize>token * <usize>heads * headBytes;
    let y = output + <usize>token * <usize>heads * headBytes;
    const known = <u32>position < <u32>tableRows;
    const c = cosine + <usize>position * halfBytes;
    const d = sine + <usize>position * halfBytes;
    for (let head = 0; head < heads; head++, x += headBytes, y += headBytes) {
      if (!known) {
        for (let i: usize = 0; i < <usize>rotaryDim << 2; i += 4) store<f32>(y + i, NaN);
      } else if (interleaved) {
        let i: usize = 0;
        for (; i + 8 <= halfBytes; i += 8) {
          const v = v128.load(x + 2 * i);
          const cc = v128.load64_zero(c + i);
          const ss = v128.load64_zero(d + i);
          const turned = f32x4.mul(v128.shuffle<i32>(v, v, 1, 0, 3, 2), f32x4.mul(v128.shuffle<i32>(ss, ss, 0, 0, 1, 1), signs));
          v128.store(y + 2 * i, f32x4.add(f32x4.mul(v, v128.shuffle<i32>(cc, cc, 0, 0, 1, 1)), turned));
        }
        if (i < halfBytes) {
          const a = load<f32>(x + 2 * i);
          const b = load<f32>(x + 2 * i, 4);
          const cc = load<f32>(c + i);
          const ss = load<f32>(d + i) * direction;
          store<f32>(y + 2 * i, a * cc - b * ss);
          store<f32>(y + 2 * i, b * cc + a * ss, 4);
        }
      } else {
        const sign = f32x4.splat(direction);
        let i: usize = 0;
        for (; i + 16 <= halfBytes; i += 16) {
          const a = v128.load(x + i);
          const b = v128.load(x + halfBytes + i);
          const cc = v128.load(c + i);
          const ss = f32x4.mul(v128.load(d + i), sign);
          v128.store(y + i, f32x4.sub(f32x4.mul(a, cc), f32x4.mul(b, ss)));
          v128.store(y + halfBytes + i, f32x4.add(f32x4.mul(b, cc), f32x4.mul(a, ss)));
        }
        for (; i < halfBytes; i += 4) {
          const a = load<f32>(x + i);
          const b = load<f32>(x + halfBytes + i);
          const cc = load<f32>(c + i);
          const ss = load<f32>(d + i) * direction;
          store<f32>(y + i, a * cc - b * ss);
          store<f32>(y + halfBytes + i, b * cc + a * ss);
        }
      }
      if (rotaryDim < headDim) memory.copy(y + (<usize>rotaryDim << 2), x + (<usize>rotaryDim << 2), headBytes - (<usize>rotaryDim << 2));
    }
  }
}
