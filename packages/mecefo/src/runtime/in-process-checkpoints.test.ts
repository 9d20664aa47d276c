import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Job } from "../job/job.ts";
import { openCheckpoint } from "../checkpoint/open-checkpoint.ts";
import { expectedBatches, hashesOf, kill, runGrid, start, type EndedRun } from "./grid-run.testing.ts";
import { forbidLeaks } from "./leaks.testing.ts";
import { resumePoint } from "./job-checkpoints.ts";
import { tinyJob } from "./tiny-run.testing.ts";

forbidLeaks();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mecefo-test-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const written = ({ events }: EndedRun): { step: number; folder: string; degraded: boolean }[] =>
  events.flatMap((event) => (event.kind === "checkpoint" ? [{ step: event.step, folder: event.folder, degraded: event.degraded }] : []));

const jobWith = (options: Parameters<typeof tinyJob>[0] = {}, every = 4): Job =>
  tinyJob({ steps: 12, checkpoint: { folder: join(folder, "run"), every }, ...options });

describe("InProcessGrid with checkpoints", () => {
  it("goes on from one with the same bits, on the same grid", async () => {
    const job = jobWith();
    const whole = await runGrid(job);
    expect(written(whole).map(({ step, degraded }) => [step, degraded])).toEqual([[4, false], [8, false], [12, false]]);
    const resume = await resumePoint(job, written(whole)[0]!.folder);
    expect(resume.step).toBe(4);
    const again = jobWith({ checkpoint: { folder: join(folder, "again"), every: 4 } });
    const rest = await runGrid(again, { more: { resume } });
    expect(rest.outcome).toEqual({ kind: "finished", step: 12 });
    expect(rest.steps.map(({ step }) => step)).toEqual([4, 5, 6, 7, 8, 9, 10, 11]);
    expect(hashesOf(rest.steps)).toEqual(hashesOf(whole.steps.slice(4)));
  });

  it.each([["1x4", 8], ["4x1", 2], ["2x4", 4]] as const)("goes on from one on another grid: %s", async (grid, microbatches) => {
    const job = jobWith({ microbatches: 4 });
    const whole = await runGrid(job, { after: { 3: (running) => running.requestStop() } });
    const { folder: at, step } = written(whole).at(-1)!;
    const other = tinyJob({ steps: 12, grid, microbatches, checkpoint: { folder: join(folder, "other"), every: 100 } });
    const rest = await runGrid(other, { more: { resume: await resumePoint(other, at) } });
    expect(rest.outcome).toEqual({ kind: "finished", step: 12 });
    const straight = await runGrid(tinyJob({ steps: 12, microbatches: 4 }));
    for (const each of rest.steps) {
      expect(each.step).toBeGreaterThanOrEqual(step);
      expect(each.batches).toEqual(expectedBatches(other, each.step));
      expect(each.batches).toEqual(straight.steps[each.step]!.batches);
      expect(each.loss).toBeCloseTo(straight.steps[each.step]!.loss!, 4);
    }
  });

  it("marks what was written while a worker was degraded", async () => {
    const run = await runGrid(jobWith({ steps: 14 }, 3), { after: { 3: kill("p0s1"), 9: start("p0s1") } });
    const healthy = new Map(run.epochs.map((epoch) => [epoch.epoch, epoch.healthy]));
    const marks = written(run);
    // That of step 3 may have lost a part with the worker.
    expect(marks.map(({ step }) => step).slice(-4)).toEqual([6, 9, 12, 14]);
    for (const { step, degraded, folder: at } of marks.slice(-3)) {
      const { epoch } = run.steps.find((each) => each.step === step - 1)!;
      expect(degraded).toBe(!healthy.get(epoch));
      expect((await openCheckpoint(at)).manifest.degraded).toBe(degraded);
    }
    expect(marks.map(({ degraded }) => degraded)).toContain(true);
    expect(marks.at(-1)!.degraded).toBe(false);
  });

  it("goes back to the last one when a stage is lost everywhere", async () => {
    const job = jobWith({ steps: 60 }, 30);
    const run = await runGrid(job, { on: (event, grid) => {
      if (event.kind === "checkpoint" && event.step === 30) kill("p0s1", "p1s1")(grid);
      if (event.kind === "epoch" && event.cause === "stage-lost") start("p0s1", "p1s1")(grid);
    } });
    expect(run.outcome).toEqual({ kind: "finished", step: 60 });
    const lost = run.epochs.find(({ cause }) => cause === "stage-lost")!;
    expect(lost.step).toBe(30);
    expect(lost.reason).toMatch(/nobody holds stage 1 any more: back to step 30/);
    const again = run.steps.map(({ step }) => step).find((step, i, all) => all.indexOf(step) !== i);
    expect(again).toBe(30);
    // It begins with the bits it had then; from there on it is degraded.
    const [first, second] = hashesOf(run.steps.filter(({ step }) => step === 30));
    expect(second).toEqual(first);
    expect(new Set(run.steps.map(({ step }) => step)).size).toBe(60);
    for (const { step, batches } of run.steps) expect(batches).toEqual(expectedBatches(job, step));
  });

  it("checkpoint-restart: goes back at a death, waits, and ends with the bits of a run without one", async () => {
    const job = jobWith({ steps: 60, strategy: "checkpoint-restart" }, 30);
    const hurt = await runGrid(job, { on: (event, grid) => {
      if (event.kind === "checkpoint" && event.step === 30) kill("p1s0")(grid);
      if (event.kind === "epoch" && event.cause === "killed") setTimeout(() => grid.start("p1s0"), 50);
    } });
    expect(hurt.outcome).toEqual({ kind: "finished", step: 60 });
    expect(hurt.epochs.map(({ cause, step }) => [cause, step])).toEqual([["formed", 0], ["killed", 30], ["joined", 30]]);
    const whole = await runGrid(tinyJob({ steps: 60, strategy: "none" }));
    const last = new Map(hurt.steps.map((step) => [step.step, step]));
    expect(hashesOf([...last.values()].toSorted((a, b) => a.step - b.step))).toEqual(hashesOf(whole.steps));
  });

  it("writes one when it is asked to stop, with a dead worker too", async () => {
    const run = await runGrid(jobWith({ steps: 500 }, 400), { after: { 3: kill("p0s0"), 8: (grid) => grid.requestStop() } });
    const { outcome } = run;
    expect(outcome.kind).toBe("finished");
    const step = outcome.kind === "finished" ? outcome.step : 0;
    expect(step).toBe(run.steps.length);
    expect(written(run)).toMatchObject([{ step, degraded: true }]);
  });
});
