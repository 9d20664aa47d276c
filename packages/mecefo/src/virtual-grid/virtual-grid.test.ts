import { memory } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { averageGradient } from "../approximation/gradient-error.ts";
import type { StrategyName } from "../grid/strategy.ts";
import { decoderStageFactory } from "../job/decoder-stages.ts";
import { createSampler } from "../job/sampler.ts";
import type { JobOptions } from "../job/create-job.ts";
import { SettingsError } from "../errors.ts";
import type { Slot } from "../grid/grid.ts";
import { tinyConfiguration, tinyJob, tinyTokens } from "../runtime/tiny-run.testing.ts";
import { VirtualGrid } from "./virtual-grid.ts";

function virtual(options: Partial<JobOptions> = {}, tied = true): VirtualGrid {
  const job = tinyJob(options, tied);
  return new VirtualGrid({ job, factory: decoderStageFactory(tinyConfiguration(tied)), sampler: createSampler(tinyTokens(), job) });
}

const without = (...dead: readonly string[]) => ({ pipeline, stage }: Slot): boolean => !dead.includes(`p${pipeline}s${stage}`);

/** The averaged gradients of the last step, before clipping, by parameter name. */
function averages({ stages }: VirtualGrid): Map<string, Float32Array> {
  const result = new Map<string, Float32Array>();
  for (const { replica, gradients } of stages) {
    const found = gradients.gradients(1);
    for (const { name, parameter } of replica.parameters) {
      const gradient = found.get(parameter) as { dataSync(): Float32Array; dispose(): void } | undefined;
      if (gradient === undefined) continue;
      result.set(name, gradient.dataSync());
      gradient.dispose();
    }
  }
  return result;
}

const isMixer = (name: string): boolean => /self_attn|input_layernorm/.test(name);
const blockOf = (name: string): number => Number(/layers\.(\d+)/.exec(name)?.[1] ?? -1);
describe("VirtualGrid", () => {
  it("learns, and is the same twice", async () => {
    const before = memory().allocations;
    const losses = await Promise.all([virtual({ steps: 40 }), virtual({ steps: 40 })].map(async (grid) => {
      const found: number[] = [];
      for (let i = 0; i < 40; i++) found.push((await grid.step(without(...(i > 20 ? ["p1s1"] : []))))!.loss);
      grid.dispose();
      return found;
    }));
    expect(memory().allocations).toBe(before);
    expect(losses[1]).toEqual(losses[0]);
    expect(losses[0]!.at(-1)!).toBeLessThan(losses[0]![0]! - 0.5);
  });

  it("averages mixers over the pipelines that have them, all else over all (Eq. 1)", async () => {
    // Four pipelines of four stages; stage 2 of pipeline 1 is down, and its neighbour is stage 3 (or stage 1).
    const options = { grid: "4x4", microbatches: 1, techniques: { lowRankWeightGradients: false } } satisfies Partial<JobOptions>;
    const single = async (pipeline: number, isDegraded: boolean): Promise<Map<string, Float32Array>> => {
      // The others of a run that drops what has no whole pipeline leave the one pipeline's gradient alone.
      using grid = virtual({ ...options, lostPipeline: "drop", emptyMixer: "skip", maximumChain: 2 }, false);
      await grid.step(({ pipeline: place, stage }) => (place === pipeline ? !(isDegraded && stage === 2) : stage === 0));
      return averages(grid);
    };
    const [own, degraded] = [await Promise.all([0, 1, 2, 3].map((pipeline) => single(pipeline, false))), await single(1, true)];
    using grid = virtual(options, false);
    const { assignment } = (await grid.step(without("p1s2")))!;
    const host = assignment.pipelines[1]!.hosts.find(({ from, to }) => to - from === 2)!;
    expect(host.from).toBe(2);
    expect(assignment.mixerPipelines).toEqual([[0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 3], [0, 2, 3]]);
    const found = averages(grid);
    let compared = 0;
    for (const [name, gradient] of found) {
      const leavesOut = isMixer(name) && blockOf(name) >= 2;
      const parts = own.map((part, pipeline) => (pipeline === 1 ? degraded.get(name) : part.get(name)));
      if (leavesOut) parts[1] = undefined;
      const expected = averageGradient(parts)!;
      const scale = Math.max(...expected.map(Math.abs));
      gradient.forEach((value, i) => expect(Math.abs(value - expected[i]!), name).toBeLessThan(1e-5 * scale));
      compared++;
    }
    expect(compared).toBe(4 * 9 + 3);
  });

  it.each<StrategyName>(["mecefo", "naive", "drop-replica"])("goes on without a worker by strategy %s", async (strategy) => {
    // Shared evenly: with other shares the same gradients are summed in another order.
    using grid = virtual({ strategy, steps: 10, sharing: "even" }, false);
    using whole = virtual({ strategy, steps: 10, sharing: "even" }, false);
    for (let i = 0; i < 3; i++) {
      const isLive = without(...(i === 1 ? ["p0s1"] : []));
      const [step, healthy] = [(await grid.step(isLive))!, (await whole.step())!];
      expect(step.step).toBe(i);
      expect(step.energy.length > 0).toBe(i === 1 && strategy === "mecefo");
      // Forward is exact: all reads of the first two steps see the same weights.
      if (i < 2 && strategy !== "drop-replica") expect(step.loss).toBe(healthy.loss);
    }
    const [hashes, others] = [await grid.hashes(), await whole.hashes()];
    // Naive neighbour-do-both is exact, to the bit.
    if (strategy === "naive") expect(hashes).toEqual(others);
    else expect(hashes).not.toEqual(others);
  });

  it("does not go on where the real grid would not", async () => {
    using grid = virtual({ steps: 10 });
    expect(await grid.step(without("p0s0", "p0s1", "p1s0", "p1s1"))).toBeUndefined();
    expect(grid.nextStep).toBe(0);
    expect(() => virtual({ codec: "float16" })).toThrow(SettingsError);
  });

  it("measures loss on batches it does not train on", async () => {
    using grid = virtual();
    const batch = createSampler(tinyTokens(), grid.job).microbatch(0, 0);
    const { loss } = (await grid.step())!;
    const before = await grid.loss([batch]);
    for (let i = 1; i < 6; i++) await grid.step();
    expect(await grid.loss([batch, batch])).toBeLessThan(before);
    expect(Math.abs(before - loss)).toBeLessThan(0.3);
  });
});
