/** A learning-rate factor as a function of the step (0 for the first), for `optimizer.learningRateScale`. */
export type Schedule = (step: number) => number;

/** Settings of `cosineSchedule` and `linearSchedule`. */
export interface DecaySettings {
  readonly totalSteps: number;
  /** Steps of linear rise from 0. Default 0. */
  readonly warmupSteps?: number;
  /** Factor at the end. Default 0. */
  readonly finalScale?: number;
}

function decaying({ totalSteps, warmupSteps = 0, finalScale = 0 }: DecaySettings, curve: (progress: number) => number): Schedule {
  return (step) => {
    if (step < warmupSteps) return (step + 1) / warmupSteps;
    const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
    return finalScale + (1 - finalScale) * curve(progress);
  };
}

/** Warm-up, then half a cosine down to `finalScale` (Loshchilov & Hutter 2017). */
export function cosineSchedule(settings: DecaySettings): Schedule {
  return decaying(settings, (progress) => (1 + Math.cos(Math.PI * progress)) / 2);
}

/** Warm-up, then a straight line down to `finalScale`. */
export function linearSchedule(settings: DecaySettings): Schedule {
  return decaying(settings, (progress) => 1 - progress);
}

/** Warm-up, then constant. */
export function constantSchedule({ warmupSteps = 0 }: { readonly warmupSteps?: number } = {}): Schedule {
  return (step) => (step < warmupSteps ? (step + 1) / warmupSteps : 1);
}

/** Multiplied by `factor` every `interval` steps. */
export function stepSchedule({ interval, factor }: { readonly interval: number; readonly factor: number }): Schedule {
  return (step) => factor ** Math.floor(step / interval);
}
