import { codecDefinition, createCodec, type CodecOptions } from "../codecs/registry.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import { CodecTargetError, SettingsError } from "../errors.ts";
import { measureBytes, type MeasureOptions, type MessageRows } from "./reconstruction.ts";

/** How a ratio is spread over messages. */
export type RateAllocation =
  /** Quantisers use one step for all messages, so that hard messages may take bytes that easy ones leave; others have no step. */
  | "shared-step"
  /** Every message by itself keeps the ratio, as on a network with a fixed rate. */
  | "each-message";

/** Total bytes below the budget by less than this share are near enough. */
const TOLERANCE = 0.001;
const MOST_TRIALS = 40;

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
  let current = await attempt(start);
  while (fine === undefined || coarse === undefined) {
    if (current.bytes > budget) fine = current;
    else coarse = current;
    if (fine !== undefined && coarse !== undefined) break;
    if (trials++ > MOST_TRIALS) {
      if (coarse !== undefined) return coarse.step;
      throw new CodecTargetError(`no step brings the messages to ${budget} bytes; ${fine!.bytes} is the least`);
    }
    current = await attempt(fine === undefined ? current.step / 2 : current.step * 2);
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

/** Options of `modeAtRatio`. */
export interface AtRatioOptions extends MeasureOptions {
  readonly allocation?: RateAllocation;
  /** What the ratio counts. "elements" for codecs that drop numbers: papers count those. Default "bytes". */
  readonly of?: "bytes" | "elements";
  /**
   * Values that the ratio is of. Default: all of the messages. Fewer where rows that cost nothing (begin rows of the table) are among them
   * and are not to be credited to the codec.
   */
  readonly values?: number;
}

/**
 * The mode with which a codec brings these messages to 1/ratio of their float16 bytes: undefined for codecs of a fixed rate, a step shared by
 * all messages for quantisers (unless `allocation` says otherwise), the ratio in each message for the rest.
 * @throws SettingsError, CodecTargetError
 */
export async function modeAtRatio(
  name: string, ratio: number, messages: readonly MessageRows[], codecOptions: Omit<CodecOptions, "mode">, options: AtRatioOptions,
): Promise<CodecMode | undefined> {
  if (!(ratio > 0 && Number.isFinite(ratio))) throw new SettingsError(`ratio ${ratio}; use a finite number > 0`);
  const definition = codecDefinition(name);
  if (definition.isFixedRate) return undefined;
  const { allocation = "shared-step", of = "bytes" } = options;
  if (allocation === "each-message" || of === "elements" || !definition.create(codecOptions).targets.includes("step")) {
    return { kind: "ratio", ratio, of };
  }
  let [values, energy] = [0, 0];
  for (const { rows } of messages) {
    values += rows.length;
    for (const value of rows) energy += value * value;
  }
  const budget = Math.floor((2 * (options.values ?? values)) / ratio);
  const bytesAt = (step: number): Promise<number> =>
    measureBytes(createCodec(name, { ...codecOptions, mode: { kind: "step", step } }), messages, options);
  // A step of about the size of the values is near what such ratios take.
  const start = Math.sqrt(energy / values) || 1;
  return { kind: "step", step: await findStep(bytesAt, budget, start) };
}
