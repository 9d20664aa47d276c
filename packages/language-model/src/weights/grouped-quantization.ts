import { WeightFormatError } from "../errors.ts";
import { blockFormat, newUnpackedBlock } from "./block-formats.ts";
import { checkEncodedLength } from "./dequantize.ts";
import { blockLayout, elementCount, type WeightEncoding } from "./weight-source.ts";

/**
 * Weights as integers in groups along the last axis: value i of a row is `scales[g] * q + minimums[g]`, g = floor(i / groupSize),
 * minimums 0 where absent. Scales and minimums are [rows, lastAxis / groupSize].
 */
export type GroupedQuantization = {
  readonly groupSize: 16 | 32;
  readonly scales: Float32Array;
  readonly minimums?: Float32Array;
} & (
  | { readonly format: "int8"; readonly values: Int8Array }
  /** Two values a byte, the one of even index in the low nibble. */
  | { readonly format: "uint4"; readonly values: Uint8Array }
);

/** Whether an encoding can be repacked; plain floats cannot. */
export function canGroup(encoding: WeightEncoding): boolean {
  return blockFormat(encoding) !== undefined;
}

/**
 * Repacks blocks into groups without loss: the values they stand for are bit for bit those of `dequantize`. Four bits where the
 * integers need no more, eight otherwise.
 * @param bytes exactly the tensor's bytes
 * @param shape the last axis must be whole blocks
 * @throws WeightFormatError if the length does not fit the shape, or the encoding is plain floats
 */
export function toGroupedQuantization(encoding: WeightEncoding, bytes: Uint8Array, shape: readonly number[]): GroupedQuantization {
  const format = blockFormat(encoding);
  if (format === undefined) throw new WeightFormatError("weights", `${encoding} has no groups; use dequantize`);
  const { elements, bytes: blockBytes } = blockLayout(encoding);
  const row = shape.at(-1) ?? 1;
  if (row % elements !== 0) throw new WeightFormatError("weights", `rows of ${row} are not whole ${encoding} blocks of ${elements}`);
  const count = elementCount(shape);
  checkEncodedLength(encoding, bytes, count);

  const { groupSize } = format;
  const [least, greatest] = format.range;
  const narrow = greatest - least < 16;
  // Unsigned nibbles: what was subtracted from the integers goes into the minimum, where the sum is exact.
  const shift = narrow ? -least : 0;
  const groups = count / groupSize;
  const groupsPerBlock = elements / groupSize;
  const scales = new Float32Array(groups);
  const minimums = format.hasMinimums || shift !== 0 ? new Float32Array(groups) : undefined;
  const wide = narrow ? new Int8Array(0) : new Int8Array(count);
  const nibbles = narrow ? new Uint8Array(count / 2) : new Uint8Array(0);
  const block = newUnpackedBlock();
  const used = block.values.subarray(0, elements);
  for (let index = 0, at = 0; at < bytes.byteLength; index++, at += blockBytes) {
    format.unpack(bytes, at, block);
    const firstGroup = index * groupsPerBlock;
    for (let group = 0; group < groupsPerBlock; group++) {
      const scale = block.scales[group] as number;
      scales[firstGroup + group] = scale;
      if (minimums !== undefined)
        minimums[firstGroup + group] = (format.hasMinimums ? (block.minimums[group] as number) : 0) - shift * scale;
    }
    if (!narrow) {
      wide.set(used, index * elements);
      continue;
    }
    const start = (index * elements) / 2;
    for (let pair = 0; pair < elements / 2; pair++) {
      nibbles[start + pair] = ((used[2 * pair] as number) + shift) | (((used[2 * pair + 1] as number) + shift) << 4);
    }
  }
  const common = { groupSize, scales, ...(minimums === undefined ? {} : { minimums }) };
  return narrow ? { ...common, format: "uint4", values: nibbles } : { ...common, format: "int8", values: wide };
}
