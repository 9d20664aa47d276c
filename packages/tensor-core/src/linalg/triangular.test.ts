import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diagonal, eye, memory, scope, ShapeError, tensor, transpose, tril, triu, type Tensor } from "../index.ts";
import { cholesky, LinalgError, solveTriangular } from "./index.ts";

const before = memory().allocations;

function random(shape: readonly number[], seed: number): Tensor<"cpu"> {
  let state = seed;
  const size = shape.reduce((product, length) => product * length, 1);
  return tensor(
    Float32Array.from({ length: size }, () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) / 2 ** 31),
    shape,
  );
}

function distance(a: Tensor<"cpu">, b: Tensor<"cpu">): number {
  expect(a.shape).toEqual(b.shape);
  const expected = b.dataSync();
  return (a.dataSync() as Float32Array).reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
}

describe("solveTriangular", () => {
  it("solves what was multiplied, for both triangles on both sides, whatever the other triangle holds", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom([], [1], [2, 2]),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 9 }),
        fc.boolean(),
        fc.constantFrom("left" as const, "right" as const),
        fc.nat(1e6),
        async (batch, n, k, upper, side, seed) => {
          using _ = scope();
          const full = random([...batch, n, n], seed).add(eye(n).multiply(4));
          const a = upper ? triu(full) : tril(full);
          const x = random(side === "left" ? [...batch, n, k] : [...batch, k, n], seed + 1);
          const b = side === "left" ? a.matmul(x) : x.matmul(a);
          expect(distance(await solveTriangular(full, b, { upper, side }), x)).toBeLessThan(2e-5);
        },
      ),
      { numRuns: 60 },
    );
  });

  it("undoes a Cholesky factor", async () => {
    using _ = scope();
    const n = 90;
    const half = random([n, 2 * n], 3);
    const l = await cholesky(half.matmul(transpose(half)));
    const x = random([7, n], 4);
    expect(distance((await solveTriangular(l, x, { side: "right" })).matmul(l), x)).toBeLessThan(1e-5);
    expect(Math.min(...diagonal(l).dataSync())).toBeGreaterThan(0);
    expect(distance(await solveTriangular(transpose(l), transpose(l), { upper: true }), eye(n))).toBeLessThan(1e-5);
  });

  it("refuses zeros on the diagonal and sides that do not fit", async () => {
    using _ = scope();
    const singular = tensor([
      [1, 0],
      [5, 0],
    ]);
    await expect(solveTriangular(singular, singular)).rejects.toThrow(LinalgError);
    await expect(solveTriangular(singular, singular)).rejects.toThrow(/entry \[1, 1\] is 0/);
    await expect(solveTriangular(singular, random([3, 2], 1))).rejects.toThrow(ShapeError);
    await expect(solveTriangular(singular, random([3, 2], 1))).rejects.toThrow(
      "solveTriangular: [3, 2] does not fit matrices [2, 2] on the left; give [2, k]",
    );
    await expect(solveTriangular(singular, random([2, 3], 1), { side: "right" })).rejects.toThrow(/on the right; give \[k, 2\]/);
  });
});

it("leaves nothing in memory", () => {
  expect(memory().allocations).toBe(before);
});
