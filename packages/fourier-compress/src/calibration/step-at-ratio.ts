import type { CodecMode } from "../codecs/codec-mode.ts";
import { SettingsError } from "../errors.ts";
import type { CodecTable } from "./codec-table.ts";

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
  const bytes = (2 * table.hiddenSize) / ratio;
  const [finest, coarsest] = [points[0]!, points.at(-1)!];
  if (!(bytes <= finest.bytesPerToken && bytes >= coarsest.bytesPerToken)) {
    const ratioOf = ({ bytesPerToken }: typeof finest): string => ((2 * table.hiddenSize) / bytesPerToken).toFixed(1);
    throw new SettingsError(`ratio ${ratio}; the codec table knows ${codec} from ${ratioOf(finest)} to ${ratioOf(coarsest)}`);
  }
  const above = Math.max(1, points.findIndex(({ bytesPerToken }) => bytesPerToken <= bytes));
  const [before, after] = [points[above - 1]!, points[above]!];
  const share = Math.log(bytes / before.bytesPerToken) / Math.log(after.bytesPerToken / before.bytesPerToken) || 0;
  return { kind: "step", step: Math.fround(before.step * (after.step / before.step) ** share) };
}
