/**
 * sin, cos, tan and atan2 in float32: Cephes polynomials, as in the WASM kernels. Angles are reduced by integer multiplication with the
 * bits of 2/π that matter (Payne & Hanek), so any float is right and no reordering of float arithmetic can spoil it.
 */
import type { CircularFunction, MathSource } from "./math-function.ts";

/** Functions of `CircularFunction`. */
export const circularFunctions: Readonly<Record<CircularFunction, MathSource>> = {
  // Bits of 2/π so high that they only add multiples of 4 quadrants are left out: the window starts at bit exponent - 120 of the
  // table, whose first word stands left of the point.
  reduceAngle: {
    needs: ["multiplyHigh"],
    code: `// x = n π/2 + r, |r| <= π/4: n (of which only the two low bits count) and the bits of r. Infinity and NaN give NaN.
fn reduceAngle(x: f32) -> vec2<u32> {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  if (magnitude <= 0x3f490fdau) {
    return vec2<u32>(0u, bits);
  }
  if (magnitude >= 0x7f800000u) {
    return vec2<u32>(0u, 0x7fc00000u);
  }
  let start = (magnitude >> 23u) - 120u;
  var words = vec4<u32>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u);
  words = select(words, vec4<u32>(0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u), vec4<bool>(start >= 32u));
  words = select(words, vec4<u32>(0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u), vec4<bool>(start >= 64u));
  words = select(words, vec4<u32>(0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u), vec4<bool>(start >= 96u));
  words = select(words, vec4<u32>(0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu), vec4<bool>(start >= 128u));
  let shift = start & 31u;
  // The right shift in two steps: one of 32 bits would be undefined.
  let window = (words.xyz << vec3<u32>(shift)) | ((words.yzw >> vec3<u32>(1u)) >> vec3<u32>(31u - shift));
  let mantissa = (bits & 0x007fffffu) | 0x00800000u;
  let lower = mantissa * window.y;
  let low = lower + multiplyHigh(mantissa, window.z);
  let product = mantissa * window.x + multiplyHigh(mantissa, window.y) + u32(low < lower);
  // Two bits of quadrants, 62 of fraction.
  var quadrant = (product + 0x20000000u) >> 30u;
  var high = product - (quadrant << 30u);
  var rest = low;
  let minus = high >= 0x80000000u;
  if (minus) {
    rest = 0u - rest;
    high = ~high + u32(rest == 0u);
  }
  let zeros = select(countLeadingZeros(high), 32u + countLeadingZeros(rest), high == 0u);
  let aligned = select((high << (zeros & 31u)) | ((rest >> 1u) >> (31u - (zeros & 31u))), rest << (zeros & 31u), zeros >= 32u);
  let angle = f32(multiplyHigh(aligned, 0xc90fdaa2u)) * bitcast<f32>((98u - zeros) << 23u);
  // A negative x turns everything around.
  quadrant = select(quadrant, 0u - quadrant, bits >= 0x80000000u);
  return vec2<u32>(quadrant, bitcast<u32>(angle) ^ (bits & 0x80000000u) ^ select(0u, 0x80000000u, minus));
}`,
  },
  sinePolynomial: {
    needs: [],
    code: `fn sinePolynomial(r: f32) -> f32 {
  let z = r * r;
  let p = (-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1;
  return p * z * r + r;
}`,
  },
  cosinePolynomial: {
    needs: [],
    code: `fn cosinePolynomial(r: f32) -> f32 {
  let z = r * r;
  let p = (2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2;
  return p * z * z - 0.5 * z + 1.0;
}`,
  },
  sinF32: {
    needs: ["cosinePolynomial", "keepNan", "reduceAngle", "sinePolynomial"],
    code: `fn sinF32(x: f32) -> f32 {
  let reduced = reduceAngle(x);
  let r = bitcast<f32>(reduced.y);
  let value = select(sinePolynomial(r), cosinePolynomial(r), (reduced.x & 1u) == 1u);
  return keepNan(bitcast<f32>(bitcast<u32>(value) ^ ((reduced.x & 2u) << 30u)), r);
}`,
  },
  cosF32: {
    needs: ["cosinePolynomial", "keepNan", "reduceAngle", "sinePolynomial"],
    code: `fn cosF32(x: f32) -> f32 {
  let reduced = reduceAngle(x);
  let r = bitcast<f32>(reduced.y);
  let value = select(cosinePolynomial(r), sinePolynomial(r), (reduced.x & 1u) == 1u);
  return keepNan(bitcast<f32>(bitcast<u32>(value) ^ (((reduced.x + 1u) & 2u) << 30u)), r);
}`,
  },
  tanF32: {
    needs: ["cosinePolynomial", "keepNan", "reduceAngle", "sinePolynomial"],
    code: `fn tanF32(x: f32) -> f32 {
  let reduced = reduceAngle(x);
  let r = bitcast<f32>(reduced.y);
  let sine = sinePolynomial(r);
  let cosine = cosinePolynomial(r);
  let odd = (reduced.x & 1u) == 1u;
  let ratio = select(sine, cosine, odd) / select(cosine, sine, odd);
  return keepNan(bitcast<f32>(bitcast<u32>(ratio) ^ (reduced.x << 31u)), r);
}`,
  },
  atan2F32: {
    needs: ["keepNan"],
    code: `// The angle of (x, y) in [-π, π], with C's zeros and infinities.
fn atan2F32(y: f32, x: f32) -> f32 {
  let bitsX = bitcast<u32>(x) & 0x7fffffffu;
  let bitsY = bitcast<u32>(y) & 0x7fffffffu;
  let steep = bitsY > bitsX;
  let small = select(bitsY, bitsX, steep);
  let large = select(bitsX, bitsY, steep);
  // Division is only exact enough in the middle of the range.
  let up = large < 0x1f800000u;
  let factor = select(select(1.0, 5.421010862427522e-20, large > 0x5f800000u), 18446744073709551616.0, up);
  let numerator = select(bitcast<f32>(small) * factor, f32(small) * 2.584939414228211e-26, up && small < 0x00800000u);
  let denominator = select(bitcast<f32>(large) * factor, f32(large) * 2.584939414228211e-26, large < 0x00800000u);
  var t = select(numerator / denominator, 0.0, large == 0x7f800000u || small == 0u);
  t = select(t, 1.0, small == large && large > 0u);
  let wide = t > 0.41421356;
  let u = select(t, (t - 1.0) / (t + 1.0), wide);
  let z = u * u;
  var p = 8.05374449538e-2 * z - 1.38776856032e-1;
  p = p * z + 1.99777106478e-1;
  p = p * z - 3.33329491539e-1;
  p = p * z * u + u;
  p = select(p, p + 0.785398163, wide);
  p = select(p, 1.57079633 - p, steep);
  p = select(p, 3.14159265 - p, bitcast<u32>(x) >= 0x80000000u);
  return keepNan(keepNan(bitcast<f32>(bitcast<u32>(p) | (bitcast<u32>(y) & 0x80000000u)), x), y);
}`,
  },
};
