import { describe, expect, it } from "vitest";
import { decoderStageFactory } from "../job/decoder-stages.ts";
import { createSampler } from "../job/sampler.ts";
import type { RunEvent } from "../membership/run-event.ts";
import { tinyConfiguration, tinyGrid, tinyJob, tinyTokens } from "../runtime/tiny-run.testing.ts";
import { VirtualGrid } from "./virtual-grid.ts";

describe("VirtualGrid beside the real runtime", () => {
  it.each([true, false])("has the same weights and moments, bit for bit, through deaths and returns (tied: %s)", async (tied) => {
    const job = tinyJob({ grid: "2x3", steps: 40, hashEvery: 1, projection: { refreshInterval: 3, rank: 6 } }, tied);
    const events: RunEvent[] = [];
    const seen: { readonly at: number; readonly run: () => void }[] = [];
    const { grid } = tinyGrid(job, {
      onEvent: (event) => {
        events.push(event);
        if (event.kind === "step") for (const { at, run } of seen) if (at === event.step) run();
      },
    }, tied);
    seen.push(
      { at: 4, run: () => void grid.kill("p0s1") }, { at: 11, run: () => void grid.kill("p1s2") },
      { at: 18, run: () => grid.start("p0s1") }, { at: 27, run: () => grid.start("p1s2") },
    );
    expect(await grid.run()).toEqual({ kind: "finished", step: 40 });
    const factory = decoderStageFactory(tinyConfiguration(tied));
    using replay = new VirtualGrid({ job, factory, sampler: createSampler(tinyTokens(), job) });
    let live: readonly string[] = [];
    const sizes = new Set<number>();
    for (const event of events) {
      if (event.kind === "epoch") ({ live } = event);
      if (event.kind !== "step") continue;
      expect(event.stateHashes.map(({ hash }) => hash), `before step ${event.step}`).toEqual(await replay.hashes());
      const step = (await replay.step(({ pipeline, stage }) => live.includes(`p${pipeline}s${stage}`)))!;
      expect(event.gradientNorm).toBe(step.gradientNorm);
      sizes.add(live.length);
    }
    expect(replay.nextStep).toBe(40);
    expect([...sizes].sort()).toEqual([4, 5, 6]);
  });
});
