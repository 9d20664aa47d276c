import { describe, expect, it } from "vitest";
import type { EpochCause } from "../membership/cluster-state.ts";
import type { RunEvent, StepEvent } from "../membership/run-event.ts";
import { fabricatedJob, fabricateEpoch, fabricateRun, fabricateStep } from "./run-events.testing.ts";
import { countingSteps, summarizeRun } from "./run-summary.ts";
import { maximum, mean, median } from "../statistics.ts";

describe("statistics", () => {
  it("are what their names say", () => {
    expect([median([]), median([3]), median([4, 1]), median([9, 1, 2])]).toEqual([undefined, 3, 2.5, 2]);
    expect([maximum([]), maximum([1, 5, 2]), mean([]), mean([1, 2])]).toEqual([undefined, 5, undefined, 1.5]);
  });
});

describe("a run's summary", () => {
  it("sums a run with failures up", () => {
    const events = fabricateRun(fabricatedJob, [
      { slot: "p0s1", from: 5, to: 9 }, { slot: "p1s2", from: 12, to: 14, cause: "stopped" },
    ]);
    const summary = summarizeRun(events, fabricatedJob);
    expect(summary).toMatchObject({
      outcome: "finished", failure: null, steps: 20, undoneSteps: 0, skippedSteps: 0, tokens: 20 * 1024, degradedSteps: 0.3, epochs: 5,
      epochsByCause: { formed: 1, killed: 1, stopped: 1, joined: 2 }, faults: 2, faultsByKind: { kill: 1, stop: 1 },
      smallestMixerPipelines: 1,
    });
    expect(summary.failureRecoveries!.count).toBe(2);
    expect(summary.recoveriesByCause.killed!.medianBytes).toBe(4_812_032);
    expect(summary.ledger!.ok).toBe(true);
    expect(summary.capturedEnergy).toBeGreaterThan(0.5);
  });

  it("computes rates from times", () => {
    const job = { ...fabricatedJob, steps: 4 };
    const step = (epoch: number, number: number, at: number, milliseconds: number): StepEvent =>
      fabricateStep(job, epoch, number, { at, milliseconds, loss: number });
    const events = [
      fabricateEpoch(job, 1, 0, [], { at: 1000 }), step(1, 0, 1200, 200), step(1, 1, 1300, 100), step(1, 2, 1400, 100),
      fabricateEpoch(job, 2, 1, ["p0s0"], { at: 1500, cause: "stage-lost" }), step(2, 1, 1900, 100), step(2, 2, 2000, 100),
    ];
    expect(countingSteps(events).map((event) => event.epoch)).toEqual([1, 2, 2]);
    expect(summarizeRun(events)).toMatchObject({
      outcome: "running", steps: 3, undoneSteps: 2, tokens: 3072, seconds: 1, goodput: 0.4, stepMilliseconds: 100, tokensPerSecond: 10_240,
      degradedSteps: 2 / 3, firstLoss: 0, lastLoss: 2, finalLoss: 2,
    });
  });

  it("counts the wait for a worker that nothing goes on without, and not its return to a run that went on", () => {
    const epoch = (number: number, cause: EpochCause, at: number): RunEvent => fabricateEpoch(fabricatedJob, number, 3, [], { at, cause });
    const recovery = (number: number, cause: EpochCause, at: number, milliseconds: number): RunEvent =>
      ({ kind: "recovery", at, epoch: number, step: 3, cause, reason: "", milliseconds, bytes: 0, transfers: [] });
    const begin = [epoch(1, "formed", 0), recovery(1, "formed", 100, 100), fabricateStep(fabricatedJob, 1, 2, { at: 200 })];
    const restarted = [...begin, epoch(2, "killed", 1000), epoch(3, "joined", 2900), recovery(3, "joined", 3000, 100)];
    expect(summarizeRun(restarted).failureRecoveries).toMatchObject({ count: 1, medianMilliseconds: 2000 });
    const wentOn = [
      ...begin, epoch(2, "killed", 1000), recovery(2, "killed", 1080, 100), fabricateStep(fabricatedJob, 2, 3, { at: 1200 }),
      epoch(3, "joined", 2900), recovery(3, "joined", 3000, 100),
    ];
    expect(summarizeRun(wentOn).failureRecoveries).toMatchObject({ count: 1, medianMilliseconds: 100 });
    expect(summarizeRun(begin).failureRecoveries).toBeNull();
  });

  it("has no figures where nothing was measured", () => {
    const nothing = { outcome: "running", steps: 0, tokensPerSecond: null, goodput: null, degradedSteps: null, seconds: 0 };
    expect(summarizeRun([])).toMatchObject(nothing);
    expect(summarizeRun([{ kind: "failed", at: 1, step: 0, reason: "why" }])).toMatchObject({ outcome: "failed", failure: "why" });
  });
});
