/**
 * Names of the WGSL functions in this folder. They end in `F32` or `I32` where WGSL has a built-in of a similar name, or where both
 * types have one; the rest of the name is the contract's word for the operation (`expF32`, `powerI32`).
 */

/** Bit tests, constants and rounding to whole numbers. */
export type BitFunction =
  | "isNan"
  | "isFiniteNumber"
  | "isNonZero"
  | "isPositive"
  | "infinity"
  | "notANumber"
  | "keepNan"
  | "asRounded"
  | "multiplyHigh"
  | "orderOf"
  | "equalF32"
  | "lessF32"
  | "lessEqualF32"
  | "maximumF32"
  | "minimumF32"
  | "negativeF32"
  | "absoluteF32"
  | "signF32"
  | "reluF32"
  | "floorF32"
  | "ceilF32"
  | "roundF32"
  | "truncF32";

/** Arithmetic that WGSL leaves inexact or undefined. */
export type ArithmeticFunction =
  | "normalMantissa"
  | "normalExponent"
  | "multiplyF32"
  | "divideF32"
  | "reciprocalF32"
  | "squareF32"
  | "sqrtF32"
  | "rsqrtF32"
  | "remainderF32"
  | "squareI32"
  | "divideI32"
  | "remainderI32"
  | "powerI32";

/** Exponentials, logarithms and powers. */
export type ExponentialFunction =
  "exponentialPolynomial" | "scaleByPowerOfTwo" | "expF32" | "expm1F32" | "logF32" | "log1pF32" | "log2Pair" | "powerF32";

/** Functions of angles. */
export type CircularFunction = "reduceAngle" | "sinePolynomial" | "cosinePolynomial" | "sinF32" | "cosF32" | "tanF32" | "atan2F32";

/** Activations, what they are made of, and their derivatives. */
export type ActivationFunction =
  | "tanhPolynomial"
  | "tanhF32"
  | "sigmoidF32"
  | "sigmoidPair"
  | "siluF32"
  | "softplusF32"
  | "erfCentre"
  | "erfcTail"
  | "erfF32"
  | "normalDistribution"
  | "geluF32"
  | "geluTanhAngle"
  | "geluTanhF32"
  | "erfDerivative"
  | "siluDerivative"
  | "geluDerivative"
  | "geluTanhDerivative";

/** Conversions between dtypes. */
export type ConversionFunction = "float32ToInt32" | "float32ToInt8" | "float32ToUint8" | "float32ToFloat16Bits" | "float16BitsToFloat32";

/** Every function of the library. */
export type MathFunction =
  BitFunction | ArithmeticFunction | ExponentialFunction | CircularFunction | ActivationFunction | ConversionFunction;

/** One WGSL function (or structure), and the others that it calls. */
export interface MathSource {
  readonly code: string;
  readonly needs: readonly MathFunction[];
}
