import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { parseGrid, slotName } from "../grid/grid.ts";
import { paperScenario } from "../simulator/scenario.ts";
import { FailureTrace, PAPER_1B_HOURS, scaledChances } from "./failure-trace.ts";

const grid = parseGrid("4x8");
const high = paperScenario("high");

describe("scaledChances", () => {
  it("keeps the failures of the paper's run, whatever the number of steps", () => {
    expect(PAPER_1B_HOURS).toBeCloseTo(12.36, 2);
    for (const steps of [100, 1000, 20_000]) {
      const { failure, repair } = scaledChances(high, steps);
      // 32 nodes, one failure every half hour; a node is away for two hours.
      expect(-Math.log1p(-failure) * 32 * steps).toBeCloseTo(PAPER_1B_HOURS / 0.5, 8);
      expect(-Math.log1p(-repair) * steps).toBeCloseTo(PAPER_1B_HOURS / 2, 8);
    }
  });

  it("refuses what is no length", () => {
    for (const [steps, hours] of [[0, 1], [1.5, 1], [Number.NaN, 1], [10, 0], [10, -1], [10, Infinity]] as const) {
      expect(() => scaledChances(high, steps, hours)).toThrow(SettingsError);
    }
  });
});

describe("FailureTrace", () => {
  it("depends on its seed alone, not on what is asked first", () => {
    const chances = scaledChances(high, 300);
    const names = (trace: FailureTrace, step: number): string => trace.down(step).map(slotName).join(" ");
    const one = new FailureTrace({ grid, chances, seed: 7 });
    const other = new FailureTrace({ grid, chances, seed: 7 });
    const backwards = Array.from({ length: 300 }, (_, i) => names(other, 299 - i)).toReversed();
    expect(Array.from({ length: 300 }, (_, step) => names(one, step))).toEqual(backwards);
    const third = new FailureTrace({ grid, chances, seed: 8 });
    expect(Array.from({ length: 300 }, (_, step) => names(third, step))).not.toEqual(backwards);
    // Runs are compared by their traces: these may not change between versions.
    expect([0, 100, 200, 299].map((step) => names(one, step))).toMatchInlineSnapshot(`
      [
        "p0s2 p0s3 p1s4 p3s6",
        "p1s4 p1s5 p2s3 p3s6",
        "p0s3 p1s2 p1s4 p2s5 p3s6 p3s7",
        "p2s6",
      ]
    `);
  });

  it("has the rates it was given, over a long time", () => {
    const steps = 40_000;
    const chances = scaledChances(high, 300);
    const { failures, repairs, meanDown } = new FailureTrace({ grid, chances, seed: 1 }).summary(steps);
    const share = chances.failure / (chances.failure + chances.repair);
    // Some 2900 failures: six standard deviations.
    expect(Math.abs(meanDown / (32 * share) - 1)).toBeLessThan(0.12);
    expect(Math.abs(failures / (32 * (1 - share) * chances.failure * steps) - 1)).toBeLessThan(0.12);
    expect(Math.abs(failures - repairs)).toBeLessThanOrEqual(32);
    expect(32 * share).toBeGreaterThan(3.4);
    expect(32 * share).toBeLessThan(3.7);
  });

  it("begins with all nodes, or with as many as in the long run", () => {
    const chances = { failure: 0.5, repair: 0.5 };
    expect(new FailureTrace({ grid, chances, seed: 3, start: "healthy" }).down(0)).toEqual([]);
    const counts = Array.from({ length: 50 }, (_, seed) => new FailureTrace({ grid, chances, seed }).down(0).length);
    const mean = counts.reduce((sum, count) => sum + count) / counts.length;
    expect(Math.abs(mean - 16)).toBeLessThan(3);
  });

  it("kills nobody without failures, and counts what it did", () => {
    const never = new FailureTrace({ grid, chances: { failure: 0, repair: 0 }, seed: 1 });
    expect(never.summary(50)).toEqual({ failures: 0, repairs: 0, meanDown: 0, healthyShare: 1 });
    const always = new FailureTrace({ grid, chances: { failure: 1, repair: 1 }, seed: 1, start: "healthy" });
    expect(always.summary(4)).toEqual({ failures: 64, repairs: 32, meanDown: 16, healthyShare: 0.5 });
    expect(always.at(1)({ pipeline: 3, stage: 7 })).toBe(false);
  });

  it("refuses chances and steps that are none", () => {
    for (const failure of [-0.1, 1.1, Number.NaN]) {
      expect(() => new FailureTrace({ grid, chances: { failure, repair: 0.5 }, seed: 1 })).toThrow(SettingsError);
    }
    const trace = new FailureTrace({ grid, chances: { failure: 0.1, repair: 0.5 }, seed: 1 });
    for (const step of [-1, 0.5, Number.NaN]) expect(() => trace.at(step)).toThrow(SettingsError);
  });
});
