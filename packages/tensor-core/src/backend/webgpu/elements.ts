/**
 * Elements of every dtype as storage words. Float16 and the 8-bit dtypes share words with their neighbours: loads shift and mask, and
 * stores go through atomics unless one invocation writes the whole word.
 */
import { itemSize, type Dtype } from "../../tensor/dtype.ts";
import type { WgslExpression } from "./wgsl/expressions.ts";
import type { MathFunction } from "./wgsl/math-function.ts";

/** WGSL functions, with those of the library that they call. */
export interface WgslSource {
  readonly code: string;
  readonly needs: readonly MathFunction[];
}

/** The WGSL type in which shaders compute with a dtype. */
export function valueType(dtype: Dtype): "f32" | "i32" | "u32" {
  if (dtype === "float32" || dtype === "float16") return "f32";
  return dtype === "bool" ? "u32" : "i32";
}

/** `load_<name>(place) -> value`; the array must be bound with the default type of its dtype. */
export function loadFunction(name: string, dtype: Dtype): WgslSource {
  const header = `fn load_${name}(place: u32) -> ${valueType(dtype)}`;
  switch (dtype) {
    case "float32":
    case "int32":
      return { code: `${header} { return ${name}[place]; }`, needs: [] };
    case "float16":
      return {
        code: `${header} { return float16BitsToFloat32((${name}[place / 2u] >> (16u * (place % 2u))) & 0xffffu); }`,
        needs: ["float16BitsToFloat32"],
      };
    case "int8":
      return { code: `${header} { return bitcast<i32>(${name}[place / 4u] << (24u - 8u * (place % 4u))) >> 24u; }`, needs: [] };
    case "uint8":
      return { code: `${header} { return i32((${name}[place / 4u] >> (8u * (place % 4u))) & 0xffu); }`, needs: [] };
    case "bool":
      return { code: `${header} { return (${name}[place / 4u] >> (8u * (place % 4u))) & 0xffu; }`, needs: [] };
  }
}

/** `loadBits_<name>(place) -> u32`: an element's bits, whatever they mean. Binds as "u32". */
export function loadBitsFunction(name: string, size: number): string {
  const header = `fn loadBits_${name}(place: u32) -> u32`;
  if (size === 4) return `${header} { return ${name}[place]; }`;
  const perWord = 4 / size;
  const mask = size === 2 ? "0xffffu" : "0xffu";
  return `${header} { return (${name}[place / ${perWord}u] >> (${8 * size}u * (place % ${perWord}u))) & ${mask}; }`;
}

/** `storeBits_<name>(place, bits)`: neighbours in the word stay as they are. Binds as `storeType(size)`. */
export function storeBitsFunction(name: string, size: number): string {
  const header = `fn storeBits_${name}(place: u32, bits: u32)`;
  if (size === 4) return `${header} { ${name}[place] = bits; }`;
  const perWord = 4 / size;
  return `${header} {
  let shift = ${8 * size}u * (place % ${perWord}u);
  atomicAnd(&${name}[place / ${perWord}u], ~(${size === 2 ? "0xffffu" : "0xffu"} << shift));
  atomicOr(&${name}[place / ${perWord}u], bits << shift);
}`;
}

/** What an array is bound as for `storeBitsFunction`. */
export function storeType(size: number): "u32" | "atomic<u32>" {
  return size === 4 ? "u32" : "atomic<u32>";
}

/** An expression for the bits of `value` (of `valueType(dtype)`) as the dtype stores them. */
export function bitsOf(dtype: Dtype, value: string): WgslExpression {
  switch (dtype) {
    case "float32":
    case "int32":
      return { expression: `bitcast<u32>(${value})`, needs: [] };
    case "float16":
      return { expression: `float32ToFloat16Bits(${value})`, needs: ["float32ToFloat16Bits"] };
    case "int8":
    case "uint8":
      return { expression: `(bitcast<u32>(${value}) & 0xffu)`, needs: [] };
    case "bool":
      return { expression: value, needs: [] };
  }
}

/** An expression that converts between dtypes: to a narrower integer saturates, float → integer truncates and gives 0 for NaN. */
export function convertExpression(from: Dtype, to: Dtype, value: string): WgslExpression {
  const source = valueType(from);
  if (from === to) return { expression: value, needs: [] };
  switch (to) {
    case "float32":
    case "float16":
      return { expression: source === "f32" ? value : `f32(${value})`, needs: [] };
    case "bool":
      if (source === "f32") return { expression: `select(0u, 1u, isNonZero(${value}))`, needs: ["isNonZero"] };
      return { expression: source === "i32" ? `select(0u, 1u, ${value} != 0)` : `min(${value}, 1u)`, needs: [] };
    case "int32":
      if (source === "f32") return { expression: `float32ToInt32(${value})`, needs: ["float32ToInt32"] };
      return { expression: source === "u32" ? `i32(${value})` : value, needs: [] };
    case "int8":
    case "uint8": {
      if (source === "f32") {
        const conversion = to === "int8" ? "float32ToInt8" : "float32ToUint8";
        return { expression: `${conversion}(${value})`, needs: [conversion] };
      }
      const integer = source === "u32" ? `i32(${value})` : value;
      return { expression: to === "int8" ? `clamp(${integer}, -128, 127)` : `clamp(${integer}, 0, 255)`, needs: [] };
    }
  }
}

/** Elements of a dtype in one storage word. */
export function elementsPerWord(dtype: Dtype): number {
  return 4 / itemSize(dtype);
}
