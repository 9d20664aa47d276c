import { foldIn, randomKey, randomWord, type RandomKey } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";
import { parseSlot } from "../grid/grid.ts";
import {
  faultKinds, faultScheduleSettingsSchema, type Fault, type FaultKind, type FaultScheduleSettings,
} from "./fault-schedule-format.ts";

/** Settings with their defaults. */
type Complete = { readonly [Name in keyof FaultScheduleSettings]-?: NonNullable<FaultScheduleSettings[Name]> };

function withDefaults(settings: FaultScheduleSettings): Complete {
  const {
    kinds = { kill: 1 }, keepStages = true, meanStopDuration = 2000, meanCutDuration = 1000, meanSlowDuration = 2000, meanSlowDelay = 50,
    largestFrames = 4, ...given
  } = settings;
  return {
    ...given, slots: [...settings.slots].sort(bySlot),
    kinds, keepStages, meanStopDuration, meanCutDuration, meanSlowDuration, meanSlowDelay, largestFrames,
  };
}

/** What each random number of a fault is for; a fault's key gives as many as are asked for. */
const INTERVAL = 0;
const KIND = 1;
const SLOT = 2;
const REPAIR = 3;
const DURATION = 4;
const DELAY = 5;
const FRAMES = 6;

/** Means are multiplied by at most this, so that no fault lasts for ever: an exponential exceeds it once in about 20 000 times. */
const LONGEST_OVER_MEAN = 10;

/**
 * Faults one after another. When, of what kind and how long they are depends on the seed only; whom they strike also on who is alive when
 * they are due: the same seed and live sets give the same faults, in any process.
 */
export class FaultSchedule {
  /** With all defaults filled in: `createFaultSchedule` makes the same schedule of it again. */
  readonly settings: Complete;
  readonly #key: RandomKey;
  #index = 0;
  #at = 0;

  /** Use `createFaultSchedule`, which checks them. */
  constructor(settings: Complete) {
    this.settings = settings;
    this.#key = randomKey(settings.seed);
  }

  /** Faults that are still to come. */
  get remaining(): number {
    return this.settings.faults - this.#index;
  }

  /** When the next fault is due, in milliseconds after the schedule's beginning; undefined after the last. */
  get due(): number | undefined {
    return this.remaining === 0 ? undefined : this.#at + this.#exponential(INTERVAL, this.settings.meanTimeBetweenFaults);
  }

  #uniform(purpose: number): number {
    return (randomWord(foldIn(this.#key, this.#index), purpose) + 0.5) / 4294967296;
  }

  #exponential(purpose: number, mean: number): number {
    return Math.round(mean * Math.min(LONGEST_OVER_MEAN, -Math.log(this.#uniform(purpose))));
  }

  #kind(): FaultKind {
    const weights = faultKinds.map((kind) => this.settings.kinds[kind] ?? 0);
    let at = this.#uniform(KIND) * weights.reduce((sum, weight) => sum + weight, 0);
    const chosen = weights.findIndex((weight) => (at -= weight) < 0);
    // The last kind with any weight, where rounding went past the end.
    return faultKinds[chosen < 0 ? weights.findLastIndex((weight) => weight > 0) : chosen]!;
  }

  #candidates(live: readonly string[]): string[] {
    const alive = new Set(live);
    const slots = this.settings.slots.filter((slot) => alive.has(slot));
    if (!this.settings.keepStages) return slots;
    const perStage = new Map<number, number>();
    for (const slot of slots) {
      const { stage } = parseSlot(slot);
      perStage.set(stage, (perStage.get(stage) ?? 0) + 1);
    }
    return slots.filter((slot) => perStage.get(parseSlot(slot).stage)! > 1);
  }

  /**
   * The next fault, for one of the slots that are alive and well now, or undefined: after the last, or when none can be struck. In the
   * second case (`remaining` is above zero) nothing is used up: ask again when more are alive. With `keepStages`, every kind counts as if
   * it took its worker out, since all but the mildest do.
   * @param live names of slots ("p0s1"), in any order; those that the schedule does not know are left alone
   * @param now the time, if a fault that is overdue is to be dated by it, and those after it likewise; default: by when it was due
   */
  next(live: readonly string[], now = 0): Fault | undefined {
    const { due } = this;
    const candidates = this.#candidates(live);
    if (due === undefined || candidates.length === 0) return undefined;
    const { settings } = this;
    const kind = this.#kind();
    const at = Math.max(due, now);
    const common = { index: this.#index, at, slot: candidates[Math.floor(this.#uniform(SLOT) * candidates.length)]! };
    const fault = this.#fault(kind, common, settings);
    this.#index++;
    this.#at = at;
    return fault;
  }

  #fault(kind: FaultKind, common: { index: number; at: number; slot: string }, settings: Complete): Fault {
    switch (kind) {
      case "kill":
        return { kind, ...common, repairAfter: this.#exponential(REPAIR, settings.meanTimeToRepair) };
      case "stop":
        return { kind, ...common, duration: this.#exponential(DURATION, settings.meanStopDuration) };
      case "cut":
        return { kind, ...common, duration: this.#exponential(DURATION, settings.meanCutDuration) };
      case "slow":
        return {
          kind, ...common, duration: this.#exponential(DURATION, settings.meanSlowDuration),
          delay: Math.max(1, this.#exponential(DELAY, settings.meanSlowDelay)),
        };
      case "corrupt":
        return { kind, ...common, frames: 1 + Math.floor(this.#uniform(FRAMES) * settings.largestFrames) };
    }
  }
}

/** @throws SettingsError for settings outside their range, slots twice, or a stage that has one slot only under `keepStages` */
export function createFaultSchedule(settings: FaultScheduleSettings): FaultSchedule {
  const result = faultScheduleSettingsSchema.safeParse(settings);
  if (!result.success) {
    const issues = result.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new SettingsError(`fault schedule: ${issues.join("; ")}`);
  }
  const complete = withDefaults(result.data);
  if (new Set(complete.slots).size < complete.slots.length) throw new SettingsError("fault schedule: a slot is named twice");
  if (complete.keepStages) {
    const stages = complete.slots.map((slot) => parseSlot(slot).stage);
    const struck = stages.some((stage, i) => stages.indexOf(stage) !== i);
    if (!struck) {
      throw new SettingsError("fault schedule: every stage has one slot only, so that keepStages spares them all; use two pipelines");
    }
  }
  return new FaultSchedule(complete);
}

function bySlot(one: string, other: string): number {
  const a = parseSlot(one);
  const b = parseSlot(other);
  return a.pipeline - b.pipeline || a.stage - b.stage;
}
