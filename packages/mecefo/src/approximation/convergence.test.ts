import { keep, tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { rightSingularBasis } from "./right-singular-basis.ts";

/*
 * Theorem 1 and corollary 1 of the paper on a problem whose constants are known: fit W [m, n] to a teacher, y = W* x + noise, f(W) = E‖W
 * x - y‖² / 2, x normal with covariance Σ, and a vector v to a mean, as what a mixer has. One pipeline of n is degraded throughout: its
 * gradient of W goes through V₁ of W, taken every τ steps, and the gradient of v is averaged over the others. Momentum as in the theorem,
 * m = β₁ m + (1 - β₁) g.
 */
const [m, n, rank, interval] = [4, 6, 3, 100];
const variances = [1, 1, 0.8, 0.8, 0.6, 0.6];
const smoothness = 1;
const noise = 1;
const start = 0.05;

/** Of single ranks: one sample each, at the optimum. */
const variance = noise ** 2 * (m * variances.reduce((sum, value) => sum + value, 0) + m);

/** Normal numbers by Box and Muller on mulberry32. */
function normals(seed: number): () => number {
  let state = (seed * 2654435761 + 1) >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

interface Outcome {
  /** Mean over the steps of ‖∇f‖². */
  readonly meanSquaredGradient: number;
  /** What theorem 1 says it is at most. */
  readonly bound: number;
  /** Largest relative ‖E[g] - ∇f‖² met: assumption 3's second half. */
  readonly largestBias: number;
  readonly momentum: number;
}

async function train(pipelines: number, steps: number, delta: number, seed: number): Promise<Outcome> {
  const next = normals(seed);
  // The gap to the teacher, which stands at random weights: V₁ is of the weights, not of the gap.
  const teacher = Float64Array.from({ length: m * n }, next);
  const gap = Float64Array.from({ length: m * n }, () => start * next());
  const vectorGap = Float64Array.from({ length: m }, () => start * next());
  const [momentumOfW, momentumOfV] = [new Float64Array(m * n), new Float64Array(m)];
  const fullGradient = (): Float64Array => gap.map((value, i) => value * variances[i % n]!);
  const squared = (values: Float64Array): number => values.reduce((sum, value) => sum + value * value, 0);
  const distance = (gap.reduce((sum, value, i) => sum + variances[i % n]! * value * value, 0) + squared(vectorGap)) / 2;
  // With m(0) = (1 - β₁) g(0), what is left of ∇f(w(0)) is nearly all of it.
  const firstGradient = squared(fullGradient()) + squared(vectorGap) + variance / pipelines;
  const scale = smoothness * distance + delta * firstGradient;
  const oneMinusMomentum = 1 / (24 / delta + Math.sqrt((Math.sqrt(delta) * (steps + 1) * variance) / (pipelines * scale)));
  const rate = 1 / (2 * smoothness + Math.sqrt((8 * smoothness ** 2) / (delta * oneMinusMomentum ** 2)));
  expect(oneMinusMomentum).toBeLessThan(delta / (24 - 12 * delta));

  let basis: Float32Array = new Float32Array();
  let [total, largestBias] = [0, 0];
  const matrix = (): Float64Array => new Float64Array(m * n);
  const [full, through, sample, ofW] = [matrix(), matrix(), matrix(), matrix()];
  const [ofV, x] = [new Float64Array(m), new Float64Array(n)];
  for (let step = 0; step < steps; step++) {
    if (step % interval === 0) {
      const weight = keep(tensor(Float32Array.from(teacher, (value, i) => value + gap[i]!), [m, n]));
      using vectors = await rightSingularBasis(weight, rank, { method: "exact" });
      weight.dispose();
      basis = await vectors.data("float32");
    }
    const project = (gradient: Float64Array, result: Float64Array): void => {
      result.fill(0);
      for (let row = 0; row < m; row++) {
        for (let k = 0; k < rank; k++) {
          let part = 0;
          for (let i = 0; i < n; i++) part += gradient[row * n + i]! * basis[i * rank + k]!;
          for (let i = 0; i < n; i++) result[row * n + i]! += part * basis[i * rank + k]!;
        }
      }
    };
    let [fullSquared, bias] = [squared(vectorGap), 0];
    for (let i = 0; i < m * n; i++) full[i] = gap[i]! * variances[i % n]!;
    fullSquared += squared(full);
    project(full, through);
    for (let i = 0; i < m * n; i++) bias += ((through[i]! - full[i]!) / pipelines) ** 2;
    total += fullSquared;
    largestBias = Math.max(largestBias, bias / fullSquared);

    ofW.fill(0);
    ofV.fill(0);
    for (let pipeline = 0; pipeline < pipelines; pipeline++) {
      for (let i = 0; i < n; i++) x[i] = Math.sqrt(variances[i]!) * next();
      for (let row = 0; row < m; row++) {
        let error = noise * next();
        for (let i = 0; i < n; i++) error += gap[row * n + i]! * x[i]!;
        for (let i = 0; i < n; i++) sample[row * n + i] = error * x[i]!;
      }
      const isDegraded = pipeline === 0;
      if (isDegraded) project(sample, through);
      for (let i = 0; i < m * n; i++) ofW[i]! += (isDegraded ? through : sample)[i]! / pipelines;
      if (!isDegraded) for (let row = 0; row < m; row++) ofV[row]! += (vectorGap[row]! + noise * next()) / (pipelines - 1);
    }
    for (const [values, velocity, gradient] of [[gap, momentumOfW, ofW], [vectorGap, momentumOfV, ofV]] as const) {
      for (let i = 0; i < values.length; i++) {
        velocity[i] = (1 - oneMinusMomentum) * velocity[i]! + oneMinusMomentum * gradient[i]!;
        values[i]! -= rate * velocity[i]!;
      }
    }
  }
  const bound = (8 * distance) / (delta * rate * (steps + 1)) + (8 * firstGradient) / (delta * oneMinusMomentum * (steps + 1))
    + (24 * oneMinusMomentum * variance) / (delta * pipelines);
  return { meanSquaredGradient: total / steps, bound, largestBias, momentum: 1 - oneMinusMomentum };
}

/** Mean over a few runs. */
async function meanOf(pipelines: number, steps: number, delta: number): Promise<number> {
  let sum = 0;
  for (const seed of [1, 2]) {
    const { meanSquaredGradient, bound, largestBias, momentum } = await train(pipelines, steps, delta, seed);
    expect(meanSquaredGradient).toBeLessThan(bound);
    expect(largestBias).toBeLessThan(1 - delta);
    expect(momentum).toBeGreaterThan(0.9);
    sum += meanSquaredGradient / 2;
  }
  return sum;
}

describe("momentum SGD with one degraded pipeline, in the theorem's range", () => {
  it("converges as 1 / √(nT), below the theorem's bound", async () => {
    const delta = 0.6;
    const [short, long, wide] = [await meanOf(4, 1_500, delta), await meanOf(4, 24_000, delta), await meanOf(16, 6_000, delta)];
    // Sixteen times the steps, or four times the steps and four times the pipelines: a quarter of the error.
    expect(short / long).toBeGreaterThan(2.8);
    expect(short / long).toBeLessThan(8);
    expect(short / wide).toBeGreaterThan(2.8);
    expect(short / wide).toBeLessThan(8);
  });
});
