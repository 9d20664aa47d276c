import { describe, expect, it } from "vitest";
import { allTechniques, noTechniques } from "../approximation/stage-mode.ts";
import { FormatError, SettingsError } from "../errors.ts";
import { parseCostProfile, stagesOfProfile } from "./cost-profile.ts";
import { paperGrid, paperModelNames, paperProfile } from "./paper-models.ts";
import { paperThroughputs } from "./paper-tables.ts";
import { doubleWorkFactor, stageCosts } from "./stage-costs.ts";
import { faultFreeThroughput } from "./step-time.ts";

describe("stage costs", () => {
  it("are those of the cost model: 1.52, 1.54, 1.55 with all techniques; 1.95, 1.97, 1.99 without the third; 2 without any", () => {
    const skipped = { ...noTechniques, skipMixerBackward: true };
    for (const [model, full, second] of [["llama-350m", 1.52, 1.95], ["llama-1b", 1.54, 1.97], ["llama-7b", 1.55, 1.99]] as const) {
      const shape = { "llama-350m": [1024, 2736], "llama-1b": [2048, 5461], "llama-7b": [4096, 11008] }[model];
      const parts = { mixerForward: 8 * shape[0]! ** 2 + 4 * 256 * shape[0]!, feedForwardForward: 6 * shape[0]! * shape[1]! };
      expect(doubleWorkFactor(stageCosts(parts, allTechniques))).toBeCloseTo(full, 2);
      expect(doubleWorkFactor(stageCosts(parts, skipped))).toBeCloseTo(full, 2);
      expect(doubleWorkFactor(stageCosts(parts, { ...skipped, recomputeFeedForward: true }))).toBeCloseTo(second, 2);
      expect(doubleWorkFactor(stageCosts(parts, noTechniques))).toBe(2);
      const balanced = paperProfile(model, { balancedHead: true, rankShare: 1e-9 });
      expect(doubleWorkFactor(balanced.stages[3]!)).toBeCloseTo(full, 2);
    }
  });

  it("pay the mixer's backward again where it has to be exact, and the head's always", () => {
    const costs = stageCosts({ mixerForward: 1, feedForwardForward: 2, otherForward: 10 }, allTechniques, 0.5);
    expect(costs).toEqual({ forward: 13, backward: 26, degradedForward: 13, degradedBackward: 25, exactMixerBackward: 27 });
  });
});

describe("the paper's models", () => {
  it("are calibrated to the paper's throughput without faults", () => {
    for (const model of paperModelNames) {
      const { none } = paperThroughputs.find((row) => row.model === model && row.system === "MeCeFO")!;
      for (const microbatches of [8, 32]) {
        expect(faultFreeThroughput(paperProfile(model, { microbatches }), paperGrid) / 1000).toBeCloseTo(none, 6);
      }
    }
  });

  it("scale with the grid at the same rate", () => {
    const large = { pipelines: 40, stages: 8 };
    expect(faultFreeThroughput(paperProfile("llama-7b", { grid: large }), large) / 111_120).toBeCloseTo(10, 1);
    expect(() => paperProfile("llama-7b", { microbatches: 7 })).toThrow(SettingsError);
    expect(() => paperProfile("llama-7b", { rankShare: 2 })).toThrow(/rank share 2/);
    expect(() => paperProfile("llama-350m", { grid: { pipelines: 1, stages: 25 } })).toThrow(/24 blocks/);
  });
});

describe("cost profiles", () => {
  const profile = paperProfile("llama-7b");

  it("go through JSON", () => {
    expect(parseCostProfile(JSON.stringify(profile), "test")).toEqual(profile);
  });

  it("of one stage stand for any number, others for their own", () => {
    expect(stagesOfProfile(profile, 8)).toBe(profile.stages);
    expect(stagesOfProfile({ ...profile, stages: profile.stages.slice(0, 1) }, 3)).toHaveLength(3);
    expect(() => stagesOfProfile(profile, 4)).toThrow(/8 stages, the grid has 4/);
  });

  it("are refused by name of the field", () => {
    const broken = (change: object): string => JSON.stringify({ ...profile, ...change });
    expect(() => parseCostProfile("{", "costs.json")).toThrow(FormatError);
    expect(() => parseCostProfile(broken({ stages: [] }), "costs.json")).toThrow(/^costs.json: .*stages/s);
    expect(() => parseCostProfile(broken({ linkSeconds: -1 }), "costs.json")).toThrow(/linkSeconds/);
    expect(() => parseCostProfile(broken({ formatVersion: 2 }), "costs.json")).toThrow(/formatVersion/);
    expect(() => parseCostProfile(broken({ stages: [{ ...profile.stages[0], forward: 0 }] }), "costs.json")).toThrow(/forward/);
    expect(() => parseCostProfile(" ".repeat((1 << 22) + 1), "costs.json")).toThrow(/at most/);
  });
});
