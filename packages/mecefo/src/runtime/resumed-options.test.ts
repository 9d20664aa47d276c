import { describe, expect, it } from "vitest";
import { createJob } from "../job/create-job.ts";
import { resumedOptions } from "./resumed-options.ts";
import { tinyJob } from "./tiny-run.testing.ts";

describe("resumedOptions", () => {
  const saved = tinyJob({ steps: 40, seed: 9, optimizer: { learningRate: 0.005 }, projection: { basis: "activation" } });
  const again = (options: Parameters<typeof resumedOptions>[1]): ReturnType<typeof createJob> =>
    createJob({ ...resumedOptions(saved, options), data: { folder: saved.data.folder, sha256: saved.data.sha256 } });

  it("is the job as it was where nothing is given", () => {
    expect(again({})).toEqual(saved);
  });

  it("takes what is given, and keeps the global batch on another grid", () => {
    const job = again({ grid: "1x4", strategy: "none", optimizer: { learningRate: undefined }, seed: undefined });
    expect(job).toMatchObject({ grid: { pipelines: 1, stages: 4 }, microbatches: 6, strategy: "none", seed: 9, steps: 40 });
    expect(job.techniques).toEqual({ skipMixerBackward: false, recomputeFeedForward: false, lowRankWeightGradients: false });
    expect(job.optimizer).toEqual(saved.optimizer);
  });
});
