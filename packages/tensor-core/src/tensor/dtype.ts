import { DtypeError } from "../errors.ts";

/**
 * Element types. `float16` is a storage type: arithmetic happens in float32. `bool` is one byte, 0 or 1.
 */
export type Dtype = "float32" | "float16" | "int32" | "uint8" | "int8" | "bool";

/** The typed arrays that hold tensor data on the host; `float16` travels as raw bits in a Uint16Array. */
export type TypedArray = Float32Array | Uint16Array | Int32Array | Uint8Array | Int8Array;

/** The host array of a dtype. */
export interface TypedArrayOf {
  float32: Float32Array;
  float16: Uint16Array;
  int32: Int32Array;
  uint8: Uint8Array;
  int8: Int8Array;
  bool: Uint8Array;
}

const itemSizes: Record<Dtype, number> = { float32: 4, float16: 2, int32: 4, uint8: 1, int8: 1, bool: 1 };

/** Bytes of one element. @throws DtypeError for a name that is none (plain JavaScript callers; the type forbids it) */
export function itemSize(dtype: Dtype): number {
  const size: unknown = itemSizes[dtype];
  if (typeof size !== "number")
    throw new DtypeError(`unknown dtype ${JSON.stringify(dtype)}; use one of ${Object.keys(itemSizes).join(", ")}`);
  return size;
}

/** True for `float32` and `float16`. */
export function isFloating(dtype: Dtype): boolean {
  return dtype === "float32" || dtype === "float16";
}

/** True for the numbers that int32 holds. */
export function isInt32(value: number): boolean {
  return (value | 0) === value;
}

const ranks: Record<Dtype, number> = { bool: 0, uint8: 1, int8: 1, int32: 2, float16: 3, float32: 4 };

/**
 * The dtype two operands meet in: the wider kind wins, `uint8` with `int8` meets in `int32` (as NumPy's next wider signed type here).
 */
export function promoteDtypes(a: Dtype, b: Dtype): Dtype {
  if (a === b) return a;
  if (ranks[a] === ranks[b]) return "int32";
  return ranks[a] > ranks[b] ? a : b;
}

/** A host array of `length` zeros. */
export function makeTypedArray<T extends Dtype>(dtype: T, length: number): TypedArrayOf[T] {
  return viewTypedArray(dtype, new ArrayBuffer(length * itemSize(dtype)), 0, length);
}

/** A host array over existing bytes. `byteOffset` must be a multiple of the item size. */
export function viewTypedArray<T extends Dtype>(dtype: T, buffer: ArrayBufferLike, byteOffset: number, length: number): TypedArrayOf[T] {
  switch (dtype as Dtype) {
    case "float32":
      return new Float32Array(buffer, byteOffset, length) as TypedArrayOf[T];
    case "float16":
      return new Uint16Array(buffer, byteOffset, length) as TypedArrayOf[T];
    case "int32":
      return new Int32Array(buffer, byteOffset, length) as TypedArrayOf[T];
    case "int8":
      return new Int8Array(buffer, byteOffset, length) as TypedArrayOf[T];
    case "uint8":
    case "bool":
      return new Uint8Array(buffer, byteOffset, length) as TypedArrayOf[T];
    default:
      throw new DtypeError(`unknown dtype ${String(dtype)}; use one of ${Object.keys(itemSizes).join(", ")}`);
  }
}

const halfConversion = { float: new Float32Array(1), bits: new Uint32Array(0) };
halfConversion.bits = new Uint32Array(halfConversion.float.buffer);

/** Bits of the nearest float16, ties to even; overflow gives infinity. */
export function float32ToFloat16Bits(value: number): number {
  halfConversion.float[0] = value;
  const bits = halfConversion.bits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) return magnitude > 0x7f800000 ? sign | 0x7e00 : sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Subnormal half: let float32 addition do the rounding at the right bit.
    halfConversion.bits[0] = magnitude;
    halfConversion.float[0] = halfConversion.float[0]! + 0.5;
    return sign | (halfConversion.bits[0]! - 0x3f000000);
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
  return sign | ((rounded - 0x38000000) >>> 13);
}

/** The value of float16 bits. */
export function float16BitsToFloat32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
