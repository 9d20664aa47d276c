import { describe, expect, it } from "vitest";
import { allTechniques, noTechniques } from "../approximation/stage-mode.ts";
import { degradedStageCost, shareMicrobatches, type SharingPipeline, type SharingSettings } from "./share-microbatches.ts";

const settings: SharingSettings = { techniques: allTechniques, microbatches: 4, lostPipeline: "reroute", sharing: "balanced" };
const healthy: SharingPipeline = { active: true, widths: [1, 1, 1, 1] };
const doubled: SharingPipeline = { active: true, widths: [1, 2, 1] };
const dead: SharingPipeline = { active: false, widths: [] };
const sizes = (shares: readonly number[][]): number[] => shares.map(({ length }) => length);

describe("shareMicrobatches", () => {
  it("leaves everybody its own in a healthy grid, either way", () => {
    const own = [[0, 1, 2, 3], [4, 5, 6, 7]];
    expect(shareMicrobatches(settings, [healthy, healthy])).toEqual(own);
    expect(shareMicrobatches({ ...settings, sharing: "even" }, [healthy, healthy])).toEqual(own);
  });

  it("gives a slow pipeline's microbatches to faster ones, each once", () => {
    const shares = shareMicrobatches({ ...settings, microbatches: 8 }, [doubled, healthy, healthy]);
    expect(shares.flat().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, i) => i));
    expect(shares[0]!.length).toBeLessThan(8);
    expect(Math.abs(shares[1]!.length - shares[2]!.length)).toBeLessThanOrEqual(1);
    // Done at about the same time: within one microbatch of the slow one.
    const slow = 2 * degradedStageCost(allTechniques);
    expect(Math.abs(shares[0]!.length * slow - shares[1]!.length)).toBeLessThanOrEqual(slow + 1);
  });

  it("leaves every active pipeline at least one", () => {
    expect(sizes(shareMicrobatches({ ...settings, microbatches: 1 }, [{ active: true, widths: [8] }, healthy]))).toEqual([1, 1]);
  });

  it("hands on what a dead pipeline cannot read, or leaves it out", () => {
    expect(shareMicrobatches({ ...settings, sharing: "even" }, [healthy, dead])).toEqual([[0, 1, 2, 3, 4, 5, 6, 7], []]);
    expect(shareMicrobatches(settings, [healthy, dead, healthy]).flat().toSorted((a, b) => a - b)).toHaveLength(12);
    expect(shareMicrobatches({ ...settings, lostPipeline: "drop" }, [healthy, dead])).toEqual([[0, 1, 2, 3], []]);
    expect(shareMicrobatches(settings, [dead, dead])).toEqual([[], []]);
  });

  it("knows what techniques save (spec §1.7: 2.00, 1.52 to 1.55, 1.95 to 1.99 for two stages)", () => {
    expect(2 * degradedStageCost(noTechniques)).toBeCloseTo(2, 12);
    expect(2 * degradedStageCost({ ...noTechniques, skipMixerBackward: true })).toBeCloseTo(1.54, 2);
    expect(2 * degradedStageCost({ ...allTechniques, lowRankWeightGradients: false })).toBeCloseTo(1.98, 2);
  });
});
