import { Generator, matmul, memory, square, sum, tidy, type Tensor } from "@frugal/tensor-core";
import { svd } from "@frugal/tensor-core/linalg";
import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { orthonormalizeRows } from "./orthonormalize.ts";
import { rankOf, rightSingularBasis } from "./right-singular-basis.ts";

/** Σ singular values² that a basis captures, as a share of what the best basis of its rank captures. */
async function efficiency(matrix: Tensor, basis: Tensor): Promise<number> {
  using captured = tidy(() => sum(square(matmul(matrix, basis))));
  const { u, singularValues, vh } = await svd(matrix);
  const values = await singularValues.data("float32");
  for (const made of [u, singularValues, vh]) made.dispose();
  const best = values.slice(0, basis.shape[1]).reduce((total, value) => total + value * value, 0);
  return (await captured.item()) / best;
}

/** Largest entry of |VᵀV - I|. */
async function departure(basis: Tensor): Promise<number> {
  using gram = tidy(() => matmul(basis.transpose(), basis));
  const values = await gram.data("float32");
  const rank = basis.shape[1]!;
  return Math.max(...values.map((value, i) => Math.abs(value - (i % (rank + 1) === 0 ? 1 : 0))));
}

describe("rightSingularBasis", () => {
  it.each([[40, 30, 8], [20, 60, 12], [64, 64, 64], [10, 30, 30]] as const)("of a %i × %i matrix, rank %i", async (m, n, rank) => {
    const before = memory().allocations;
    const generator = new Generator(m);
    const matrix = tidy(() => matmul(generator.normal([m, m]).multiply(generator.uniform([m], 0.05, 1)), generator.normal([m, n])));
    const found: number[] = [];
    for (const method of ["exact", "subspace"] as const) {
      using basis = await rightSingularBasis(matrix, rank, { method });
      expect(basis.shape).toEqual([n, rank]);
      expect(await departure(basis)).toBeLessThan(2e-6);
      found.push(await efficiency(matrix, basis));
    }
    expect(found[0]).toBeGreaterThan(0.99999);
    expect(found[1]).toBeGreaterThan(0.93);
    expect(Math.max(...found)).toBeLessThan(1.00001);
    matrix.dispose();
    expect(memory().allocations).toBe(before);
  });

  it("is the same for the same seed, and no other", async () => {
    using matrix = new Generator(1).normal([30, 20]);
    const values = await Promise.all([5, 5, 6].map(async (seed) => {
      using basis = await rightSingularBasis(matrix, 4, { seed });
      return await basis.data("float32");
    }));
    expect(values[1]).toEqual(values[0]);
    expect(values[2]).not.toEqual(values[0]);
  });

  it("fills up where the matrix has fewer singular vectors than are asked for, zeros included", async () => {
    using thin = new Generator(1).normal([3, 20]);
    using none = tidy(() => thin.multiply(0));
    for (const matrix of [thin, none]) {
      for (const iterations of [0, 1, 3]) {
        using basis = await rightSingularBasis(matrix, 9, { iterations });
        expect(await departure(basis)).toBeLessThan(2e-6);
      }
    }
    using basis = await rightSingularBasis(thin, 9);
    expect(await efficiency(thin, basis)).toBeGreaterThan(0.99999);
  });

  it("refuses ranks that cannot be", async () => {
    using matrix = new Generator(1).normal([3, 20]);
    for (const rank of [0, 21, 2.5]) await expect(rightSingularBasis(matrix, rank)).rejects.toThrow(SettingsError);
    using vector = new Generator(1).normal([3]);
    await expect(rightSingularBasis(vector, 1)).rejects.toThrow(/give a matrix/);
  });
});

describe("orthonormalizeRows", () => {
  it("keeps nearly parallel rows apart", () => {
    const rows = [[1, 0, 0, 0], [1, 1e-5, 0, 0], [1, 1e-5, 1e-5, 0], [2, 0, 0, 0]];
    const result = orthonormalizeRows(rows.flat(), 4, 4);
    for (let a = 0; a < 4; a++) {
      for (let b = 0; b <= a; b++) {
        let product = 0;
        for (let i = 0; i < 4; i++) product += result[a * 4 + i]! * result[b * 4 + i]!;
        expect(product).toBeCloseTo(a === b ? 1 : 0, 6);
      }
    }
  });
});

describe("rankOf", () => {
  it("is a number, a share, or a quarter of at least 32; at most the inputs", () => {
    expect([undefined, 7, 1000, 0.5, 0.001].map((rank) => rankOf({ rank }, 256))).toEqual([64, 7, 256, 128, 1]);
    expect([64, 20].map((inputs) => rankOf({}, inputs))).toEqual([32, 20]);
    for (const rank of [-1, 0, 2.5, Number.NaN, Infinity]) expect(() => rankOf({ rank }, 64)).toThrow(SettingsError);
  });
});
