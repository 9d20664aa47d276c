import { describe, expect, it } from "vitest";
import { StepDeadline } from "./step-deadline.ts";

const limits = { stepFactor: 10, stepFloor: 500, stepCeiling: 3000 };

describe("StepDeadline", () => {
  it("allows a multiple of what steps usually take, within a floor and a ceiling", () => {
    const deadline = new StepDeadline(limits, 0);
    let now = 0;
    const take = (milliseconds: number): number => deadline.taken((now += milliseconds));
    expect(deadline.isOver(100_000)).toBe(false);
    expect([take(100), take(900), take(100)]).toEqual([100, 900, 100]);
    // One slow step says little.
    expect(deadline.limit).toBe(1000);
    expect([deadline.isOver(now + 1000), deadline.isOver(now + 1001)]).toEqual([false, true]);
    for (let i = 0; i < 21; i++) take(10);
    expect(deadline.limit).toBe(500);
    for (let i = 0; i < 21; i++) take(2000);
    expect(deadline.limit).toBe(3000);
  });

  it("does not count what the leader slept through, nor what lies before a beginning", () => {
    const deadline = new StepDeadline(limits, 0);
    deadline.taken(100);
    deadline.shift(5000, 5200);
    expect([deadline.isOver(6100), deadline.isOver(6101)]).toEqual([false, true]);
    deadline.begin(9000);
    expect([deadline.isOver(10_000), deadline.isOver(10_001)]).toEqual([false, true]);
    // Never in the future.
    deadline.shift(99_000, 9500);
    expect(deadline.isOver(10_501)).toBe(true);
  });
});
