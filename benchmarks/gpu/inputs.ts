/** Large inputs, made quickly: a random block over and over. Its length is prime, so rows of a matrix differ. */
import { float32ToFloat16Bits } from "@frugal/tensor-core";
import { uniform } from "../src/inputs.ts";

const blockLength = 1_000_003;

type HostArray = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Int8Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

function repeated<Values extends HostArray>(length: number, create: (length: number) => Values, block: (length: number) => Values): Values {
  const first = Math.min(length, blockLength);
  const values = create(length);
  values.set(block(first));
  for (let filled = first; filled < length; filled *= 2) values.copyWithin(filled, 0, Math.min(filled, length - filled));
  return values;
}

/** Uniform in [-scale, scale). */
export const floats = (length: number, seed: number, scale = 1): Float32Array<ArrayBuffer> =>
  repeated(
    length,
    (size) => new Float32Array(size),
    (size) => uniform(size, seed).map((value) => value * scale),
  );

/** The same rounded to float16, as bits. */
export const halves = (length: number, seed: number, scale = 1): Uint16Array<ArrayBuffer> =>
  repeated(
    length,
    (size) => new Uint16Array(size),
    (size) => Uint16Array.from(uniform(size, seed), (value) => float32ToFloat16Bits(value * scale)),
  );

/** Signed bytes from -127 to 127. */
export const signedBytes = (length: number, seed: number): Int8Array<ArrayBuffer> =>
  repeated(
    length,
    (size) => new Int8Array(size),
    (size) => Int8Array.from(uniform(size, seed), (value) => Math.round(value * 127)),
  );

/** Pairs of 4-bit numbers. */
export const nibblePairs = (length: number, seed: number): Uint8Array<ArrayBuffer> =>
  repeated(
    length,
    (size) => new Uint8Array(size),
    (size) => Uint8Array.from(uniform(size, seed), (value) => Math.floor((value + 1) * 128) & 255),
  );
