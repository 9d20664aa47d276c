import { memory } from "@frugal/tensor-core";
import { describe, expect, it } from "vitest";
import { createFaultSchedule } from "../chaos/fault-schedule.ts";
import type { Fault } from "../chaos/fault-schedule-format.ts";
import { slotName, slotsOf } from "../grid/grid.ts";
import { expectedBatches, runGrid } from "./grid-run.testing.ts";
import type { WorkerFault } from "./grid-runtime.ts";
import type { InProcessGrid } from "./in-process-grid.ts";
import { tinyJob } from "./tiny-run.testing.ts";

describe("chaos in one process (spec §1.11, point 11)", () => {
  const runs = [["2x2", 1000, 11, true], ["3x2", 300, 12, false]] as const;
  it.each(runs)("%s: %i steps without a hang or divergence, every batch once (seed %i)", async (grid, stepCount, seed, tied) => {
    const before = memory().allocations;
    const job = tinyJob({
      grid, steps: stepCount, microbatches: 2, microbatchSize: 1,
      timeouts: { heartbeatInterval: 20, suspicionFloor: 300, suspicionCeiling: 700, linkEstablishment: 500 },
    }, tied);
    const schedule = createFaultSchedule({
      seed, faults: 10_000, slots: slotsOf(job.grid).map(slotName), kinds: { kill: 4, stop: 1, cut: 3, slow: 2, corrupt: 3 },
      meanTimeBetweenFaults: 120, meanTimeToRepair: 200, meanStopDuration: 150, meanSlowDuration: 50, meanSlowDelay: 5, largestFrames: 2,
    });
    const counts: Record<string, number> = {};
    /** Slots whose worker may be out, or about to be: with another one of their stage the stage might be lost. */
    const unwell = new Map<string, "struck" | "out" | "back">();
    const strike = (running: InProcessGrid, fault: Fault): void => {
      const what: WorkerFault = fault.kind === "kill" ? { kind: "kill", repairAfter: fault.repairAfter }
        : fault.kind === "stop" ? { kind: "stop", durationMilliseconds: fault.duration }
        : fault.kind === "slow" ? { kind: "slow", delayMilliseconds: fault.delay, durationMilliseconds: fault.duration }
        : fault.kind === "cut" ? { kind: "cut" } : { kind: "corrupt", frames: fault.frames };
      const { slot } = fault;
      unwell.set(slot, fault.kind === "kill" ? "out" : "struck");
      setTimeout(() => {
        if (unwell.get(slot) === "struck") unwell.delete(slot);
      }, ("duration" in fault ? fault.duration : 0) + 1000);
      running.inject(slot, what).then(() => {
        counts[fault.kind] = (counts[fault.kind] ?? 0) + 1;
      }, () => {
        // Dead already, and not known to be.
      });
    };
    let lastStep = Date.now();
    let longest = 0;
    let timer: NodeJS.Timeout | undefined;
    const began = performance.now();
    const run = await runGrid(job, { tied, on: (event, running) => {
      if (event.kind === "epoch") {
        for (const slot of slotsOf(job.grid).map(slotName)) {
          if (event.reason.includes(`${slot} is back`)) unwell.set(slot, "back");
          else if (!event.live.includes(slot)) unwell.set(slot, "out");
        }
      }
      if (event.kind === "step") {
        for (const [slot, how] of unwell) if (how === "back") unwell.delete(slot);
        longest = Math.max(longest, Date.now() - lastStep);
        lastStep = Date.now();
      }
      timer ??= setInterval(() => {
        const now = performance.now() - began;
        if (schedule.due === undefined || schedule.due > now) return;
        const fault = schedule.next(running.live.filter((slot) => !unwell.has(slot)), now);
        if (fault !== undefined) strike(running, fault);
      }, 10);
      // The last steps are taken in peace, so that the run can end.
      if (event.kind === "step" && event.step >= stepCount - 20) clearInterval(timer);
    } }).finally(() => {
      clearInterval(timer);
    });
    console.log(`${grid}: faults ${JSON.stringify(counts)}, ${run.epochs.length} epochs, longest step ${longest} ms`);
    expect(run.outcome).toEqual({ kind: "finished", step: stepCount });
    expect(run.steps.map(({ step }) => step)).toEqual(Array.from({ length: stepCount }, (_, step) => step));
    for (const { step, batches } of run.steps) expect(batches).toEqual(expectedBatches(job, step));
    expect(run.epochs.filter(({ cause }) => cause === "divergence")).toEqual([]);
    for (const { reason, epoch } of run.epochs) expect(reason, `epoch ${epoch}`).not.toBe("");
    expect(run.epochs.map(({ epoch }) => epoch)).toEqual(run.epochs.map((_, i) => i + 1));
    // Fast machines take their steps in less time, and meet fewer faults.
    expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(stepCount / 100);
    expect(memory().allocations).toBe(before);
  }, 300_000);
});
