import type { CodecTable } from "../calibration/codec-table.ts";
import { stepOfRate } from "../calibration/step-at-ratio.ts";
import type { CodecMode } from "../codecs/codec-mode.ts";
import type { FourierShape } from "../codecs/fourier-shape.ts";
import { codecDefinition, createCodec, type CodecOptions } from "../codecs/registry.ts";
import { SettingsError } from "../errors.ts";
import type { ComparedCodec } from "./compared-codecs.ts";
import { findStep } from "./find-step.ts";
import { measureBytes, measureReconstruction, type MeasureOptions, type MessageRows } from "./reconstruction.ts";

/** How a ratio is spread over messages. */
export type RateAllocation =
  /** Quantisers use one step for all messages, so that hard messages may take bytes that easy ones leave; others have no step. */
  | "shared-step"
  /** Every message by itself keeps the ratio, as on a network with a fixed rate. */
  | "each-message";

/** Options of `settingsAtRatio`. */
export interface AtRatioOptions extends MeasureOptions {
  readonly allocation?: RateAllocation;
  /**
   * Values that the ratio is of. Default: all of the messages. Fewer where rows that cost nothing (begin rows of the table) are among them
   * and are not to be credited to the codec.
   */
  readonly values?: number;
}

/** What a codec is made with, besides its table. */
export type RateSettings = Pick<CodecOptions, "mode" | "shape">;

/**
 * The settings with which a codec brings these messages to 1/ratio of their float16 bytes: no mode for codecs of a fixed rate, a step
 * shared by all messages for quantisers (unless `allocation` says otherwise), the ratio in each message for the rest. Blocks of low
 * frequencies get the shape with the least error on these very messages.
 * @throws SettingsError, CodecTargetError, CodecTableError
 */
export async function settingsAtRatio(
  codec: ComparedCodec, ratio: number | undefined, messages: readonly MessageRows[], table: CodecTable | undefined, options: AtRatioOptions,
): Promise<RateSettings> {
  const { name, of, tokenShares } = codec;
  const definition = codecDefinition(name);
  if (definition.isFixedRate) return {};
  if (ratio === undefined || !(ratio > 0 && Number.isFinite(ratio))) throw new SettingsError(`ratio ${ratio}; use a finite number > 0`);
  const { allocation = "shared-step" } = options;
  const eachMessage: CodecMode = { kind: "ratio", ratio, of };
  if (tokenShares !== undefined) return { mode: eachMessage, shape: await bestShape(codec, eachMessage, messages, table, options) };
  const hasStep = definition.create({ table }).targets.includes("step");
  if (allocation === "each-message" || of === "elements" || !hasStep) return { mode: eachMessage };
  let [values, energy] = [0, 0];
  for (const { rows } of messages) {
    values += rows.length;
    for (const value of rows) energy += value * value;
  }
  const budget = Math.floor((2 * (options.values ?? values)) / ratio);
  const bytesAt = (step: number): Promise<number> =>
    measureBytes(createCodec(name, { table, mode: { kind: "step", step } }), messages, options);
  const tokens = messages.reduce((sum, message) => sum + message.tokens, 0);
  // Without calibrated rates: a step of about the size of the values is near what such ratios take.
  const start = stepOfRate(table?.rates[name] ?? [], budget / tokens) ?? (Math.sqrt(energy / values) || 1);
  return { mode: { kind: "step", step: await findStep(bytesAt, budget, start) } };
}

async function bestShape(
  { name, tokenShares = [] }: ComparedCodec, mode: CodecMode, messages: readonly MessageRows[], table: CodecTable | undefined,
  options: MeasureOptions,
): Promise<FourierShape> {
  let best: { readonly shape: FourierShape; readonly error: number } | undefined;
  for (const tokenShare of tokenShares) {
    const shape: FourierShape = { kind: "tokenShare", tokenShare };
    const { relativeError: error } = await measureReconstruction(createCodec(name, { table, mode, shape }), messages, options);
    if (best === undefined || error < best.error) best = { shape, error };
  }
  if (best === undefined) throw new SettingsError(`${name}: no shape to choose from`);
  return best.shape;
}

/** Settings as rows of comparisons hold them. */
export function rateOf({ mode, shape }: RateSettings): { readonly mode?: CodecMode; readonly tokenShare?: number } {
  return { ...(mode === undefined ? {} : { mode }), ...(shape?.kind === "tokenShare" ? { tokenShare: shape.tokenShare } : {}) };
}
