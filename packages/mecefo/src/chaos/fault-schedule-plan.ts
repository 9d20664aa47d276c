import type { Fault, FaultScheduleSettings } from "./fault-schedule-format.ts";
import { createFaultSchedule } from "./fault-schedule.ts";

/** How long a fault keeps its worker from its work, as far as the plan can know. */
function outage(fault: Fault): number {
  switch (fault.kind) {
    case "kill":
      return fault.repairAfter;
    case "corrupt":
      return 0;
    default:
      return fault.duration;
  }
}

/**
 * All faults of a schedule beforehand, as if each struck worker were back exactly when its fault is over, plus `settling`: a pure function
 * of the settings. Where nobody can be struck, a fault waits until somebody is back.
 * @param settling milliseconds that a worker needs after its fault until it may be struck again
 * @throws SettingsError as `createFaultSchedule`
 */
export function planFaults(settings: FaultScheduleSettings, settling = 0): Fault[] {
  const schedule = createFaultSchedule(settings);
  const backAt = new Map<string, number>();
  const faults: Fault[] = [];
  let now = 0;
  for (;;) {
    const { due } = schedule;
    if (due === undefined) return faults;
    now = Math.max(now, due);
    const fault = schedule.next(settings.slots.filter((slot) => (backAt.get(slot) ?? 0) <= now), now);
    if (fault === undefined) {
      // At least one is away, or `createFaultSchedule` had refused the slots.
      now = Math.min(...[...backAt.values()].filter((at) => at > now));
      continue;
    }
    backAt.set(fault.slot, fault.at + outage(fault) + settling);
    faults.push(fault);
  }
}
