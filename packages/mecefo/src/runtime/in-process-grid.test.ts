import { describe, expect, it } from "vitest";
import type { Job } from "../job/job.ts";
import type { StrategyName } from "../grid/strategy.ts";
import { expectedBatches, hashesOf, kill, runGrid, start, type EndedRun } from "./grid-run.testing.ts";
import { forbidLeaks } from "./leaks.testing.ts";
import { trainReference } from "./reference-training.testing.ts";
import { tinyJob } from "./tiny-run.testing.ts";

forbidLeaks();

/** Every step once, each with every microbatch once, and all replicas alike. */
function expectExact(job: Job, { outcome, steps }: EndedRun): void {
  expect(outcome).toEqual({ kind: "finished", step: job.steps });
  expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: job.steps }, (_, step) => step));
  for (const { step, batches, skipped } of steps) {
    expect(batches).toEqual(expectedBatches(job, step));
    expect(skipped).toBe(false);
  }
}

/** Equal but for the rounding of sums that are taken in another order: a degraded block goes backward in two pieces. */
function expectAlike(run: EndedRun, other: EndedRun): void {
  run.steps.forEach(({ loss, gradientNorm }, i) => {
    expect(loss).toBeCloseTo(other.steps[i]!.loss!, 5);
    expect(gradientNorm).toBeCloseTo(other.steps[i]!.gradientNorm!, 4);
  });
}

describe("InProcessGrid without failures", () => {
  const grids = [["2x2", true], ["2x2", false], ["3x4", true], ["3x1", true]] as const;
  it.each(grids)("trains %s (tied %s) with the bits of a plain loop", async (grid, tied) => {
    const strategies: StrategyName[] = ["mecefo", "none"];
    const reference = await trainReference(tinyJob({ grid, steps: 5 }, tied), tied);
    for (const strategy of strategies) {
      const job = tinyJob({ grid, steps: 5, strategy }, tied);
      const run = await runGrid(job, { tied });
      expectExact(job, run);
      expect(hashesOf(run.steps)).toEqual(reference.hashes);
      run.steps.forEach(({ loss }, i) => expect(loss).toBeCloseTo(reference.losses[i]!, 12));
      expect(run.epochs.map(({ cause }) => cause)).toEqual(["formed"]);
    }
    expect(new Set(reference.hashes.flat()).size).toBe(5 * Number(grid.split("x")[1]));
  });

  it("learns", async () => {
    const { steps } = await runGrid(tinyJob({ steps: 60, optimizer: { learningRate: 0.01 } }));
    expect(steps.at(-1)!.loss!).toBeLessThan(steps[0]!.loss! - 0.5);
  });
});

describe("InProcessGrid with a worker that dies and comes back", () => {
  it.each([true, false])("keeps replicas equal and batches exact, tied %s", async (tied) => {
    const job = tinyJob({ steps: 30 }, tied);
    const run = await runGrid(job, { tied, after: { 4: kill("p0s1"), 14: start("p0s1") } });
    expectExact(job, run);
    expect(run.epochs.map(({ cause }) => cause)).toEqual(["formed", "killed", "joined"]);
    const [, killed, joined] = run.epochs;
    expect(killed).toMatchObject({ live: ["p0s0", "p1s0", "p1s1"], healthy: false, mixerPipelines: [[1], [1]], lostPipelines: [] });
    expect(joined).toMatchObject({ live: ["p0s0", "p0s1", "p1s0", "p1s1"], healthy: true });
    // Both replicas of both stages vote with a hash of weights and moments in every step, the one that came back as well.
    for (const { stateHashes } of run.steps) expect(stateHashes.map(({ replicas }) => replicas)).toEqual([2, 2]);
    expect(new Set(hashesOf(run.steps).flat()).size).toBe(60);
    // From the other pipeline on failure, from the neighbour on recovery.
    const [formed, failure, recovery] = run.recoveries;
    expect(formed!.transfers).toEqual([]);
    expect(failure).toMatchObject({ cause: "killed", step: killed!.step, transfers: [{ slot: "p0s0", stage: 1, donor: "p1s1" }] });
    expect(recovery).toMatchObject({ cause: "joined", step: joined!.step, transfers: [{ slot: "p0s1", stage: 1, donor: "p0s0" }] });
    expect(failure!.bytes).toBeGreaterThan(10_000);
    // But for the digits of its description, which are other ones.
    expect(Math.abs(recovery!.bytes - failure!.bytes)).toBeLessThan(200);
    const degraded = run.steps.filter(({ epoch }) => epoch === 2);
    expect(degraded.length).toBeGreaterThan(5);
    expect(degraded.every(({ energy }) => energy !== undefined && energy.length > 0)).toBe(true);
    expect(run.steps.filter(({ epoch }) => epoch !== 2).every(({ energy }) => energy === undefined)).toBe(true);
  });

  it("follows training without failures, when nothing is approximated", async () => {
    const techniques = { skipMixerBackward: false, recomputeFeedForward: true, lowRankWeightGradients: false };
    const job = tinyJob({ steps: 16, techniques });
    const [whole, hurt] = [await runGrid(job), await runGrid(job, { after: { 3: kill("p1s0"), 9: start("p1s0") } })];
    expect(hurt.epochs.length).toBe(3);
    expectAlike(hurt, whole);
  });

  it.each(Array.from({ length: 8 }, (_, bits) => bits))("trains under each choice of techniques (%i)", async (bits) => {
    const techniques = { skipMixerBackward: (bits & 1) > 0, recomputeFeedForward: (bits & 2) > 0, lowRankWeightGradients: (bits & 4) > 0 };
    const job = tinyJob({ steps: 12, techniques });
    const run = await runGrid(job, { after: { 2: kill("p1s1"), 7: start("p1s1") } });
    expectExact(job, run);
    const mixers = run.epochs.find(({ cause }) => cause === "killed")!.mixerPipelines;
    expect(mixers).toEqual(techniques.skipMixerBackward ? [[0], [0]] : [[0, 1], [0, 1]]);
  });

  it("hosts a chain of two dead workers", async () => {
    const job = tinyJob({ grid: "2x3", steps: 16 });
    const run = await runGrid(job, { after: { 3: kill("p0s1", "p0s2"), 10: start("p0s2", "p0s1") } });
    expectExact(job, run);
    const chain = run.epochs.find(({ live }) => live.length === 4)!;
    expect(chain).toMatchObject({ live: ["p0s0", "p1s0", "p1s1", "p1s2"], mixerPipelines: [[1], [1], [1]], lostPipelines: [] });
    expect(run.epochs.at(-1)!.healthy).toBe(true);
  });

  it("computes a mixer exactly that no pipeline would, or leaves it out", async () => {
    for (const emptyMixer of ["exact", "skip"] as const) {
      const job = tinyJob({ grid: "3x2", steps: 12, emptyMixer });
      const run = await runGrid(job, { after: { 2: kill("p0s0", "p1s1", "p2s0"), 8: start("p0s0") } });
      expectExact(job, run);
      const empty = run.epochs.find(({ live }) => live.length === 3)!;
      expect(empty.mixerPipelines).toEqual(emptyMixer === "exact" ? [[0], [0]] : [[], []]);
    }
  });

  it("reroutes a dead pipeline's batches to the others", async () => {
    const job = tinyJob({ grid: "3x2", steps: 14 });
    const run = await runGrid(job, { after: { 3: kill("p1s0", "p1s1"), 9: start("p1s0", "p1s1") } });
    expectExact(job, run);
    expect(run.epochs.some(({ lostPipelines }) => lostPipelines.join() === "1")).toBe(true);
    expect(run.epochs.at(-1)!.healthy).toBe(true);
  });

  it("drops a dead pipeline's batches, if that is asked for", async () => {
    const job = tinyJob({ steps: 14, lostPipeline: "drop" });
    const run = await runGrid(job, { after: { 3: kill("p1s0", "p1s1"), 9: start("p1s0", "p1s1") } });
    expect(run.outcome).toEqual({ kind: "finished", step: 14 });
    const without = new Set(run.epochs.filter(({ lostPipelines }) => lostPipelines.length > 0).map(({ epoch }) => epoch));
    expect(without.size).toBeGreaterThan(0);
    for (const { step, epoch, batches } of run.steps) expect(batches).toEqual(expectedBatches(job, step, without.has(epoch) ? [0] : undefined));
  });

  it("fails when a stage is lost everywhere and nothing was written", async () => {
    const { outcome, events } = await runGrid(tinyJob({ steps: 200 }), { after: { 3: kill("p0s1", "p1s1") } });
    expect(outcome).toMatchObject({ kind: "failed" });
    expect(outcome.kind === "failed" && outcome.reason).toMatch(/nobody holds stage 1 any more, and there is no checkpoint/);
    expect(events.at(-1)).toMatchObject({ kind: "failed" });
  });
});

describe("InProcessGrid by strategy", () => {
  it("naive: hosts a neighbour's stage exactly", async () => {
    const job = tinyJob({ steps: 14, strategy: "naive" }, false);
    const run = await runGrid(job, { tied: false, after: { 3: kill("p0s0"), 8: start("p0s0") } });
    expectExact(job, run);
    expectAlike(run, await runGrid(job, { tied: false }));
    expect(run.epochs[1]!.mixerPipelines).toEqual([[0, 1], [0, 1]]);
  });

  it("drop-replica: leaves the pipeline and its batches out, and takes it in again", async () => {
    const job = tinyJob({ steps: 16, strategy: "drop-replica" });
    const run = await runGrid(job, { after: { 3: kill("p0s0"), 9: start("p0s0") } });
    expect(run.outcome).toEqual({ kind: "finished", step: 16 });
    expect(run.epochs.map(({ cause, lostPipelines }) => [cause, lostPipelines])).toEqual([["formed", []], ["killed", [0]], ["joined", []]]);
    for (const { step, epoch, batches } of run.steps) expect(batches).toEqual(expectedBatches(job, step, epoch === 2 ? [1] : undefined));
    // The worker that was left stays a replica all the while.
    for (const { epoch, stateHashes } of run.steps) expect(stateHashes.map(({ replicas }) => replicas)).toEqual(epoch === 2 ? [1, 2] : [2, 2]);
    expect(run.recoveries.at(-1)!.transfers).toMatchObject([{ slot: "p0s0", stage: 0, donor: "p1s0" }]);
  });

  it("none: ends by the first death", async () => {
    const { outcome } = await runGrid(tinyJob({ steps: 300, strategy: "none" }), { after: { 3: kill("p0s0") } });
    expect(outcome.kind === "failed" && outcome.reason).toMatch(/p0s0.*does not survive failures/);
  });

  it.each(["mecefo", "none"] as const)("%s: stops where it is asked to", async (strategy) => {
    const { outcome, steps } = await runGrid(tinyJob({ steps: 500, strategy }), { after: { 4: (grid) => grid.requestStop() } });
    expect(outcome.kind).toBe("finished");
    expect(outcome.kind === "finished" && outcome.step).toBe(steps.length);
    expect(steps.length).toBeLessThan(40);
    expect(steps.length).toBeGreaterThan(4);
  });
});
