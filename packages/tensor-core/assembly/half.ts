/** float16 to float32 with integer SIMD: WebAssembly has no conversion of its own. Left out of `index.ts`. */

/** Where a float16's sign, exponent and mantissa stand after the shift to float32's places. */
// @ts-ignore: decorator
@inline
export const HALF_MASK: i32 = 0x8fffe000;

/** 2^112, the difference of the exponent biases. */
// @ts-ignore: decorator
@inline
export const HALF_SCALE: f32 = 5.192296858534827628530496329220096e33;

/** Multiplies by 2^112; exponent 31 (Infinity and NaN) is put right. `bits` are masked with `HALF_MASK`. Exact, subnormal numbers included. */
// @ts-ignore: decorator
@inline
export function halfBitsToFloat(bits: v128): v128 {
  const top = i32x4.splat(0x0f800000);
  const special = i32x4.eq(v128.and(bits, top), top);
  return v128.or(f32x4.mul(bits, f32x4.splat(HALF_SCALE)), v128.and(special, i32x4.splat(0x7f800000)));
}

/** Elements 0, 2, 4, 6 of eight float16 numbers, in place for `halfBitsToFloat`. */
// @ts-ignore: decorator
@inline
export function evenHalfBits(halves: v128): v128 {
  return v128.and(i32x4.shr_s(i32x4.shl(halves, 16), 3), i32x4.splat(HALF_MASK));
}

/** Elements 1, 3, 5, 7. */
// @ts-ignore: decorator
@inline
export function oddHalfBits(halves: v128): v128 {
  return v128.and(i32x4.shr_s(halves, 3), i32x4.splat(HALF_MASK));
}

/** Four float16 numbers, sign-extended to 32 bits. */
// @ts-ignore: decorator
@inline
export function halvesToFloats(extended: v128): v128 {
  return halfBitsToFloat(v128.and(i32x4.shl(extended, 13), i32x4.splat(HALF_MASK)));
}

/** One float16 number. */
// @ts-ignore: decorator
@inline
export function halfToFloat(pointer: usize): f32 {
  return f32x4.extract_lane(halvesToFloats(i32x4.splat(load<i16>(pointer))), 0);
}

/** `count` contiguous float16 numbers to float32. */
export function convertHalves(from: usize, to: usize, count: i32): void {
  for (; count >= 8; count -= 8) {
    const halves = v128.load(from);
    v128.store(to, halvesToFloats(i32x4.extend_low_i16x8_s(halves)));
    v128.store(to, halvesToFloats(i32x4.extend_high_i16x8_s(halves)), 16);
    from += 16;
    to += 32;
  }
  for (; count > 0; count--) {
    store<f32>(to, halfToFloat(from));
    from += 2;
    to += 4;
  }
}
