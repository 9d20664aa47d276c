import { Generator } from "@frugal/tensor-core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawToken } from "./draw-token.ts";

/** The same choice by sorting everything: which tokens may be drawn. */
function allowed(probabilities: Float32Array, topK: number, topP: number): Set<number> {
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]! || a - b).slice(0, topK);
  const total = order.reduce((sum, id) => sum + probabilities[id]!, 0);
  const kept = new Set<number>();
  let reached = 0;
  for (const id of order) {
    kept.add(id);
    reached += probabilities[id]!;
    if (reached >= topP * total) break;
  }
  return kept;
}

describe("drawToken", () => {
  it("draws every allowed token and no other, whatever k and p", () => {
    const probability = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.double({ min: 0.001, max: 1, noNaN: true }));
    fc.assert(
      fc.property(
        fc.array(probability, { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 45 }),
        fc.oneof(fc.constant(1), fc.double({ min: 0.01, max: 1, noNaN: true })),
        (values, topK, topP) => {
          const probabilities = Float32Array.from(values);
          fc.pre(probabilities.some((value) => value > 0));
          const kept = allowed(probabilities, topK, topP);
          const total = [...kept].reduce((sum, id) => sum + probabilities[id]!, 0);
          const drawn = new Set<number>();
          for (let i = 0; i < 400; i++) drawn.add(drawToken(probabilities, i / 400, { topK, topP }));
          for (const id of drawn) expect(kept).toContain(id);
          // Every share of more than two draws' width has to be hit.
          for (const id of kept) if (probabilities[id]! / total > 2 / 400) expect(drawn).toContain(id);
          expect([...drawn].every((id) => probabilities[id]! > 0)).toBe(true);
        },
      ),
    );
  });

  it("follows the probabilities (chi-square of 20,000 seeded draws)", () => {
    const probabilities = Float32Array.of(0.4, 0.05, 0.25, 0.1, 0, 0.2);
    const random = new Generator(11);
    const count = 20_000;
    const observed = new Array<number>(6).fill(0);
    for (let i = 0; i < count; i++) observed[drawToken(probabilities, random.next(), { topP: 1 })]!++;
    expect(observed[4]).toBe(0);
    const chiSquare = observed.reduce((sum, n, id) => {
      const expected = count * probabilities[id]!;
      return expected === 0 ? sum : sum + (n - expected) ** 2 / expected;
    }, 0);
    // 99.9th percentile with 4 degrees of freedom; a uniform draw would give some 8,000.
    expect(chiSquare).toBeLessThan(18.47);
  });

  it("takes the first of equals at the edge of top-k and the last token for a draw just below 1", () => {
    const equal = Float32Array.of(0.25, 0.25, 0.25, 0.25);
    const drawn = new Set(Array.from({ length: 100 }, (_, i) => drawToken(equal, i / 100, { topK: 2, topP: 1 })));
    expect([...drawn]).toEqual([0, 1]);
    expect(drawToken(equal, 1 - 2 ** -24, { topP: 1 })).toBe(3);
    expect(drawToken(Float32Array.of(1, 0), 1 - 2 ** -24, { topP: 1 })).toBe(0);
    expect(drawToken(Float32Array.of(1), 0.5, { topK: 1, topP: 0.5 })).toBe(0);
  });

  it("selects from a vocabulary of 32,000", () => {
    const random = new Generator(2);
    const probabilities = Float32Array.from({ length: 32_000 }, () => random.next() ** 8);
    const kept = allowed(probabilities, 40, 1);
    for (let i = 0; i < 50; i++) expect(kept).toContain(drawToken(probabilities, i / 50, { topK: 40, topP: 1 }));
  });
});
