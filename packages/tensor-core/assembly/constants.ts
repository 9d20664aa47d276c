/**
 * Constants of the SIMD functions, in globals of the module instance that are set at start: V8 builds a `v128.const` anew at every use with
 * five instructions, where reading a global is one load (exp runs twice as fast on Node 24) and two bytes of code. Not exported from the
 * module.
 */

/** 0, since memories have 2^16 pages at most; the optimizer does not know and cannot fold the constants back into the code. */
const NOTHING: i32 = memory.size() >>> 17;

/** `value` in four lanes. */
export function constant(value: f32): v128 {
  return constantI32(reinterpret<i32>(value));
}

/** `value` in two lanes. */
export function constantF64(value: f64): v128 {
  return f64x2.splat(value + <f64>NOTHING);
}

/** `value` in two lanes. */
export function constantI64(value: i64): v128 {
  return i64x2.splat(value ^ <i64>NOTHING);
}

/** `value` in four lanes. */
export function constantI32(value: i32): v128 {
  return i32x4.splat(value ^ NOTHING);
}

export const EXP_HIGH: v128 = constant(89.0);
export const EXP_LOW: v128 = constant(-87.6);
export const LOG2_E: v128 = constant(1.44269504088896341);
export const EXP_SHIFT: v128 = constant(12583038.0);
export const LN2_HIGH: v128 = constant(0.693359375);
export const LN2_LOW: v128 = constant(-2.12194440e-4);
export const EXP_0: v128 = constant(0.00276290797929);
export const EXP_1: v128 = constant(0.0167374902538);
export const EXP_2: v128 = constant(0.0833367815787);
export const EXP_3: v128 = constant(0.333330407977);
export const EXP_4: v128 = constant(0.999999868642);
export const TWO: v128 = constant(2.0);
export const SMALLEST_NORMAL: v128 = constant(1.17549435e-38);
export const TWO_23: v128 = constant(8388608.0);
export const ONE: v128 = constant(1.0);
export const DENORMAL_EXPONENT: v128 = constant(23.0);
export const LOG_0: v128 = constant(7.0376836292e-2);
export const LOG_1: v128 = constant(-1.1514610310e-1);
export const LOG_2: v128 = constant(1.1676998740e-1);
export const LOG_3: v128 = constant(-1.2420140846e-1);
export const LOG_4: v128 = constant(1.4249322787e-1);
export const LOG_5: v128 = constant(-1.6668057665e-1);
export const LOG_6: v128 = constant(2.0000714765e-1);
export const LOG_7: v128 = constant(-2.4999993993e-1);
export const LOG_8: v128 = constant(3.3333331174e-1);
export const HALF: v128 = constant(0.5);
export const INFINITY: v128 = constant(Infinity);
export const INFINITY_BITS: v128 = constantI32(0x7f800000);
export const TANH_0: v128 = constant(-5.70498872745e-3);
export const TANH_1: v128 = constant(2.06390887954e-2);
export const TANH_2: v128 = constant(-5.37397155531e-2);
export const TANH_3: v128 = constant(1.33314422036e-1);
export const TANH_4: v128 = constant(-3.33332819422e-1);
export const TANH_SWITCH: v128 = constant(0.625);
export const ERFC_0: v128 = constant(-1.72853470e-5);
export const ERFC_1: v128 = constant(3.83197126e-4);
export const ERFC_2: v128 = constant(-3.88396438e-3);
export const ERFC_3: v128 = constant(2.42546219e-2);
export const ERFC_4: v128 = constant(-1.06777877e-1);
export const ERFC_5: v128 = constant(-6.34846687e-1);
export const ERFC_6: v128 = constant(-1.28717512e-1);
export const ERF_0: v128 = constant(-5.96761703e-4);
export const ERF_1: v128 = constant(4.99119423e-3);
export const ERF_2: v128 = constant(-2.67681349e-2);
export const ERF_3: v128 = constant(1.12819925e-1);
export const ERF_4: v128 = constant(-3.76125336e-1);
export const ERF_5: v128 = constant(1.28379166e-1);
export const ERF_LIMIT: v128 = constant(10.0);
export const ERF_SWITCH: v128 = constant(0.927734375);
export const LOWEST: v128 = constant(-3.4028234663852886e38);
export const HUNDRED: v128 = constant(100.0);
export const MINUS_HUNDRED: v128 = constant(-100.0);
export const SQRT_HALF: v128 = constant(0.70710678118654752);
export const TWO_OVER_SQRT_PI: v128 = constant(1.1283791670955126);
export const DENSITY_AT_0: v128 = constant(0.39894228040143268);
export const MINUS_HALF: v128 = constant(-0.5);
export const GELU_3: v128 = constant(0.0713548162726009);
export const GELU_1: v128 = constant(1.59576912160573);
export const GELU_SLOPE: v128 = constant(0.2140644488178027);
export const SMALL_ANGLE: v128 = constant(1000000.0);
export const CIRCULAR_0: v128 = constant(-1.9515295891e-4);
export const CIRCULAR_1: v128 = constant(8.3321608736e-3);
export const CIRCULAR_2: v128 = constant(-1.6666654611e-1);
export const CIRCULAR_3: v128 = constant(2.443315711809948e-5);
export const CIRCULAR_4: v128 = constant(-1.388731625493765e-3);
export const CIRCULAR_5: v128 = constant(4.166664568298827e-2);
export const ATAN_SWITCH: v128 = constant(0.4142135623730950);
export const ATAN_0: v128 = constant(8.05374449538e-2);
export const ATAN_1: v128 = constant(-1.38776856032e-1);
export const ATAN_2: v128 = constant(1.99777106478e-1);
export const ATAN_3: v128 = constant(-3.33329491539e-1);
export const QUARTER_PI: v128 = constant(0.78539816339744831);
export const HALF_PI: v128 = constant(1.57079632679489662);
export const PI: v128 = constant(3.14159265358979324);
export const SIGN_BIT: v128 = constantI32(0x80000000);
export const SQRT_HALF_BITS: v128 = constantI32(0x3f3504f3);
export const TWO_OVER_PI: v128 = constantF64(0.63661977236758134);
export const ROUND_SHIFT: v128 = constantF64(6755399441055744.0);
export const HALF_PI_HIGH: v128 = constantF64(1.57079632673412561417);
export const HALF_PI_LOW: v128 = constantF64(6.07710050650619224932e-11);
