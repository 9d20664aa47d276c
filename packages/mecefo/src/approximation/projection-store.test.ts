import { Generator, matmul, memory, Parameter, square, sum, tidy, type Tensor } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { ProjectionStore } from "./projection-store.ts";
import type { ProjectionBasis } from "./stage-mode.ts";

const [tokens, inputs, outputs] = [20, 12, 16];

function example(seed: number): { weight: Parameter; inputs: Tensor; outputGradient: Tensor; dispose: () => void } {
  const generator = new Generator(seed);
  const [weight, x, outputGradient] = [
    new Parameter(generator.normal([outputs, inputs])), generator.normal([tokens, inputs]), generator.normal([tokens, outputs]),
  ];
  return { weight, inputs: x, outputGradient, dispose: () => [weight, x, outputGradient].forEach((made) => made.dispose()) };
}

describe("ProjectionStore", () => {
  it("takes V₁ anew at degraded steps 0, τ, 2τ, and counts a replayed step once", async () => {
    const parts = example(1);
    const store = new ProjectionStore({ basis: "weight", rank: 3, refreshInterval: 4 });
    const refreshedAt: number[] = [];
    for (const step of [10, 11, 11, 12, 13, 14, 14, 15, 16, 17, 18, 19]) {
      store.beginStep(step);
      const before = store.refreshes;
      for (let microbatch = 0; microbatch < 2; microbatch++) (await store.weightGradient({ block: 2, matrix: "up", ...parts })).dispose();
      if (store.refreshes > before) refreshedAt.push(step);
      expect(store.counter(2, "up")).toBe(step - 10);
    }
    expect(refreshedAt).toEqual([10, 14, 18]);
    expect(store.refreshes).toBe(3);
    store.dispose();
    parts.dispose();
  });

  it("begins again after a reset, and where degraded steps do not follow one another", async () => {
    const parts = example(1);
    const store = new ProjectionStore({ basis: "weight", rank: 3, refreshInterval: 100 });
    const step = async (number: number, block: number): Promise<number | undefined> => {
      store.beginStep(number);
      (await store.weightGradient({ block, matrix: "gate", ...parts })).dispose();
      return store.counter(block, "gate");
    };
    expect([await step(0, 1), await step(0, 2), await step(1, 1), await step(1, 2)]).toEqual([0, 0, 1, 1]);
    store.reset(1);
    expect(store.counter(1, "gate")).toBeUndefined();
    expect([await step(2, 1), await step(2, 2)]).toEqual([0, 2]);
    // Steps 3 to 8 were healthy.
    expect([await step(9, 1), await step(9, 2)]).toEqual([0, 0]);
    expect(store.refreshes).toBe(5);
    store.dispose();
    parts.dispose();
  });

  it.each(["weight", "activation", "gradient"] as const)("keeps the energy of its source best (%s)", async (basis) => {
    const before = memory().allocations;
    const parts = example(1);
    const results = new Map<ProjectionBasis, { energy: number; gradientEnergy: number; weightEnergy: number }>();
    for (const other of ["weight", "activation", "gradient"] as const) {
      using store = new ProjectionStore({ basis: other, rank: 3, refreshInterval: 100 }, { method: "exact" });
      using gradient = await store.weightGradient({ block: 0, matrix: "down", ...parts });
      const [{ energy }, { energy: gradientEnergy }] = [(await store.energies())[0]!, (await store.gradientEnergies())[0]!];
      using shares = tidy(() => sum(square(matmul(parts.weight, store.basis(0, "down")!))));
      using kept = tidy(() => sum(square(gradient)));
      using whole = tidy(() => sum(square(matmul(parts.outputGradient.transpose(), parts.inputs))));
      // What is left of the gradient is what the store says is.
      expect(gradientEnergy).toBeCloseTo((await kept.item()) / (await whole.item()), 5);
      results.set(other, { energy, gradientEnergy, weightEnergy: await shares.item() });
    }
    const measure = ({ weight: "weightEnergy", activation: "energy", gradient: "gradientEnergy" } as const)[basis];
    const own = results.get(basis)![measure];
    for (const [other, result] of results) if (other !== basis) expect(result[measure]).toBeLessThan(own);
    parts.dispose();
    expect(memory().allocations).toBe(before);
  });

  it("names the blocks and matrices of its energies", async () => {
    const parts = example(2);
    using store = new ProjectionStore({ basis: "activation", rank: 1000, refreshInterval: 5 });
    for (const matrix of ["gate", "up", "down"] as const) (await store.weightGradient({ block: 7, matrix, ...parts })).dispose();
    const energies = await store.energies();
    expect(energies.map(({ block, matrix }) => `${block}.${matrix}`)).toEqual(["7.gate", "7.up", "7.down"]);
    for (const { energy } of energies) expect(energy).toBeCloseTo(1, 5);
    store.beginStep(1);
    expect(await store.energies()).toEqual([]);
    expect(await store.gradientEnergies()).toHaveLength(3);
    parts.dispose();
  });

  it("refuses settings that cannot be, and a reset under its feet", async () => {
    expect(() => new ProjectionStore({ basis: "weight", refreshInterval: 0 })).toThrow(SettingsError);
    expect(() => new ProjectionStore({ basis: "weight", refreshInterval: 1, rank: -1 })).toThrow(SettingsError);
    const before = memory().allocations;
    const parts = example(3);
    using store = new ProjectionStore({ basis: "weight", refreshInterval: 1 });
    const running = store.weightGradient({ block: 7, matrix: "up", ...parts });
    store.reset(7);
    await expect(running).rejects.toThrow(/block 7 was reset/);
    parts.dispose();
    expect(memory().allocations).toBe(before);
  });
});
