import { describe, expect, it } from "vitest";
import { SettingsError } from "../errors.ts";
import { strategyNames } from "../grid/strategy.ts";
import type { CostProfile } from "./cost-profile.ts";
import { expectedShares } from "./expected-shares.ts";
import { paperGrid, paperProfile } from "./paper-models.ts";
import { nodeRates, paperScenario, paperScenarios, type FailureScenario } from "./scenario.ts";
import { simulate, type Estimate } from "./simulate.ts";

/** Nothing but computing costs anything, and a step is nothing beside the time between failures. */
const free: CostProfile = {
  formatVersion: 1, name: "free", basis: "test", tokensPerMicrobatch: 1, microbatches: 4,
  stages: [{ forward: 0.001, backward: 0.002, degradedForward: 0.001, degradedBackward: 0.0015, exactMixerBackward: 0.002 }],
  linkSeconds: 0, updateSeconds: 0, projection: { seconds: 0, refreshInterval: 100 }, state: { bytes: 0, bytesPerSecond: 1 },
  detectionSeconds: 0, settlingSeconds: 0, checkpoint: { everySeconds: 1800, writeSeconds: 0, restoreSeconds: 0, restartSeconds: 0 },
};

/** Within four standard errors, and these no larger than a share of what is expected, so that the check means something. */
function expectEstimate({ mean, standardError }: Estimate, expected: number, precision: number): void {
  expect(standardError! / expected).toBeLessThan(precision);
  expect(Math.abs(mean - expected)).toBeLessThan(4 * standardError!);
}

describe("rates", () => {
  it("give the mean of nodes down of both readings", () => {
    const down = (reading: "per-node" | "cluster"): number[] =>
      ["low", "mid", "high"].map((name) => expectedShares(paperGrid, nodeRates(paperScenario(name), reading)).nodesDown);
    expect(down("per-node").map((nodes) => nodes.toFixed(1))).toEqual(["1.9", "2.7", "3.6"]);
    for (const [i, share] of [2 / 3, 3 / 4, 4 / 5].entries()) expect(down("cluster")[i]! / 32).toBeCloseTo(share, 9);
  });

  it("are refused when they are none", () => {
    expect(() => nodeRates({ ...paperScenarios[0]!, repairHours: 0 }, "per-node")).toThrow(/repairHours is 0/);
    expect(() => paperScenario("lowest")).toThrow(SettingsError);
  });
});

describe("simulate", () => {
  // Adjacent pairs 9, 18, 27 %; empty N(l) 0.2, 0.7, 1.6 %; stages down 0.01, 0.05, 0.12 %.
  it("meets the frequencies of the paper's rates", () => {
    const emptyMixer = { low: 0.002, mid: 0.007, high: 0.016 };
    // About as many failures each.
    const hours = { low: 16_000, mid: 5000, high: 2500 };
    for (const name of ["low", "mid", "high"] as const) {
      const { expected, strategies } = simulate({
        grid: paperGrid, costs: free, scenario: paperScenario(name), strategies: ["mecefo"], hours: hours[name], seeds: 12,
        emptyMixer: "skip",
      });
      const { figures } = strategies[0]!;
      expectEstimate(figures.nodesDown, expected.nodesDown, 0.01);
      expectEstimate(figures.healthyShare, expected.healthy, 0.06);
      expectEstimate(figures.adjacentPairShare, expected.adjacentPair, 0.03);
      expectEstimate(figures.stageDownShare, expected.stageDown, 0.4);
      // Known from another simulation only, to one digit.
      expect(Math.abs(figures.emptyMixerShare.mean - emptyMixer[name]) / emptyMixer[name]).toBeLessThan(0.35);
    }
  });

  it("is the two-state chain for one node", () => {
    const scenario: FailureScenario = { name: "own", failureEveryHours: 3, repairHours: 1, nodes: 1 };
    const grid = { pipelines: 1, stages: 1 };
    const result = simulate({ grid, costs: free, scenario, strategies: ["drop-replica"], hours: 20_000, seeds: 6 });
    const { figures, goodputDrop, throughputDrop } = result.strategies[0]!;
    expectEstimate(figures.healthyShare, 0.75, 0.01);
    expectEstimate(throughputDrop, 0.25, 0.02);
    // The only node's state is gone with it, each time.
    expect(figures.stagesLost.mean).toBe(figures.failures.mean);
    // On average a uniform share of the 1800 s between checkpoints is done again, or less where the node dies before the first.
    const lost = (goodputDrop.mean - throughputDrop.mean) / 0.75;
    const interval = 0.5;
    expect(lost).toBeCloseTo(1 / 3 * (3 - interval / Math.expm1(interval / 3)), 1);
  });

  it("loses as many pipelines as are down under drop-replica, and no time to a free recovery", () => {
    const scenario: FailureScenario = { name: "own", failureEveryHours: 1, repairHours: 1, nodes: 8 };
    const grid = { pipelines: 8, stages: 1 };
    const result = simulate({ grid, costs: free, scenario, strategies: ["drop-replica"], hours: 2000, seeds: 6 });
    expectEstimate(result.strategies[0]!.throughputDrop, 1 / 9, 0.02);
  });

  it("slows down as the degraded stage says: one pipeline of two stages", () => {
    const scenario: FailureScenario = { name: "own", failureEveryHours: 1, repairHours: 1, nodes: 2 };
    const result = simulate({
      grid: { pipelines: 1, stages: 2 }, costs: free, scenario, hours: 10_000, seeds: 6, strategies: ["mecefo", "naive"],
      emptyMixer: "skip",
    });
    const [both, one] = [4 / 9, 4 / 9];
    // Healthy: (4 + 1) · 3 ms; one worker with both stages: 4 · 5 ms degraded, 4 · 6 ms in full.
    expectEstimate(result.strategies[0]!.throughputDrop, 1 - both - one * (15 / 20), 0.03);
    expectEstimate(result.strategies[1]!.throughputDrop, 1 - both - one * (15 / 24), 0.03);
  });

  it("is replayed by its settings, and meets the same failures with all strategies", () => {
    const settings = { grid: paperGrid, costs: paperProfile("llama-1b"), scenario: paperScenario("high"), hours: 100, seeds: 2, seed: 9 };
    const result = simulate(settings);
    expect(simulate(settings)).toEqual(result);
    expect(simulate({ ...settings, seed: 10 })).not.toEqual(result);
    expect(result.strategies.map(({ strategy }) => strategy)).toEqual(strategyNames);
    for (const { strategy, figures } of result.strategies) {
      if (strategy !== "none") expect(figures.failures).toEqual(result.strategies[0]!.figures.failures);
      expect(figures.goodput.mean).toBeLessThanOrEqual(figures.throughput.mean);
    }
    const none = result.strategies.find(({ strategy }) => strategy === "none")!;
    expect(none.throughputDrop.mean).toBeCloseTo(0, 9);
    expect(none.figures.nodesDown.mean).toBe(0);
  });

  it("orders the strategies as their rules do", () => {
    const drops = simulate({ grid: paperGrid, costs: paperProfile("llama-7b"), scenario: paperScenario("mid"), hours: 300, seeds: 2 })
      .strategies.map(({ goodputDrop }) => goodputDrop.mean);
    // mecefo, naive, drop-replica, checkpoint-restart: each loses more than the one before.
    expect(drops.slice(0, 4).sort((a, b) => a - b)).toEqual(drops.slice(0, 4));
  });

  it("loses less where slow pipelines are given fewer microbatches", () => {
    const settings = {
      grid: paperGrid, costs: paperProfile("llama-7b"), scenario: paperScenario("high"), hours: 200, seeds: 2,
      strategies: ["mecefo"] as const,
    };
    const drop = (sharing: "even" | "balanced"): number => simulate({ ...settings, sharing }).strategies[0]!.throughputDrop.mean;
    expect(drop("balanced")).toBeLessThan(drop("even") - 0.05);
  });

  it("takes a grid of ten thousand nodes, a failure every few seconds", () => {
    const grid = { pipelines: 1250, stages: 8 };
    const result = simulate({
      grid, costs: paperProfile("llama-7b", { grid }), scenario: paperScenario("high"), hours: 1, seeds: 1, strategies: ["mecefo"],
    });
    const { figures } = result.strategies[0]!;
    expect(figures.nodesDown.standardError).toBeNull();
    expect(figures.nodesDown.mean / result.expected.nodesDown).toBeCloseTo(1, 0.7);
    expect(figures.failures.mean).toBeGreaterThan(400);
  });

  it("refuses settings outside their range", () => {
    const settings = { grid: paperGrid, costs: free, scenario: paperScenario("low") };
    expect(() => simulate({ ...settings, seeds: 0 })).toThrow(SettingsError);
    expect(() => simulate({ ...settings, hours: -1 })).toThrow(/-1 hours/);
    expect(() => simulate({ ...settings, hours: 1e12 })).toThrow(/at most/);
    expect(() => simulate({ ...settings, maximumChain: 0 })).toThrow(/maximumChain is 0/);
    expect(() => simulate({ ...settings, grid: { pipelines: 0, stages: 1 } })).toThrow(/grid/);
    expect(() => simulate({ ...settings, costs: paperProfile("llama-7b"), grid: { pipelines: 2, stages: 4 } })).toThrow(/the grid has 4/);
  });
});
