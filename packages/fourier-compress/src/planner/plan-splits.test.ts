import { memory } from "@frugal/tensor-core";
import { beforeAll, describe, expect, it } from "vitest";
import { sampleSequences } from "../calibration/sample-sequences.ts";
import { planMarkdown } from "../report/plan-report.ts";
import { tinyModel } from "../tiny-model.testing.ts";
import { planSplits, recommendRates, type PlanPoint, type SplitPlan } from "./plan-splits.ts";

const model = tinyModel();
const options = { model: "tiny", splitBlocks: [1, 3], codecs: ["channel"], ratios: [3, 8] } as const;

describe("planSplits", () => {
  let sequences: number[][];
  let plan: SplitPlan;
  const seen: string[] = [];

  beforeAll(async () => {
    sequences = await sampleSequences(model, 1, { count: 12, maxTokens: 40, temperature: 1 });
    const onPoint = ({ splitBlock, ratio }: PlanPoint, index: number, count: number): void => {
      seen.push(`${splitBlock} ${ratio} ${index}/${count}`);
    };
    plan = await planSplits(model, { calibration: sequences.slice(0, 8), test: sequences.slice(8) }, { ...options, onPoint });
  });

  it("measures every codec at every ratio in front of every block", () => {
    expect(plan.complete).toBe(true);
    expect(seen).toEqual(["1 3 1/4", "1 8 2/4", "3 3 3/4", "3 8 4/4"]);
    expect(plan.points.map(({ splitBlock, ratio }) => [splitBlock, ratio])).toEqual([[1, 3], [1, 8], [3, 3], [3, 8]]);
    for (const { traffic, ratio } of plan.points) expect(traffic!.byteRatioFloat16).toBeGreaterThanOrEqual(ratio! * 0.98);
    for (const splitBlock of [1, 3]) {
      const [fine, coarse] = plan.points.filter((point) => point.splitBlock === splitBlock);
      expect(coarse!.traffic!.relativeError).toBeGreaterThan(fine!.traffic!.relativeError);
    }
    expect(planMarkdown(plan, 0.5)).toContain("Largest measured ratio with a perplexity rise of at most 50");
  });

  it("recommends the largest ratio that keeps the limit", () => {
    const point = (splitBlock: number, byteRatioFloat16: number, perplexityRise: number): PlanPoint =>
      ({ splitBlock, perplexityRise, traffic: { byteRatioFloat16 } }) as PlanPoint;
    const made = { ...plan, points: [point(1, 4, 0.01), point(1, 8.01, 0.05), point(1, 8, 0.04), point(1, 16, 0.2), point(2, 4, 0.3)] };
    expect(recommendRates(made, 0.05).map(({ splitBlock, point: best }) => [splitBlock, best?.traffic?.byteRatioFloat16])).toEqual([
      [1, 8], [2, undefined],
    ]);
    expect(() => recommendRates(made, -1)).toThrow("mostRise -1");
  });

  it("shows the splits that were measured before it was told to end", async () => {
    const control = new AbortController();
    const texts = { calibration: sequences.slice(0, 8), test: sequences.slice(8) };
    // While the second split is calibrated.
    const onTable = ({ block }: { readonly block: number }): void => void (block === 3 && control.abort(new Error("enough")));
    const ended = await planSplits(model, texts, { ...options, ratios: [3], onTable, signal: control.signal });
    expect([ended.complete, ended.points.map(({ splitBlock }) => splitBlock), ended.perplexity]).toEqual([false, [1], plan.perplexity]);
  });

  it("goes on from what was measured, ends when told, frees what it made, and refuses blocks outside", async () => {
    const texts = { calibration: sequences.slice(0, 8), test: sequences.slice(8) };
    const before = memory().allocations;
    const measured: string[] = [];
    const resumed = await planSplits(model, texts, {
      ...options, done: plan.points.slice(0, 3), onPoint: ({ splitBlock, ratio }) => void measured.push(`${splitBlock} ${ratio}`),
    });
    expect(measured).toEqual(["3 8"]);
    expect(resumed.points.map(({ splitBlock, ratio }) => `${splitBlock} ${ratio}`).sort()).toEqual(["1 3", "1 8", "3 3", "3 8"]);
    const ended = await planSplits(model, texts, { ...options, signal: AbortSignal.abort() });
    expect([ended.complete, ended.points]).toEqual([false, []]);
    expect(memory().allocations).toBe(before);
    await expect(planSplits(model, texts, { ...options, splitBlocks: [5] })).rejects.toThrow("split 5; use 0 to the model's 4 blocks");
  });
});
