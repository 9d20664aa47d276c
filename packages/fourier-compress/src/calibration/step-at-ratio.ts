import type { CodecMode } from "../codecs/codec-mode.ts";
import { SettingsError } from "../errors.ts";
import type { CodecTable, RatePoint } from "./codec-table.ts";

/** The step that takes so many bytes a token, between the points measured; undefined outside of them. */
export function stepOfRate(points: readonly RatePoint[], bytesPerToken: number): number | undefined {
  const [finest, coarsest] = [points[0], points.at(-1)];
  if (points.length < 2 || !(bytesPerToken <= finest!.bytesPerToken && bytesPerToken >= coarsest!.bytesPerToken)) return undefined;
  const above = Math.max(1, points.findIndex((point) => point.bytesPerToken <= bytesPerToken));
  const [before, after] = [points[above - 1]!, points[above]!];
  const share = Math.log(bytesPerToken / before.bytesPerToken) / Math.log(after.bytesPerToken / before.bytesPerToken) || 0;
  return Math.fround(before.step * (after.step / before.step) ** share);
}

/**
 * The mode that brings messages to a ratio on average, but for a few per cent by which texts differ: the step that did so on calibration
 * rows, by interpolation between those measured.
 * Hard tokens take more bytes and easy ones fewer, at the same quality; in `{ kind: "ratio" }` every message has the same bytes, at a
 * quality that varies, which costs more where messages are single tokens.
 * @param codec one whose rates the table has: "channel", "klt"
 * @throws SettingsError for other codecs, and for ratios beyond those measured
 */
export function stepAtRatio(table: CodecTable, codec: string, ratio: number): CodecMode & { readonly kind: "step" } {
  const points = table.rates[codec];
  if (points === undefined || points.length < 2) {
    const known = Object.keys(table.rates).join(", ") || "none";
    throw new SettingsError(`the codec table has no rates for ${codec}, but for ${known}; use the mode "ratio"`);
  }
  const step = stepOfRate(points, (2 * table.hiddenSize) / ratio);
  if (step !== undefined) return { kind: "step", step };
  const ratioOf = ({ bytesPerToken }: RatePoint): string => ((2 * table.hiddenSize) / bytesPerToken).toFixed(1);
  throw new SettingsError(`ratio ${ratio}; the codec table knows ${codec} from ${ratioOf(points[0]!)} to ${ratioOf(points.at(-1)!)}`);
}
