/** Stages of mecefo as a worker runs them: one healthy stage, or two under the techniques that the variant names. */
import { setThreads } from "@frugal/tensor-core";
import { noTechniques, type StageMode } from "@frugal/mecefo";
import mecefo from "@frugal/mecefo/package.json" with { type: "json" };
import { StageUnderTest } from "../mecefo/stage-passes.ts";
import type { Adapter } from "../src/workload.ts";

const modes: Readonly<Record<string, { readonly stages: number; readonly mode: StageMode }>> = {
  healthy: { stages: 1, mode: {} },
  naive: { stages: 2, mode: { techniques: noTechniques } },
  I: { stages: 2, mode: { techniques: { ...noTechniques, skipMixerBackward: true } } },
  "I+II": { stages: 2, mode: { techniques: { ...noTechniques, skipMixerBackward: true, recomputeFeedForward: true } } },
  "I+II+III": {
    stages: 2, mode: { techniques: { skipMixerBackward: true, recomputeFeedForward: true, lowRankWeightGradients: true } },
  },
};

export const adapter: Adapter = {
  async open(threads, variant = "healthy") {
    setThreads(threads);
    const { stages, mode } = modes[variant]!;
    return {
      version: mecefo.version,
      async prepare(task) {
        if (task.kind !== "stagePasses") return undefined;
        const stage = new StageUnderTest(task.shape, stages * task.shape.blocks, mode, task.microbatches);
        // The first step decomposes, and what it keeps is known after it.
        await stage.step();
        return {
          runAsync: async () => void (await stage.step()),
          sample: () => [],
          bytes: stage.keptBytes,
          dispose: () => {
            stage.dispose();
          },
        };
      },
    };
  },
};
