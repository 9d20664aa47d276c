/**
 * Exponentials, logarithms and powers in float32. The polynomials are those of the WASM kernels (`assembly/math.ts`): Cephes for the
 * logarithm, a minimax fit of (e^r - 1 - r) / r² for the exponential. `powerF32` carries log2 in two floats.
 */
import type { ExponentialFunction, MathSource } from "./math-function.ts";

/** Functions of `ExponentialFunction`. */
export const exponentialFunctions: Readonly<Record<ExponentialFunction, MathSource>> = {
  exponentialPolynomial: {
    needs: [],
    code: `// e^r for |r| <= ln(2) / 2.
fn exponentialPolynomial(r: f32) -> f32 {
  var p = 0.001381453989645 * r + 0.0083687451269;
  p = p * r + 0.04166839078935;
  p = p * r + 0.1666652039885;
  p = p * r + 0.499999934321;
  return 1.0 + (r + r * r * p);
}`,
  },
  scaleByPowerOfTwo: {
    needs: [],
    code: `// mantissa * 2^exponent for a mantissa in [0.5, 2] and an exponent in [-180, 128]; too large is Infinity.
fn scaleByPowerOfTwo(mantissa: f32, exponent: i32) -> f32 {
  let low = exponent < -125;
  let scaled = bitcast<u32>(mantissa) + (bitcast<u32>(select(exponent, exponent + 64, low)) << 23u);
  let denormal = bitcast<u32>(bitcast<f32>(scaled) * 5.421010862427522e-20);
  return bitcast<f32>(select(min(scaled, 0x7f800000u), denormal, low));
}`,
  },
  // Adding 1.5 * 2^23 leaves round(x / ln 2) in the low bits.
  expF32: {
    needs: ["asRounded", "exponentialPolynomial", "keepNan", "scaleByPowerOfTwo"],
    code: `fn expF32(x: f32) -> f32 {
  let limited = clamp(x, -104.0, 89.0);
  let exponent = bitcast<i32>(limited * 1.44269504 + 12582912.0) - 0x4b400000;
  let steps = f32(exponent);
  let r = asRounded(limited - steps * 0.693359375) + steps * 2.12194440e-4;
  return keepNan(scaleByPowerOfTwo(exponentialPolynomial(r), exponent), x);
}`,
  },
  expm1F32: {
    needs: ["expF32", "tanhPolynomial"],
    code: `// Near 0 by e^(2h) - 1 = 2 t / (1 - t), t = tanh h.
fn expm1F32(x: f32) -> f32 {
  if (abs(x) < 1.0) {
    let t = tanhPolynomial(0.5 * x);
    return (t + t) / (1.0 - t);
  }
  return expF32(x) - 1.0;
}`,
  },
  logF32: {
    needs: ["normalExponent", "normalMantissa"],
    code: `fn logF32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  // The mantissa in [sqrt(1/2), sqrt(2)).
  let mantissa = normalMantissa(magnitude);
  let large = mantissa > 0x00b504f3u;
  let m = bitcast<f32>((mantissa & 0x007fffffu) | select(0x3f800000u, 0x3f000000u, large));
  let e = f32(normalExponent(magnitude) - 127 + i32(large));
  let f = m - 1.0;
  let z = f * f;
  var p = 7.0376836292e-2 * f - 1.1514610310e-1;
  p = p * f + 1.1676998740e-1;
  p = p * f - 1.2420140846e-1;
  p = p * f + 1.4249322787e-1;
  p = p * f - 1.6668057665e-1;
  p = p * f + 2.0000714765e-1;
  p = p * f - 2.4999993993e-1;
  p = p * f + 3.3333331174e-1;
  p = p * f * z - e * 2.12194440e-4 - 0.5 * z;
  let value = bitcast<u32>(e * 0.693359375 + (f + p));
  var result = select(value, 0x7f800000u, bits == 0x7f800000u);
  result = select(result, 0xff800000u, magnitude == 0u);
  return bitcast<f32>(select(result, 0x7fc00000u, magnitude > 0x7f800000u || bits > 0x80000000u));
}`,
  },
  log1pF32: {
    needs: ["asRounded", "isFiniteNumber", "logF32"],
    code: `// log(u) + (1 + x - u) / u, u = 1 + x rounded.
fn log1pF32(x: f32) -> f32 {
  let u = asRounded(1.0 + x);
  let logarithm = logF32(u);
  let corrected = logarithm + (x - asRounded(u - 1.0)) / u;
  return bitcast<f32>(select(bitcast<u32>(logarithm), bitcast<u32>(corrected), isFiniteNumber(logarithm)));
}`,
  },
  // u / d with d = m + 1 in two parts; log2 m = 2 / ln 2 (s + s³ / 3 + s⁵ / 5 + …), s = u / d.
  log2Pair: {
    needs: ["asRounded", "normalExponent", "normalMantissa"],
    code: `// log2 of the positive finite float with these bits, as a sum: 12 bits, and the rest.
fn log2Pair(bits: u32) -> vec2<f32> {
  let mantissa = normalMantissa(bits);
  let large = mantissa > 0x00b504f3u;
  let m = bitcast<f32>((mantissa & 0x007fffffu) | select(0x3f800000u, 0x3f000000u, large));
  let e = f32(normalExponent(bits) - 127 + i32(large));
  let u = m - 1.0;
  let d = m + 1.0;
  let highD = bitcast<f32>(bitcast<u32>(d) & 0xfffff000u);
  let lowD = m - (highD - 1.0);
  let s = u / d;
  let highS = bitcast<f32>(bitcast<u32>(s) & 0xfffff000u);
  let lowS = asRounded(asRounded(u - highS * highD) - highS * lowD) / d;
  let z = s * s;
  var q = 0.0952 * z + 0.11111111;
  q = q * z + 0.14285714;
  q = q * z + 0.2;
  q = q * z + 0.33333333;
  // 2 / ln 2 = 2.884765625 (12 bits) + 6.244567779268e-4
  let high = highS * 2.884765625;
  let low = (lowS * 2.885390081777927 + highS * 6.244567779268e-4) + 2.885390081777927 * s * (q * z);
  let result = bitcast<f32>(bitcast<u32>(e + (high + low)) & 0xfffff000u);
  return vec2<f32>(result, asRounded(asRounded(e - result) + high) + low);
}`,
  },
  powerF32: {
    needs: ["asRounded", "exponentialPolynomial", "log2Pair", "scaleByPowerOfTwo"],
    code: `// C's pow: 1^y and x^0 are 1 even for NaN.
fn powerF32(x: f32, y: f32) -> f32 {
  let bitsX = bitcast<u32>(x);
  let bitsY = bitcast<u32>(y);
  let magnitudeX = bitsX & 0x7fffffffu;
  let magnitudeY = bitsY & 0x7fffffffu;
  if (magnitudeY == 0u || bitsX == 0x3f800000u) {
    return 1.0;
  }
  if (magnitudeX > 0x7f800000u || magnitudeY > 0x7f800000u) {
    return bitcast<f32>(0x7fc00000u | magnitudeX);
  }
  // y is a whole number if no bit below the point is set, an odd one if the lowest bit above is.
  let exponentY = magnitudeY >> 23u;
  let mantissaY = (magnitudeY & 0x007fffffu) | 0x00800000u;
  let below = 150u - clamp(exponentY, 126u, 150u);
  let whole = exponentY >= 127u && (mantissaY & ((1u << below) - 1u)) == 0u;
  let odd = whole && exponentY <= 150u && ((mantissaY >> below) & 1u) == 1u;
  let negative = bitsX >= 0x80000000u;
  let sign = select(0u, 0x80000000u, negative && odd);
  let shrinks = (magnitudeX < 0x3f800000u) == (bitsY < 0x80000000u);
  if (magnitudeX == 0u || magnitudeX == 0x7f800000u || magnitudeY == 0x7f800000u) {
    let unit = magnitudeX == 0x3f800000u;
    return bitcast<f32>(sign | select(select(0x7f800000u, 0u, shrinks), 0x3f800000u, unit));
  }
  if (negative && !whole) {
    return bitcast<f32>(0x7fc00000u | magnitudeX);
  }
  // Beyond 2^36 every power but that of 1 is 0 or Infinity.
  let limitedY = clamp(y, -68719476736.0, 68719476736.0);
  let highY = bitcast<f32>(bitcast<u32>(limitedY) & 0xfffff000u);
  let lowY = asRounded(limitedY - highY);
  let logarithm = log2Pair(magnitudeX);
  let product = highY * logarithm.x;
  if (abs(product) > 200.0) {
    return bitcast<f32>(sign | select(0x7f800000u, 0u, shrinks));
  }
  let low = lowY * logarithm.x + limitedY * logarithm.y;
  let exponent = bitcast<i32>(clamp(product + low, -180.0, 129.0) + 12582912.0) - 0x4b400000;
  let fraction = clamp(asRounded(product - f32(exponent)) + low, -1.0, 1.0);
  let power = scaleByPowerOfTwo(exponentialPolynomial(fraction * 0.693147181), min(exponent, 128));
  return bitcast<f32>(sign | select(bitcast<u32>(power), 0x7f800000u, exponent > 128));
}`,
  },
};
