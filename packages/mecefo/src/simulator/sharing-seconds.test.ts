import { describe, expect, it } from "vitest";
import { PipelineTime } from "./pipeline-time.ts";
import { RandomStream } from "./random-stream.ts";
import { balancedSeconds, evenSeconds } from "./sharing-seconds.ts";
import { stageCosts } from "./stage-costs.ts";

function pipeline(scale: number): PipelineTime {
  const stages = [1, 2].map((part) => stageCosts({ mixerForward: scale * part, feedForwardForward: scale }));
  return new PipelineTime([{ stage: 0, from: 0, to: 1 }, { stage: 1, from: 1, to: 2 }], stages, "exact", [], 0.1);
}

describe("sharing of microbatches", () => {
  it("is as good as the best of all ways to share them out", () => {
    const random = new RandomStream(11);
    for (let i = 0; i < 30; i++) {
      const pipelines = [pipeline(random.uniform()), pipeline(random.uniform()), pipeline(random.uniform())];
      const total = 3 + random.index(10);
      let best = Infinity;
      for (let a = 0; a <= total; a++) {
        for (let b = 0; a + b <= total; b++) {
          best = Math.min(best, Math.max(pipelines[0]!.seconds(a), pipelines[1]!.seconds(b), pipelines[2]!.seconds(total - a - b)));
        }
      }
      expect(balancedSeconds(pipelines, total) / best).toBeCloseTo(1, 6);
      expect(evenSeconds(pipelines, total)).toBeGreaterThanOrEqual(best - 1e-9);
    }
  });

  it("is the same either way for equal pipelines", () => {
    const one = pipeline(1);
    expect(balancedSeconds([one, one, one], 12) / evenSeconds([one, one, one], 12)).toBeCloseTo(1, 6);
    expect(evenSeconds([one, one, one], 13)).toBe(one.seconds(5));
  });
});
