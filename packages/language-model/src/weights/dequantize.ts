import { WeightFormatError } from "../errors.ts";
import { blockFormat, halfToNumber, newUnpackedBlock, type BlockFormat } from "./block-formats.ts";
import { blockLayout, encodedByteLength, type WeightEncoding } from "./weight-source.ts";

/** @throws WeightFormatError unless `bytes` are exactly `count` elements. */
export function checkEncodedLength(encoding: WeightEncoding, bytes: Uint8Array, count: number): void {
  const expected = encodedByteLength(encoding, count);
  if (expected === undefined || bytes.byteLength !== expected) {
    const detail = expected === undefined ? "which is not a whole number of blocks" : `which take ${expected} bytes`;
    throw new WeightFormatError("weights", `${bytes.byteLength} bytes are not ${count} elements of ${encoding}, ${detail}`);
  }
}

function readFloat32(bytes: Uint8Array, output: Float32Array): void {
  new Uint8Array(output.buffer, output.byteOffset, output.byteLength).set(bytes);
}

function readFloat16(bytes: Uint8Array, output: Float32Array): void {
  for (let index = 0; index < output.length; index++) {
    output[index] = halfToNumber((bytes[2 * index] as number) | ((bytes[2 * index + 1] as number) << 8));
  }
}

function readBfloat16(bytes: Uint8Array, output: Float32Array): void {
  const bits = new Uint32Array(output.buffer, output.byteOffset, output.length);
  for (let index = 0; index < bits.length; index++) {
    bits[index] = ((bytes[2 * index] as number) << 16) | ((bytes[2 * index + 1] as number) << 24);
  }
}

function readBlocks(format: BlockFormat, encoding: WeightEncoding, bytes: Uint8Array, output: Float32Array): void {
  const { elements, bytes: blockBytes } = blockLayout(encoding);
  const block = newUnpackedBlock();
  const { values, scales, minimums } = block;
  const { groupSize, hasMinimums } = format;
  for (let start = 0, at = 0; start < output.length; start += elements, at += blockBytes) {
    format.unpack(bytes, at, block);
    for (let first = 0, group = 0; first < elements; first += groupSize, group++) {
      const scale = scales[group] as number;
      const end = first + groupSize;
      if (hasMinimums) {
        const minimum = minimums[group] as number;
        for (let index = first; index < end; index++) output[start + index] = scale * (values[index] as number) + minimum;
      } else {
        for (let index = first; index < end; index++) output[start + index] = scale * (values[index] as number);
      }
    }
  }
}

/**
 * Decodes weights to float32 with the bits that ggml's `dequantize_row_*` gives (little-endian machines).
 * @param bytes exactly the encoded elements, at any alignment
 * @throws WeightFormatError if `bytes` have another length
 */
export function dequantize(encoding: WeightEncoding, bytes: Uint8Array, elementCount: number): Float32Array {
  checkEncodedLength(encoding, bytes, elementCount);
  const output = new Float32Array(elementCount);
  const format = blockFormat(encoding);
  if (format !== undefined) readBlocks(format, encoding, bytes, output);
  else if (encoding === "float32") readFloat32(bytes, output);
  else if (encoding === "float16") readFloat16(bytes, output);
  else readBfloat16(bytes, output);
  return output;
}
