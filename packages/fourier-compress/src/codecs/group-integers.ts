import { tensor } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";
import { ByteWriter } from "./byte-writer.ts";
import { CODEC_IDS } from "./codec-names.ts";
import type { RowCoder } from "./row-coder.ts";
import { appendValues, asStored, readValues } from "./scaled-values.ts";

/** Integer formats of `groupIntegerCoder`. */
export type GroupIntegerFormat = "int8" | "int4";

/** Largest code: symmetric, so that zero is exact. */
const LARGEST_CODE: Readonly<Record<GroupIntegerFormat, number>> = { int8: 127, int4: 7 };

/**
 * Round-to-nearest integers with one float16 scale for each `groupSize` channels of a row (the last group of a row may be shorter), two
 * int4 a byte. 1.94 times smaller than float16 for int8 in groups of 64; 3.56 and 3.76 times for int4 in groups of 32 and 64. The rate is
 * fixed.
 * @throws SettingsError for a group size that is no integer >= 1
 */
export function groupIntegerCoder(format: GroupIntegerFormat, { groupSize }: { readonly groupSize: number }): RowCoder {
  if (!Number.isInteger(groupSize) || groupSize < 1)
    throw new SettingsError(`${format} codec: groupSize ${groupSize}; use an integer >= 1`);
  const largestCode = LARGEST_CODE[format];
  return {
    name: format,
    id: CODEC_IDS[format],
    targets: [],
    async encode(rows) {
      const hiddenSize = rows.shape[1]!;
      const values = await rows.data("float32");
      const scales = groupScales(values, hiddenSize, groupSize, largestCode);
      const codes = new Int8Array(values.length);
      const stored = asStored(scales, "float16");
      forEachGroup(values.length, hiddenSize, groupSize, (group, from, to) => {
        if (stored[group] === 0) return;
        const inverse = 1 / stored[group]!;
        for (let i = from; i < to; i++) {
          // The scale was rounded: the largest value may lie just above its code. Math.round takes eight times as long here.
          const code = Math.floor(values[i]! * inverse + 0.5) | 0;
          codes[i] = code > largestCode ? largestCode : code < -largestCode ? -largestCode : code;
        }
      });
      const writer = new ByteWriter();
      appendValues(format, writer, scales, "float16");
      writer.append(format === "int8" ? codes : packNibbles(codes));
      return { bytes: writer.finish(), elements: values.length };
    },
    async decode(reader, tokens, hiddenSize, device) {
      const scales = readValues(reader, tokens * Math.ceil(hiddenSize / groupSize), "float16");
      const count = tokens * hiddenSize;
      const bytes = reader.bytes(format === "int8" ? count : Math.ceil(count / 2));
      const codes = format === "int8" ? new Int8Array(bytes.buffer, bytes.byteOffset, count) : unpackNibbles(bytes, count);
      const values = new Float32Array(count);
      forEachGroup(count, hiddenSize, groupSize, (group, from, to) => {
        const scale = scales[group]!;
        for (let i = from; i < to; i++) values[i] = codes[i]! * scale;
      });
      return tensor(values, [tokens, hiddenSize], { device });
    },
  };
}

/** Groups do not cross rows. */
function forEachGroup(
  count: number,
  hiddenSize: number,
  groupSize: number,
  visit: (group: number, from: number, to: number) => void,
): void {
  let group = 0;
  for (let row = 0; row < count; row += hiddenSize) {
    const end = row + hiddenSize;
    for (let from = row; from < end; from += groupSize) visit(group++, from, Math.min(from + groupSize, end));
  }
}

function groupScales(values: Float32Array, hiddenSize: number, groupSize: number, largestCode: number): Float32Array {
  const scales = new Float32Array((values.length / hiddenSize) * Math.ceil(hiddenSize / groupSize));
  forEachGroup(values.length, hiddenSize, groupSize, (group, from, to) => {
    let largest = 0;
    for (let i = from; i < to; i++) largest = Math.max(largest, Math.abs(values[i]!));
    scales[group] = largest / largestCode;
  });
  return scales;
}

/** Codes -8..7, two a byte, the first in the lower half. */
function packNibbles(codes: Int8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0; i < codes.length; i++) bytes[i >> 1]! |= (codes[i]! & 15) << (4 * (i & 1));
  return bytes;
}

function unpackNibbles(bytes: Uint8Array, count: number): Int8Array {
  const codes = new Int8Array(count);
  for (let i = 0; i < count; i++) codes[i] = (bytes[i >> 1]! << (28 - 4 * (i & 1))) >> 28;
  return codes;
}
