import type { SequenceRows } from "@frugal/language-model";
import {
  concatenate, float16BitsToFloat32, float32ToFloat16Bits, sqrt, square, sum, tensor, tidy, type DeviceName, type Tensor,
} from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import { isNear, startsWithRow } from "./begin-row.ts";
import type { ByteReader } from "./byte-reader.ts";
import type { ByteWriter } from "./byte-writer.ts";

/**
 * Rows of a sequence that are not coded: the begin row, which the table holds, and spikes ("massive activations", rows hundreds of times
 * larger than the rest that appear on delimiters). Spikes travel in float16, the precision of the baseline, or in float32 where that does
 * not hold them well enough.
 */
export interface ExactRows {
  /** Their places in the sequence, ascending; the begin row is place 0. */
  readonly rows: readonly number[];
  /** Whether the first of them is the table's begin row. */
  readonly hasBeginRow: boolean;
  /** Whether the spikes travel in float32. */
  readonly isWide: boolean;
  /** Values of all of them, [rows.length · hiddenSize]. */
  readonly values: Float32Array;
}

/** Where no row is exact. */
export const NO_EXACT_ROWS: ExactRows = { rows: [], hasBeginRow: false, isWide: false, values: new Float32Array(0) };

const BEGIN_ROW = 1;
const WIDE = 2;
/** Spikes lose no more than this, in proportion: float16's rounding of numbers that are not very small. */
const SPIKE_ERROR: number = 2 ** -11;

/** What a mode asks of exact rows. */
export interface ExactRowsOptions {
  /** Whether spikes are looked for; the begin row always is, at position 0. */
  readonly withSpikes: boolean;
  /** ‖A′ - A‖ / ‖A‖ of exact rows at the most, where that is less than they have anyway. */
  readonly relativeError?: number | undefined;
}

/** The exact rows of a sequence, [tokens, hiddenSize]. */
export async function findExactRows(
  rows: Tensor, sequence: SequenceRows, table: CodecTable, { withSpikes, relativeError = 1 }: ExactRowsOptions,
): Promise<ExactRows> {
  const [tokens, hiddenSize] = rows.shape as readonly [number, number];
  const beginRow = sequence.positionOffset === 0 ? table.beginRow : undefined;
  using norms = tidy(() => sqrt(sum(square(rows), 1)));
  const lengths = await norms.data("float32");
  let hasBeginRow = false;
  if (beginRow !== undefined) {
    using row = rows.slice([0, 1]);
    hasBeginRow = startsWithRow(await row.data("float32"), beginRow, relativeError);
  }
  const found: number[] = hasBeginRow ? [0] : [];
  if (withSpikes) for (let row = hasBeginRow ? 1 : 0; row < tokens; row++) if (lengths[row]! > table.spikeNorm) found.push(row);
  if (found.length === 0) return NO_EXACT_ROWS;
  const values = new Float32Array(found.length * hiddenSize);
  for (const [index, row] of found.entries()) {
    if (hasBeginRow && index === 0) {
      values.set(beginRow!);
      continue;
    }
    using picked = rows.slice([row, row + 1]);
    values.set(await picked.data("float32"), index * hiddenSize);
  }
  const spikes = values.subarray(hasBeginRow ? hiddenSize : 0);
  const rounded = Float32Array.from(spikes, (value) => float16BitsToFloat32(float32ToFloat16Bits(value)));
  return { rows: found, hasBeginRow, isWide: !isNear(rounded, spikes, Math.min(SPIKE_ERROR, relativeError)), values };
}

/** Layout: flags (1 byte), number of spikes (varint), their places as differences (varints), their values. */
export function writeExactRows(writer: ByteWriter, { rows, hasBeginRow, isWide, values }: ExactRows, { tokens }: SequenceRows): void {
  const spikes = hasBeginRow ? rows.slice(1) : rows;
  const hiddenSize = rows.length === 0 ? 0 : values.length / rows.length;
  const sent = values.subarray(hasBeginRow ? hiddenSize : 0);
  writer.uint8((hasBeginRow ? BEGIN_ROW : 0) | (isWide ? WIDE : 0));
  if (tokens === (hasBeginRow ? 1 : 0)) return;
  writer.varint(spikes.length);
  let previous = 0;
  for (const row of spikes) {
    writer.varint(row - previous);
    previous = row;
  }
  writer.append(isWide ? sent : Uint16Array.from(sent, float32ToFloat16Bits));
}

/** @throws CodecMessageError for places outside the sequence */
export function readExactRows(reader: ByteReader, { tokens }: SequenceRows, hiddenSize: number, table: CodecTable): ExactRows {
  const flags = reader.uint8();
  if ((flags & ~(BEGIN_ROW | WIDE)) !== 0) reader.fail(`unknown flags ${flags} of exact rows`);
  const hasBeginRow = (flags & BEGIN_ROW) !== 0;
  if (hasBeginRow && table.beginRow === undefined) reader.fail("the codec table holds no begin row");
  const most = tokens - (hasBeginRow ? 1 : 0);
  const count = most === 0 ? 0 : reader.varint();
  if (count > most) reader.fail(`${count} exact rows of ${most}`);
  const rows: number[] = hasBeginRow ? [0] : [];
  let row = 0;
  for (let i = 0; i < count; i++) {
    const step = reader.varint();
    row += step;
    if ((step === 0 && (i > 0 || hasBeginRow)) || row >= tokens) reader.fail(`exact row ${row} of ${tokens} out of order`);
    rows.push(row);
  }
  const values = new Float32Array((count + (hasBeginRow ? 1 : 0)) * hiddenSize);
  if (hasBeginRow) values.set(table.beginRow!);
  const size = count * hiddenSize;
  const isWide = (flags & WIDE) !== 0;
  const sent = isWide ? reader.float32Array(size) : Float32Array.from(reader.uint16Array(size), float16BitsToFloat32);
  values.set(sent, hasBeginRow ? hiddenSize : 0);
  return rows.length === 0 ? NO_EXACT_ROWS : { rows, hasBeginRow, isWide, values };
}

/** Runs of consecutive places in `tokens` that are in, or not in, the ascending `places`. */
function runs(places: readonly number[], tokens: number): { readonly isExact: boolean; readonly from: number; readonly to: number }[] {
  const exact = new Set(places);
  const found: { isExact: boolean; from: number; to: number }[] = [];
  for (let row = 0; row < tokens; row++) {
    const last = found.at(-1);
    if (last?.isExact === exact.has(row)) last.to = row + 1;
    else found.push({ isExact: exact.has(row), from: row, to: row + 1 });
  }
  return found;
}

/** The rows that are left for the coder; undefined where there is none. The caller frees them. */
export function pickCodedRows(rows: Tensor, exact: ExactRows): Tensor | undefined {
  const tokens = rows.shape[0]!;
  if (exact.rows.length === tokens) return undefined;
  const kept = runs(exact.rows, tokens).filter(({ isExact }) => !isExact);
  if (kept.length === 1) return rows.slice([kept[0]!.from, kept[0]!.to]);
  return tidy(() => concatenate(kept.map(({ from, to }) => rows.slice([from, to])), 0));
}

/** The whole sequence from its coded and exact rows, [tokens, hiddenSize]; the caller frees it. */
export function joinRows(others: Tensor | undefined, exact: ExactRows, tokens: number, hiddenSize: number, device: DeviceName): Tensor {
  if (exact.rows.length === 0) return others!.reshape(others!.shape);
  return tidy(() => {
    const sent = tensor(exact.values, [exact.rows.length, hiddenSize], { device });
    if (others === undefined) return sent;
    let coded = 0;
    let exactly = 0;
    const parts = runs(exact.rows, tokens).map(({ isExact, from, to }) => {
      const count = to - from;
      if (isExact) return sent.slice([exactly, (exactly += count)]);
      return others.slice([coded, (coded += count)]);
    });
    return concatenate(parts, 0);
  });
}
