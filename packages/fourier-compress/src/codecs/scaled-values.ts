import { float16BitsToFloat32, float32ToFloat16Bits } from "@frugal/tensor-core";
import { CodecTargetError } from "../errors.ts";
import type { ByteReader } from "./byte-reader.ts";
import type { ByteWriter } from "./byte-writer.ts";

/** How the numbers of a message are stored. */
export type ComponentType = "float16" | "float32";

/** Largest relative rounding error of one stored number. */
export const ROUNDING: Readonly<Record<ComponentType, number>> = { float16: 2 ** -11, float32: 2 ** -24 };

/** Exponents that messages may hold: what the transforms make of such numbers stays finite in float32. */
const [LOWEST_EXPONENT, HIGHEST_EXPONENT] = [-120, 72];

/** Larger numbers of float32 messages are refused, as those of float16 ones are by their exponent. */
const LARGEST_VALUE = 2 ** 88;

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** 2^exponent, exactly, for -126..127: `**` is not exact in every engine. */
export function powerOfTwo(exponent: number): number {
  word[0] = (exponent + 127) << 23;
  return float[0]!;
}

/** Largest |value|; NaN or Infinity where there is one. */
export function largestMagnitude(values: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]!);
    if (!(magnitude <= largest)) largest = magnitude;
    if (magnitude !== magnitude) return NaN;
  }
  return largest;
}

let decoded: Float32Array | undefined;

/** The value of each of the 65536 bit patterns: a look-up is several times faster than taking the bits apart. */
function float16Values(): Float32Array {
  decoded ??= Float32Array.from({ length: 65_536 }, (_, bits) => float16BitsToFloat32(bits));
  return decoded;
}

/** Bytes of `count` numbers by `appendValues`. */
export function valueBytes(component: ComponentType, count: number): number {
  return component === "float32" ? 4 * count : 2 * count + 1;
}

/**
 * Numbers as float32, or as float16 after a power of two (one byte) that puts the largest of them just below float16's limit: neither
 * overflow nor loss of precision whatever their size.
 * @throws CodecTargetError for numbers beyond 2^87
 */
export function appendValues(codec: string, writer: ByteWriter, values: Float32Array, component: ComponentType): void {
  const largest = largestMagnitude(values);
  if (!(largest < LARGEST_VALUE / 2)) {
    throw new CodecTargetError(`${codec} codec: numbers up to ${largest} are beyond its range; use the codec float32 for such activations`);
  }
  if (component === "float32") {
    writer.append(values);
    return;
  }
  float[0] = largest;
  const exponent = largest === 0 ? 0 : Math.max(LOWEST_EXPONENT, (word[0]! >>> 23) - 127 - 14);
  const scale = powerOfTwo(-exponent);
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = float32ToFloat16Bits(values[i]! * scale);
  writer.uint8(exponent & 0xff);
  writer.append(bits);
}

/**
 * Reads what `appendValues` wrote. All are finite and below 2^88.
 * @param highestExponent of the float16 form, where the caller's arithmetic needs smaller numbers
 * @throws CodecMessageError, before it allocates
 */
export function readValues(
  reader: ByteReader,
  count: number,
  component: ComponentType,
  highestExponent: number = HIGHEST_EXPONENT,
): Float32Array {
  if (component === "float32") {
    const values = reader.float32Array(count);
    if (!(largestMagnitude(values) < LARGEST_VALUE)) reader.fail("a number is not finite or too large");
    return values;
  }
  const exponent = (reader.uint8() << 24) >> 24;
  if (exponent < LOWEST_EXPONENT || exponent > highestExponent)
    reader.fail(`exponent ${exponent} is outside ${LOWEST_EXPONENT}..${highestExponent}`);
  const scale = powerOfTwo(exponent);
  const bits = reader.uint16Array(count);
  const table = float16Values();
  const values = new Float32Array(count);
  let exponents = 0;
  for (let i = 0; i < count; i++) {
    const half = bits[i]!;
    exponents |= +((half & 0x7c00) === 0x7c00);
    values[i] = table[half]! * scale;
  }
  if (exponents !== 0) reader.fail("a float16 is not finite");
  return values;
}

/** The numbers as the other side will read them. */
export function asStored(values: Float32Array, component: ComponentType): Float32Array {
  if (component === "float32") return values;
  float[0] = largestMagnitude(values);
  const exponent = float[0] === 0 ? 0 : Math.max(LOWEST_EXPONENT, (word[0]! >>> 23) - 127 - 14);
  const [down, up] = [powerOfTwo(-exponent), powerOfTwo(exponent)];
  const table = float16Values();
  return values.map((value) => table[float32ToFloat16Bits(value * down)]! * up);
}
