import { Generator, matmul, memory, tidy, type Tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { relativeSquaredError } from "./gradient-error.ts";
import { exactWeightGradient, lowRankWeightGradient, projectInputs } from "./low-rank-gradient.ts";
import { rightSingularBasis } from "./right-singular-basis.ts";

const [tokens, inputs, outputs] = [50, 24, 36];

/** A gradient's two factors, with a spectrum that falls, and a weight. */
function example(): { x: Tensor; dy: Tensor; weight: Tensor } {
  const generator = new Generator(3);
  return tidy(() => {
    const spread = generator.normal([inputs, inputs]).multiply(generator.uniform([inputs], 0.05, 1));
    const x = matmul(generator.normal([tokens, inputs]), spread);
    return { x, dy: generator.normal([tokens, outputs]), weight: generator.normal([outputs, inputs]) };
  });
}

const squaredNorm = (values: Float32Array): number => values.reduce((sum, value) => sum + value * value, 0);

async function lowRank({ x, dy }: { x: Tensor; dy: Tensor }, basis: Tensor): Promise<Float32Array> {
  using gradient = tidy(() => lowRankWeightGradient(dy, projectInputs(x, basis), basis));
  return await gradient.data("float32");
}

describe("low-rank weight gradients", () => {
  it.each(["subspace", "exact"] as const)("keep the identities of a projection (%s)", async (method) => {
    const before = memory().allocations;
    const { x, dy, weight } = example();
    using exact = exactWeightGradient(dy, x);
    const whole = await exact.data("float32");
    for (const source of [weight, x, exact]) {
      let least = Infinity;
      for (const rank of [1, 3, 6, 12, 18, inputs]) {
        using basis = await rightSingularBasis(source, rank, { method, iterations: 12 });
        const estimate = await lowRank({ x, dy }, basis);
        const error = relativeSquaredError([[estimate, whole]]);
        // Pythagoras: ‖G - Ĝ‖² + ‖Ĝ‖² = ‖G‖².
        expect(error + squaredNorm(estimate) / squaredNorm(whole)).toBeCloseTo(1, 4);
        // A projection done twice is the projection.
        using again = tidy(() => matmul(matmul(lowRankWeightGradient(dy, projectInputs(x, basis), basis), basis), basis.transpose()));
        expect(relativeSquaredError([[await again.data("float32"), estimate]])).toBeLessThan(1e-9);
        if (method === "exact" || source === exact) expect(error).toBeLessThan(least + 1e-6);
        least = error;
      }
      // Full rank leaves nothing out.
      expect(least).toBeLessThan(1e-9);
    }
    for (const made of [x, dy, weight]) made.dispose();
    exact.dispose();
    expect(memory().allocations).toBe(before);
  });

  it("are best through the gradient's own vectors, and as good as chance through unrelated ones", async () => {
    const { x, dy } = example();
    const generator = new Generator(9);
    using exact = exactWeightGradient(dy, x);
    const whole = await exact.data("float32");
    const errorThrough = async (source: Tensor): Promise<number> => {
      using basis = await rightSingularBasis(source, 6);
      return relativeSquaredError([[await lowRank({ x, dy }, basis), whole]]);
    };
    const own = await errorThrough(exact);
    expect(own).toBeLessThan(await errorThrough(x));
    let unrelated = 0;
    for (let i = 0; i < 20; i++) {
      using random = generator.normal([40, inputs]);
      unrelated += await errorThrough(random) / 20;
    }
    expect(own).toBeLessThan(unrelated);
    expect(Math.abs(unrelated - (1 - 6 / inputs))).toBeLessThan(0.1);
    for (const made of [x, dy]) made.dispose();
  });
});
