/** float16 to float32 with integer SIMD: WebAssembly has no conversion of its own. Left out of `index.ts`. */

/**
 * A constant in every lane that the compilers cannot tell is one. V8 rebuilds a known vector constant at each use, three instructions
 * inside the hottest loops; a computed one stays in a register. `count` is any number that is not negative.
 */
// @ts-ignore: decorator
@inline
export function opaqueConstant(bits: i32, count: i32): v128 {
  return i32x4.splat(bits | (count >> 31));
}

/** Where a float16's sign, exponent and mantissa stand once moved to float32's places. */
// @ts-ignore: decorator
@inline
export const HALF_MASK: i32 = 0x8fffe000;

/** The bits of 2^112, the difference of the exponent biases. */
// @ts-ignore: decorator
@inline
export const HALF_SCALE: i32 = 0x77800000;

/** Exponent 31, Infinity and NaN, at float32's place. */
// @ts-ignore: decorator
@inline
export const HALF_SPECIAL: i32 = 0x0f800000;

/** Elements 0, 2, 4, 6 of eight float16 numbers as float32 numbers 2^112 times smaller (Infinity and NaN excepted). `mask`: `HALF_MASK`. */
// @ts-ignore: decorator
@inline
export function evenHalfBits(halves: v128, mask: v128): v128 {
  return v128.and(i32x4.shr_s(i32x4.shl(halves, 16), 3), mask);
}

/** Elements 1, 3, 5, 7. */
// @ts-ignore: decorator
@inline
export function oddHalfBits(halves: v128, mask: v128): v128 {
  return v128.and(i32x4.shr_s(halves, 3), mask);
}

/** Gives Infinity and NaN their float32 exponent. `special`: `HALF_SPECIAL`. */
// @ts-ignore: decorator
@inline
export function markSpecial(bits: v128, special: v128): v128 {
  return v128.or(bits, v128.and(i32x4.eq(v128.and(bits, special), special), i32x4.splat(0x7f800000)));
}

/** Four float16 numbers, sign-extended to 32 bits, to float32; exact, subnormal numbers included. */
// @ts-ignore: decorator
@inline
export function halvesToFloats(extended: v128, mask: v128, scale: v128, special: v128): v128 {
  return f32x4.mul(markSpecial(v128.and(i32x4.shl(extended, 13), mask), special), scale);
}

/** One float16 number. */
// @ts-ignore: decorator
@inline
export function halfToFloat(pointer: usize): f32 {
  const bits = (<i32>load<i16>(pointer) << 13) & HALF_MASK;
  return reinterpret<f32>((bits & HALF_SPECIAL) == HALF_SPECIAL ? bits | 0x7f800000 : bits) * reinterpret<f32>(HALF_SCALE);
}

/** `count` contiguous float16 numbers to float32. */
export function convertHalves(from: usize, to: usize, count: i32): void {
  const mask = opaqueConstant(HALF_MASK, count);
  const scale = opaqueConstant(HALF_SCALE, count);
  const special = opaqueConstant(HALF_SPECIAL, count);
  for (; count >= 8; count -= 8) {
    const halves = v128.load(from);
    v128.store(to, halvesToFloats(i32x4.extend_low_i16x8_s(halves), mask, scale, special));
    v128.store(to, halvesToFloats(i32x4.extend_high_i16x8_s(halves), mask, scale, special), 16);
    from += 16;
    to += 32;
  }
  for (; count > 0; count--) {
    store<f32>(to, halfToFloat(from));
    from += 2;
    to += 4;
  }
}
