import type { Kernels, TensorView } from "../backend.ts";
import { load, store } from "./access.ts";

/** Softmax, normalisations and losses over rows. */
export const rowKernels: Pick<
  Kernels,
  | "softmax"
  | "softmaxGradient"
  | "layerNorm"
  | "layerNormGradient"
  | "rmsNorm"
  | "rmsNormGradient"
  | "crossEntropy"
  | "crossEntropyGradient"
> = {
  softmax({ input, output, rows, columns, scale, mask, logarithm }) {
    const added = mask && load(mask);
    const scores = load(input).map((value, i) => scale * value + (added?.[i] ?? 0));
    const result = new Float64Array(scores.length);
    for (let r = 0; r < rows; r++) {
      const row = scores.subarray(r * columns, (r + 1) * columns);
      logSoftmaxOf(row).forEach((logProbability, c) => {
        result[r * columns + c] = logarithm ? logProbability : Math.exp(logProbability);
      });
    }
    store(output, result);
  },

  // y = softmax(s x): ∂L/∂x_c = s y_c (g_c - Σ g y);  y = log softmax(s x): ∂L/∂x_c = s (g_c - e^{y_c} Σ g).
  softmaxGradient({ gradient, output, result, rows, columns, scale, logarithm }) {
    const g = load(gradient);
    const y = load(output);
    const values = new Float64Array(g.length);
    for (let r = 0; r < rows; r++) {
      let total = 0;
      for (let i = r * columns; i < (r + 1) * columns; i++) total += logarithm ? g[i]! : g[i]! * y[i]!;
      for (let i = r * columns; i < (r + 1) * columns; i++) {
        values[i] = scale * (logarithm ? g[i]! - Math.exp(y[i]!) * total : y[i]! * (g[i]! - total));
      }
    }
    store(result, values);
  },

  layerNorm({ input, weight, bias, epsilon, output, mean, rstd, rows, columns }) {
    const x = load(input);
    const w = weight && load(weight);
    const b = bias && load(bias);
    const means = new Float64Array(rows);
    const rstds = new Float64Array(rows);
    const result = new Float64Array(x.length);
    for (let r = 0; r < rows; r++) {
      const row = x.subarray(r * columns, (r + 1) * columns);
      const average = row.reduce((sum, value) => sum + value, 0) / columns;
      const variance = row.reduce((sum, value) => sum + (value - average) ** 2, 0) / columns;
      means[r] = average;
      rstds[r] = 1 / Math.sqrt(variance + epsilon);
      row.forEach((value, c) => (result[r * columns + c] = (value - average) * rstds[r]! * (w?.[c] ?? 1) + (b?.[c] ?? 0)));
    }
    store(output, result);
    store(mean, means);
    store(rstd, rstds);
  },

  // With x̂ = (x - mean) rstd and h = g w: ∂L/∂x = rstd (h - mean(h) - x̂ mean(h x̂)); ∂L/∂w = Σ_rows g x̂; ∂L/∂b = Σ_rows g.
  layerNormGradient({ gradient, input, weight, mean, rstd, rows, columns, inputGradient, weightGradient, biasGradient }) {
    const g = load(gradient);
    const x = load(input);
    const w = weight && load(weight);
    const means = load(mean);
    const rstds = load(rstd);
    const result = new Float64Array(x.length);
    const weightSum = new Float64Array(columns);
    const biasSum = new Float64Array(columns);
    for (let r = 0; r < rows; r++) {
      const normalized = (c: number): number => (x[r * columns + c]! - means[r]!) * rstds[r]!;
      const scaled = (c: number): number => g[r * columns + c]! * (w?.[c] ?? 1);
      let meanScaled = 0;
      let meanProduct = 0;
      for (let c = 0; c < columns; c++) {
        meanScaled += scaled(c) / columns;
        meanProduct += (scaled(c) * normalized(c)) / columns;
        weightSum[c]! += g[r * columns + c]! * normalized(c);
        biasSum[c]! += g[r * columns + c]!;
      }
      for (let c = 0; c < columns; c++) result[r * columns + c] = rstds[r]! * (scaled(c) - meanScaled - normalized(c) * meanProduct);
    }
    store(inputGradient, result);
    storeOptional(weightGradient, weightSum);
    storeOptional(biasGradient, biasSum);
  },

  rmsNorm({ input, weight, epsilon, output, rstd, rows, columns }) {
    const x = load(input);
    const w = weight && load(weight);
    const rstds = new Float64Array(rows);
    const result = new Float64Array(x.length);
    for (let r = 0; r < rows; r++) {
      const row = x.subarray(r * columns, (r + 1) * columns);
      const meanSquare = row.reduce((sum, value) => sum + value * value, 0) / columns;
      rstds[r] = 1 / Math.sqrt(meanSquare + epsilon);
      row.forEach((value, c) => (result[r * columns + c] = value * rstds[r]! * (w?.[c] ?? 1)));
    }
    store(output, result);
    store(rstd, rstds);
  },

  // With h = g w: ∂L/∂x = rstd h - x rstd³ mean(h x); ∂L/∂w = Σ_rows g x rstd.
  rmsNormGradient({ gradient, input, weight, rstd, rows, columns, inputGradient, weightGradient }) {
    const g = load(gradient);
    const x = load(input);
    const w = weight && load(weight);
    const rstds = load(rstd);
    const result = new Float64Array(x.length);
    const weightSum = new Float64Array(columns);
    for (let r = 0; r < rows; r++) {
      const scaled = (c: number): number => g[r * columns + c]! * (w?.[c] ?? 1);
      let meanProduct = 0;
      for (let c = 0; c < columns; c++) {
        meanProduct += (scaled(c) * x[r * columns + c]!) / columns;
        weightSum[c]! += g[r * columns + c]! * x[r * columns + c]! * rstds[r]!;
      }
      for (let c = 0; c < columns; c++)
        result[r * columns + c] = rstds[r]! * scaled(c) - x[r * columns + c]! * rstds[r]! ** 3 * meanProduct;
    }
    store(inputGradient, result);
    storeOptional(weightGradient, weightSum);
  },

  crossEntropy({ logits, targets, losses, logSumExp, rows, columns, ignoreIndex, labelSmoothing }) {
    const x = load(logits);
    const target = load(targets);
    const result = new Float64Array(rows);
    const totals = new Float64Array(rows);
    for (let r = 0; r < rows; r++) {
      const row = x.subarray(r * columns, (r + 1) * columns);
      totals[r] = logSumExpOf(row);
      if (target[r] === ignoreIndex) continue;
      const logProbabilities = logSoftmaxOf(row);
      // NaN for a target outside: callers check, and silence here would hide that one did not.
      const logProbability = logProbabilities[target[r]!] ?? NaN;
      const logSum = logProbabilities.reduce((sum, value) => sum + value, 0);
      result[r] = -(1 - labelSmoothing) * logProbability - (labelSmoothing === 0 ? 0 : (labelSmoothing / columns) * logSum);
    }
    store(losses, result);
    store(logSumExp, totals);
  },

  // ∂loss/∂logit_c = p_c - (1 - s) [c = target] - s / columns.
  crossEntropyGradient({ gradient, logits, targets, logSumExp, result, rows, columns, ignoreIndex, labelSmoothing }) {
    const g = load(gradient);
    const x = load(logits);
    const target = load(targets);
    const totals = load(logSumExp);
    const values = new Float64Array(x.length);
    for (let r = 0; r < rows; r++) {
      if (target[r] === ignoreIndex) continue;
      for (let c = 0; c < columns; c++) {
        const probability = Math.exp(x[r * columns + c]! - totals[r]!);
        values[r * columns + c] = g[r]! * (probability - (c === target[r] ? 1 - labelSmoothing : 0) - labelSmoothing / columns);
      }
    }
    store(result, values);
  },
};

/**
 * x - ln Σ e^x. All -Infinity where every x is: a row that sees nothing, with probabilities 0. NaN where an x is +Infinity. The largest x
 * is
 * subtracted before the logarithm of the sum, which it would swallow when large.
 */
export function logSoftmaxOf(values: Float64Array): Float64Array {
  const { largest, logarithm } = logSumOf(values);
  return values.map((value) => (largest === -Infinity ? -Infinity : value - largest - logarithm));
}

/** ln Σ e^x; -Infinity and NaN as for `logSoftmaxOf`. */
export function logSumExpOf(values: Float64Array): number {
  const { largest, logarithm } = logSumOf(values);
  return largest === -Infinity ? -Infinity : largest + logarithm;
}

function logSumOf(values: Float64Array): { largest: number; logarithm: number } {
  const largest = values.reduce((best, value) => Math.max(best, value), -Infinity);
  return { largest, logarithm: Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0)) };
}

function storeOptional(view: TensorView | undefined, values: Float64Array): void {
  if (view) store(view, values);
}
