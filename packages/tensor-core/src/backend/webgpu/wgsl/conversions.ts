/**
 * Conversions between dtypes, as `copy` makes them: float → integer truncates and saturates, NaN gives 0; integers saturate; bool is "not
 * zero". In WGSL a value of dtype float32 or float16 is an f32, of an integer an i32, bool a u32 (`valueType`).
 */
import type { ConversionFunction, MathSource } from "./math-function.ts";

/** Functions of `ConversionFunction`. */
export const conversionFunctions: Readonly<Record<ConversionFunction, MathSource>> = {
  float32ToInt32: {
    needs: ["isNan"],
    code: `fn float32ToInt32(x: f32) -> i32 {
  let bits = bitcast<u32>(x);
  let mantissa = (bits & 0x007fffffu) | 0x00800000u;
  let exponent = (bits >> 23u) & 255u;
  let whole = select(mantissa >> (150u - clamp(exponent, 119u, 150u)), mantissa << (clamp(exponent, 150u, 158u) - 150u), exponent > 150u);
  let magnitude = i32(select(whole, 0u, exponent < 127u));
  let negative = bits >= 0x80000000u;
  // -(2^31 - 1) - 1 = -2^31
  let limit = select(0x7fffffff, -0x7fffffff - 1, negative);
  return select(select(select(magnitude, -magnitude, negative), limit, exponent >= 158u), 0, isNan(x));
}`,
  },
  float32ToInt8: {
    needs: ["float32ToInt32"],
    code: `fn float32ToInt8(x: f32) -> i32 {
  return clamp(float32ToInt32(x), -128, 127);
}`,
  },
  float32ToUint8: {
    needs: ["float32ToInt32"],
    code: `fn float32ToUint8(x: f32) -> u32 {
  return u32(clamp(float32ToInt32(x), 0, 255));
}`,
  },
  float32ToFloat16Bits: {
    needs: [],
    code: `// The 16 bits of x rounded to nearest even; too large is Infinity.
fn float32ToFloat16Bits(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let normal = (magnitude + 0xfffu + ((magnitude >> 13u) & 1u) - 0x38000000u) >> 13u;
  // Below 2^-14 the mantissa is shifted to units of 2^-24.
  let mantissa = (magnitude & 0x007fffffu) | select(0u, 0x00800000u, magnitude >= 0x00800000u);
  let shift = 126u - clamp(magnitude >> 23u, 95u, 112u);
  let kept = mantissa >> shift;
  let tail = mantissa - (kept << shift);
  let half = 1u << (shift - 1u);
  let denormal = kept + u32(tail > half || (tail == half && (kept & 1u) == 1u));
  var result = select(normal, denormal, magnitude < 0x38800000u);
  result = select(result, 0x7c00u, magnitude >= 0x477ff000u);
  result = select(result, 0x7e00u, magnitude > 0x7f800000u);
  return result | ((bits >> 16u) & 0x8000u);
}`,
  },
  float16BitsToFloat32: {
    needs: [],
    code: `// The value of the low 16 bits.
fn float16BitsToFloat32(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let sign = (bits & 0x8000u) << 16u;
  let normal = (magnitude << 13u) + select(0x38000000u, 0x70000000u, magnitude >= 0x7c00u);
  let denormal = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
  return bitcast<f32>(sign | select(normal, denormal, magnitude < 0x0400u));
}`,
  },
};
