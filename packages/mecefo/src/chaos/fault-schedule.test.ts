import { describe, expect, it } from "vitest";
import { FormatError, SettingsError } from "../errors.ts";
import { parseSlot, slotName, slotsOf } from "../grid/grid.ts";
import { faultKinds, parseFaults, parseFaultScheduleSettings, type Fault, type FaultScheduleSettings } from "./fault-schedule-format.ts";
import { planFaults } from "./fault-schedule-plan.ts";
import { createFaultSchedule } from "./fault-schedule.ts";

const slots = slotsOf({ pipelines: 3, stages: 4 }).map(slotName);
const settings: FaultScheduleSettings = {
  seed: 7, faults: 2000, slots, kinds: { kill: 4, stop: 2, cut: 2, slow: 1, corrupt: 1 },
  meanTimeBetweenFaults: 1000, meanTimeToRepair: 3000,
};

function draw(live: (index: number) => readonly string[], given: FaultScheduleSettings = settings): Fault[] {
  const schedule = createFaultSchedule(given);
  return Array.from({ length: given.faults }, (_, i) => schedule.next(live(i))!);
}

describe("fault schedules", () => {
  it("gives the same faults for the same seed and live sets, in whatever order they are named", () => {
    const live = (index: number): string[] => slots.filter((_, i) => (i + index) % 5 !== 0);
    const faults = draw(live);
    expect(draw((index) => live(index).reverse(), { ...settings, slots: [...slots].reverse() })).toEqual(faults);
    expect(draw(live, { ...settings, seed: 8 })).not.toEqual(faults);
  });

  it("is replayed by its own settings", () => {
    const schedule = createFaultSchedule(settings);
    const again = createFaultSchedule(parseFaultScheduleSettings(JSON.stringify(schedule.settings), "test"));
    for (let i = 0; i < 100; i++) expect(again.next(slots)).toEqual(schedule.next(slots));
  });

  it("keeps when and what apart from who is alive", () => {
    const timing = (faults: Fault[]): unknown[] => faults.map(({ slot: _slot, ...rest }) => rest);
    expect(timing(draw(() => slots.slice(0, 8)))).toEqual(timing(draw(() => slots)));
  });

  it("has the mean times and the shares of kinds that it is asked for", () => {
    const faults = draw(() => slots);
    // Standard error of the mean of 2000 exponentials: 2.2 %; four of them.
    expect(faults.at(-1)!.at / faults.length / settings.meanTimeBetweenFaults).toBeCloseTo(1, 1);
    const kills = faults.filter((fault) => fault.kind === "kill");
    expect(kills.length / faults.length).toBeCloseTo(0.4, 1);
    expect(kills.reduce((sum, { repairAfter }) => sum + repairAfter, 0) / kills.length / settings.meanTimeToRepair).toBeGreaterThan(0.86);
    expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(faultKinds));
    expect(new Set(faults.map(({ slot }) => slot)).size).toBe(slots.length);
    for (const fault of faults) if (fault.kind === "corrupt") expect([1, 2, 3, 4]).toContain(fault.frames);
  });

  it("spares the last live worker of a stage", () => {
    const live = ["p0s0", "p1s0", "p0s1", "p2s2", "p1s3"];
    for (const { slot } of draw(() => live)) expect(["p0s0", "p1s0"]).toContain(slot);
    const struck = draw(() => live, { ...settings, keepStages: false }).map(({ slot }) => slot);
    expect(new Set(struck)).toEqual(new Set(live));
  });

  it("waits, and uses nothing up, while nobody may be struck", () => {
    const schedule = createFaultSchedule(settings);
    const { due } = schedule;
    expect(schedule.next(["p0s0", "p1s1"])).toBeUndefined();
    expect(schedule.next([])).toBeUndefined();
    expect(schedule.remaining).toBe(settings.faults);
    expect(schedule.next(slots)).toEqual(createFaultSchedule(settings).next(slots));
    expect(schedule.remaining).toBe(settings.faults - 1);
    expect(schedule.due).toBeGreaterThanOrEqual(due!);
  });

  it("ends", () => {
    const schedule = createFaultSchedule({ ...settings, faults: 1 });
    expect(schedule.next(slots)?.index).toBe(0);
    expect(schedule.due).toBeUndefined();
    expect(schedule.next(slots)).toBeUndefined();
  });

  it("plans all faults beforehand, without ever taking a stage's last worker out", () => {
    const hard = { ...settings, faults: 500, meanTimeBetweenFaults: 200 };
    const faults = planFaults(hard, 100);
    expect(faults).toHaveLength(500);
    expect(planFaults(hard, 100)).toEqual(faults);
    const downUntil = new Map<string, number>();
    let waited = 0;
    let before = 0;
    for (const fault of faults) {
      expect(fault.at).toBeGreaterThanOrEqual(before);
      before = fault.at;
      const isDown = (slot: string): boolean => (downUntil.get(slot) ?? 0) > fault.at;
      expect(isDown(fault.slot)).toBe(false);
      const { stage } = parseSlot(fault.slot);
      expect(slots.some((slot) => slot !== fault.slot && parseSlot(slot).stage === stage && !isDown(slot))).toBe(true);
      waited += slots.some(isDown) ? 1 : 0;
      const outage = fault.kind === "kill" ? fault.repairAfter : fault.kind === "corrupt" ? 0 : fault.duration;
      downUntil.set(fault.slot, fault.at + outage + 100);
    }
    // The plan is not trivially safe: mostly somebody is down already.
    expect(waited).toBeGreaterThan(400);
  });

  it("goes through JSON", () => {
    const faults = planFaults({ ...settings, faults: 50 });
    expect(parseFaults(JSON.stringify(faults), "test")).toEqual(faults);
  });

  it("refuses what it cannot read", () => {
    const fault = { kind: "kill", index: 0, at: 1, slot: "p0s0", repairAfter: 5 };
    const broken = [{ kind: "melt" }, { slot: "p0" }, { at: -1 }].map((change) => JSON.stringify([{ ...fault, ...change }]));
    for (const text of ["{", "{}", ...broken]) {
      expect(() => parseFaults(text, "faults.json"), text).toThrow(FormatError);
    }
    expect(parseFaults(JSON.stringify([fault]), "faults.json")).toEqual([fault]);
    expect(() => parseFaultScheduleSettings(JSON.stringify({ ...settings, seed: 0.5 }), "x")).toThrow(/^x: .*seed/s);
    expect(() => createFaultSchedule({ ...settings, slots: ["p0s0", "p0s1"] })).toThrow(SettingsError);
    expect(() => createFaultSchedule({ ...settings, slots: ["p0s0", "p0s0"] })).toThrow(/twice/);
    expect(() => createFaultSchedule({ ...settings, kinds: { kill: 0 } })).toThrow(/weight above 0/);
    expect(() => createFaultSchedule({ ...settings, meanTimeToRepair: Number.NaN })).toThrow(/meanTimeToRepair/);
  });
});
