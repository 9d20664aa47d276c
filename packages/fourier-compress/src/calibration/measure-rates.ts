import { tensor } from "@frugal/tensor-core";
import { channelCoder } from "../codecs/channel.ts";
import { createCodecOf } from "../codecs/create-codec.ts";
import { karhunenLoeveCoder } from "../codecs/karhunen-loeve.ts";
import type { RowCoder } from "../codecs/row-coder.ts";
import { CodecTargetError } from "../errors.ts";
import type { CodecTable, RatePoint } from "./codec-table.ts";
import { countRows } from "./covariance.ts";
import { principalBasis } from "./cross-fit.ts";
import type { UnhashedCodecTable } from "./hash-table.ts";

/** Steps at which rates are measured, in units of the rows' root mean square: 5 bits and more a value down to a quarter of a bit. */
const RATE_STEPS: readonly number[] = Array.from({ length: 16 }, (_, index) => 2 ** (index / 2 - 5));
/** Rates are measured on one row of so many, and on no more than `MOST_RATE_ROWS`: more say the same. */
const ROWS_PER_RATE_ROW = 8;
const MOST_RATE_ROWS = 1024;
/** Stretches of text that these rows are from: all kinds of text, but each apart from the rows beside it. */
const STRETCHES = 16;

/**
 * Rates of the codecs that have a step, by codec name. The KLT codec's are measured with a basis of the other rows: coefficients of the
 * rows that made a basis are smaller than those of text to come, and their rates as much too good (a quarter on 4,096 rows of 2,048
 * channels). The channels' few statistics need no such care.
 * @param rows the table's calibration rows, [rows, hiddenSize]
 * @throws CodecTargetError for rows of zeros; the signal's reason
 */
export async function measureRates(
  unrated: UnhashedCodecTable, rows: Float32Array, signal?: AbortSignal,
): Promise<{ readonly [codec: string]: readonly RatePoint[] }> {
  const { hiddenSize, mean, basis } = unrated;
  const table: CodecTable = { ...unrated, hash: "" };
  const count = countRows(rows, hiddenSize);
  const wanted = Math.min(MOST_RATE_ROWS, Math.max(1, Math.floor(count / ROWS_PER_RATE_ROW)));
  const stretches = Math.min(STRETCHES, wanted);
  const length = Math.floor(wanted / stretches);
  const measured = new Float32Array(stretches * length * hiddenSize);
  const others = new Float32Array(rows.length - measured.length);
  for (let stretch = 0, row = 0; stretch < stretches; stretch++) {
    const start = Math.floor(((stretch + 0.5) * count) / stretches - length / 2);
    others.set(rows.subarray(row * hiddenSize, start * hiddenSize), (row - stretch * length) * hiddenSize);
    row = start + length;
    measured.set(rows.subarray(start * hiddenSize, row * hiddenSize), stretch * length * hiddenSize);
    if (stretch === stretches - 1) others.set(rows.subarray(row * hiddenSize), (row - stretches * length) * hiddenSize);
  }
  const channel = await ratesOf(channelCoder(table), table, measured, signal);
  if (basis === undefined) return { channel };
  const fitted = await principalBasis(others, mean, signal);
  const klt = await ratesOf(karhunenLoeveCoder({ ...table, basis: fitted }), table, measured, signal);
  return { channel, klt };
}

/** All rows as one message at each step. */
async function ratesOf(coder: RowCoder, { block, hiddenSize }: CodecTable, rows: Float32Array, signal?: AbortSignal): Promise<RatePoint[]> {
  const count = countRows(rows, hiddenSize);
  const energy = rows.reduce((total, value) => total + value * value, 0);
  const unit = Math.sqrt(energy / rows.length);
  const context = {
    kind: "activation", block, streamId: "calibration", sequences: [{ positionOffset: 1, tokens: count }],
    limits: { tokens: count, hiddenSize },
  } as const;
  using hidden = tensor(rows, [count, hiddenSize]);
  const points: RatePoint[] = [];
  for (const share of RATE_STEPS) {
    signal?.throwIfAborted();
    const step = Math.fround(share * unit);
    if (!(step > 0)) throw new CodecTargetError("the calibration rows are all zeros; there is nothing to code");
    const codec = createCodecOf(coder, { mode: { kind: "step", step } });
    const bytes = await codec.encode(hidden, context);
    using decoded = await codec.decode(bytes, context, "cpu");
    const values = await decoded.data("float32");
    const lost = values.reduce((total, value, index) => total + (value - rows[index]!) ** 2, 0);
    points.push({ step, bytesPerToken: bytes.length / count, relativeError: Math.sqrt(lost / energy) });
  }
  return points;
}
