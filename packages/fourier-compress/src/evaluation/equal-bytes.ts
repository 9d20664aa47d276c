import { codecDefinition, createCodec, type CodecOptions } from "../codecs/registry.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import { SettingsError } from "../errors.ts";
import { findStep } from "./find-step.ts";
import { measureBytes, type MeasureOptions, type MessageRows } from "./reconstruction.ts";

/** How a ratio is spread over messages. */
export type RateAllocation =
  /** Quantisers use one step for all messages, so that hard messages may take bytes that easy ones leave; others have no step. */
  | "shared-step"
  /** Every message by itself keeps the ratio, as on a network with a fixed rate. */
  | "each-message";

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
