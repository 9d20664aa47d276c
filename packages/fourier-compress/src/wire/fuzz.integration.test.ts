import { describe, expect, it } from "vitest";
import { fuzzFrames } from "./fuzz-frames.testing.ts";

const MEBIBYTE = 1 << 20;

describe("100,000 hostile frames", () => {
  it("are refused or understood: no crash, no hang, no leak", async () => {
    const seed = Number(process.env["FUZZ_SEED"] ?? 20_261_122);
    const report = await fuzzFrames({ frames: 100_000, seed });
    const { crashes, ...figures } = report;
    console.log(`fuzz: ${JSON.stringify(figures)}`);
    expect(crashes, `repeat by fuzzFrames({ seed: ${seed}, firstCase: <case>, frames: 1 })`).toEqual([]);
    expect(report.frames).toBeGreaterThanOrEqual(100_000);
    expect(report.refused).toBeGreaterThan(40_000);
    // Inputs that are good, or spoiled where nobody can tell: without them nothing behind the first check would be tried.
    expect(report.accepted).toBeGreaterThan(5000);
    expect(Math.min(report.byKind.codec, report.byKind.server)).toBeGreaterThan(10_000);
    expect(report.slowestMilliseconds).toBeLessThan(10_000);
    expect(report.peakGrowthBytes).toBeLessThan(64 * MEBIBYTE);
    expect(report.largestAllocationBytes).toBeLessThan(MEBIBYTE);
    expect(report.tensorGrowthBytes).toBeLessThan(64 * MEBIBYTE);
  }, 600_000);

  it("are the same for the same seed", async () => {
    const [first, second] = [await fuzzFrames({ frames: 1500, seed: 5 }), await fuzzFrames({ frames: 1500, seed: 5 })];
    expect(first).toMatchObject({ frames: second.frames, byKind: second.byKind, crashes: [] });
  });
});
