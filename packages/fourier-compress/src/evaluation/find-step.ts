import { CodecTargetError, SettingsError } from "../errors.ts";

/** Total bytes below the budget by less than this share are near enough. */
const TOLERANCE = 0.001;
const MOST_TRIALS = 40;
const SMALLEST_STEP = 1e-30;
const LARGEST_STEP = 1e30;

/**
 * The smallest step with which all messages together take at most `budget` bytes, found by interpolating log bytes over log step inside a
 * bracket. Bytes fall as the step grows, but for rounding; what is returned fits by measurement.
 * @param bytesAt coded bytes of all messages with a step
 * @param start a first guess
 * @throws CodecTargetError when even the coarsest step takes more
 */
export async function findStep(bytesAt: (step: number) => Promise<number>, budget: number, start: number): Promise<number> {
  if (!(start > 0 && Number.isFinite(start))) throw new SettingsError(`findStep: start ${start}; use a finite number > 0`);
  interface Trial {
    readonly step: number;
    readonly bytes: number;
  }
  const attempt = async (step: number): Promise<Trial> => ({ step, bytes: await bytesAt(step) });
  let trials = 1;
  let fine: Trial | undefined;
  let coarse: Trial | undefined;
  let factor: number | undefined;
  let current = await attempt(start);
  while (fine === undefined || coarse === undefined) {
    if (current.bytes > budget) fine = current;
    else coarse = current;
    if (fine !== undefined && coarse !== undefined) break;
    if (coarse !== undefined && coarse.bytes >= (1 - TOLERANCE) * budget) return coarse.step;
    if (trials++ > MOST_TRIALS || current.step < SMALLEST_STEP || current.step > LARGEST_STEP) {
      if (coarse !== undefined) return coarse.step;
      throw new CodecTargetError(`no step brings the messages to ${budget} bytes; ${fine!.bytes} is the least`);
    }
    // A guess that is nearly right is bracketed by a small step aside; one that is not, by ever larger ones.
    const apart = Math.abs(Math.log(current.bytes / budget));
    factor = factor === undefined ? Math.min(2, Math.exp(Math.max(0.05, 2 * apart))) : Math.min(1000, factor ** 1.5);
    current = await attempt(fine === undefined ? current.step / factor : current.step * factor);
  }
  for (; trials < MOST_TRIALS && coarse.bytes < (1 - TOLERANCE) * budget && coarse.step / fine.step > 1 + 1e-6; trials++) {
    const slope = Math.log(coarse.bytes / fine.bytes) / Math.log(coarse.step / fine.step);
    // Aim just below the budget, and stay off the ends of the bracket, so that each trial narrows it.
    const aimed = Math.log(((1 - TOLERANCE / 2) * budget) / fine.bytes) / slope / Math.log(coarse.step / fine.step);
    const share = Math.min(0.95, Math.max(0.05, Number.isFinite(aimed) ? aimed : 0.5));
    const trial = await attempt(fine.step * (coarse.step / fine.step) ** share);
    if (trial.bytes > budget) fine = trial;
    else coarse = trial;
  }
  return coarse.step;
}
