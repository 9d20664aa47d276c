import { describe, expect, it } from "vitest";
import { SuspicionMonitor } from "./suspicion.ts";

const limits = { suspicionFloor: 1000, suspicionCeiling: 5000, suspicionDeviations: 20 };

/** Lets time pass in steps of 50 ms; `beats` says who is heard of at each. */
function pass(monitor: SuspicionMonitor, from: number, to: number, beats: (now: number) => readonly string[]): string[] {
  let suspected: string[] = [];
  for (let now = from; now <= to; now += 50) {
    for (const id of beats(now)) monitor.heartbeat(id, now);
    suspected = monitor.suspected(now);
  }
  return suspected;
}

describe("SuspicionMonitor", () => {
  it("suspects whoever is silent for longer than the floor, and nobody else", () => {
    const monitor = new SuspicionMonitor(limits);
    expect(pass(monitor, 0, 5000, () => ["a", "b"])).toEqual([]);
    expect(pass(monitor, 5050, 6000, () => ["b"])).toEqual([]);
    expect(monitor.silentFor("a", 6000)).toBe(1000);
    expect(pass(monitor, 6050, 6100, () => ["b"])).toEqual(["a"]);
    monitor.forget("a");
    expect(monitor.suspected(6150)).toEqual([]);
    expect(monitor.silentFor("a", 6150)).toBeUndefined();
  });

  it("gives more time to whoever's heartbeats are irregular: median + k·MAD", () => {
    const monitor = new SuspicionMonitor(limits);
    // Intervals of 100 and 300 by turns: median 200, MAD 100.
    let next = 0;
    let long = false;
    pass(monitor, 0, 20_000, (now) => {
      if (now < next) return [];
      next = now + (long ? 300 : 100);
      long = !long;
      return ["a"];
    });
    expect(monitor.limitOf("a")).toBe(200 + 20 * 100);
    // Regular ones: the floor.
    pass(monitor, 20_050, 40_000, () => ["a"]);
    expect(monitor.limitOf("a")).toBe(1000);
  });

  it("waits up to the ceiling while it knows little, and never longer", () => {
    const monitor = new SuspicionMonitor(limits);
    pass(monitor, 0, 200, () => ["new"]);
    expect(monitor.limitOf("new")).toBe(5000);
    expect(pass(monitor, 250, 5200, () => [])).toEqual([]);
    expect(pass(monitor, 5250, 5300, () => [])).toEqual(["new"]);
    const erratic = new SuspicionMonitor(limits);
    pass(erratic, 0, 60_000, (now) => (now / 50) % 7 === 0 || (now / 50) % 61 < 9 ? ["a"] : []);
    expect(erratic.limitOf("a")).toBeLessThanOrEqual(5000);
  });

  it("names the most silent first", () => {
    const monitor = new SuspicionMonitor(limits);
    pass(monitor, 0, 2000, () => ["a", "b", "c"]);
    pass(monitor, 2050, 2500, () => ["a", "c"]);
    expect(pass(monitor, 2550, 4000, () => ["c"])).toEqual(["b", "a"]);
  });

  it("evicts nobody because it was itself stopped", () => {
    for (const firstIsHeartbeat of [true, false]) {
      const monitor = new SuspicionMonitor(limits);
      pass(monitor, 0, 5000, () => ["a", "b", "c"]);
      // Stopped for an hour. Heartbeats of "a" that waited in a socket come before or after the first tick.
      const now = 3_605_000;
      if (firstIsHeartbeat) monitor.heartbeat("a", now);
      expect(monitor.suspected(now)).toEqual([]);
      expect(monitor.pauses).toBe(1);
      // Whoever keeps deadlines of its own learns of it, whichever call noticed it.
      expect(monitor.tick(now)).toBe(3_600_000 - 50);
      expect(monitor.tick(now)).toBe(0);
      expect(monitor.limitOf("a")).toBe(1000);
      // Whoever really died meanwhile is found in the usual time.
      expect(pass(monitor, now + 50, now + 900, () => ["a", "b"])).toEqual([]);
      expect(pass(monitor, now + 950, now + 1100, () => ["a", "b"])).toEqual(["c"]);
    }
  });

  it("does not shift by ordinary lateness", () => {
    const monitor = new SuspicionMonitor(limits);
    for (let now = 0; now < 3000; now += 300) {
      monitor.heartbeat("a", now);
      monitor.heartbeat("b", now);
    }
    for (let now = 3000; now < 4500; now += 300) monitor.heartbeat("b", now);
    expect(monitor.pauses).toBe(0);
    expect(monitor.suspected(4500)).toEqual(["a"]);
  });
});
