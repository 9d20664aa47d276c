/**
 * Bit tests, comparisons and roundings. WGSL lets a compiler assume that no float is NaN or infinite, reorder sums, and flush denormals,
 * so whatever must be exact here looks at bits, and special results are chosen among integers.
 */
import type { BitFunction, MathSource } from "./math-function.ts";

/** Functions of `BitFunction`. */
export const bitFunctions: Readonly<Record<BitFunction, MathSource>> = {
  isNan: {
    needs: [],
    code: `fn isNan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}`,
  },
  isFiniteNumber: {
    needs: [],
    code: `fn isFiniteNumber(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}`,
  },
  isNonZero: {
    needs: [],
    code: `fn isNonZero(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) != 0u;
}`,
  },
  isPositive: {
    needs: [],
    code: `fn isPositive(x: f32) -> bool {
  return bitcast<u32>(x) - 1u < 0x7f800000u;
}`,
  },
  // A module-scope variable, because a constant expression must not give an infinity or NaN.
  infinity: {
    needs: [],
    code: `var<private> infinityBits: u32 = 0x7f800000u;
fn infinity() -> f32 {
  return bitcast<f32>(infinityBits);
}`,
  },
  notANumber: {
    needs: [],
    code: `var<private> nanBits: u32 = 0x7fc00000u;
fn notANumber() -> f32 {
  return bitcast<f32>(nanBits);
}`,
  },
  keepNan: {
    needs: ["isNan"],
    code: `// The result, or NaN where x is NaN.
fn keepNan(result: f32, x: f32) -> f32 {
  return bitcast<f32>(select(bitcast<u32>(result), 0x7fc00000u, isNan(x)));
}`,
  },
  // Bits 1 and 2 of an odd square are 0; no compiler is known to see it for bit 2.
  asRounded: {
    needs: [],
    code: `// x itself; a compiler that treats float arithmetic as algebra cannot look through it.
fn asRounded(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let odd = bits | 1u;
  return bitcast<f32>(bits ^ ((odd * odd) & 4u));
}`,
  },
  multiplyHigh: {
    needs: [],
    code: `// The upper 32 bits of a * b.
fn multiplyHigh(a: u32, b: u32) -> u32 {
  let lowA = a & 0xffffu;
  let highA = a >> 16u;
  let lowB = b & 0xffffu;
  let highB = b >> 16u;
  let middle = highA * lowB + ((lowA * lowB) >> 16u);
  let second = lowA * highB + (middle & 0xffffu);
  return highA * highB + (middle >> 16u) + (second >> 16u);
}`,
  },
  orderOf: {
    needs: [],
    code: `// An integer in the order of the floats (but NaN); both zeros are 0.
fn orderOf(x: f32) -> i32 {
  let bits = bitcast<i32>(x);
  let magnitude = bits & 0x7fffffff;
  return select(magnitude, -magnitude, bits < 0);
}`,
  },
  equalF32: {
    needs: ["isNan", "orderOf"],
    code: `fn equalF32(a: f32, b: f32) -> bool {
  return orderOf(a) == orderOf(b) && !isNan(a);
}`,
  },
  lessF32: {
    needs: ["isNan", "orderOf"],
    code: `fn lessF32(a: f32, b: f32) -> bool {
  return orderOf(a) < orderOf(b) && !isNan(a) && !isNan(b);
}`,
  },
  lessEqualF32: {
    needs: ["isNan", "orderOf"],
    code: `fn lessEqualF32(a: f32, b: f32) -> bool {
  return orderOf(a) <= orderOf(b) && !isNan(a) && !isNan(b);
}`,
  },
  // orderOf(-0) = orderOf(0): on a tie the signs are merged so that maximum gives +0 and minimum -0.
  maximumF32: {
    needs: ["isNan", "orderOf"],
    code: `fn maximumF32(a: f32, b: f32) -> f32 {
  let bitsA = bitcast<u32>(a);
  let bitsB = bitcast<u32>(b);
  let orderA = orderOf(a);
  let orderB = orderOf(b);
  let larger = select(select(bitsA, bitsB, orderA < orderB), bitsA & bitsB, orderA == orderB);
  return bitcast<f32>(select(larger, 0x7fc00000u, isNan(a) || isNan(b)));
}`,
  },
  minimumF32: {
    needs: ["isNan", "orderOf"],
    code: `fn minimumF32(a: f32, b: f32) -> f32 {
  let bitsA = bitcast<u32>(a);
  let bitsB = bitcast<u32>(b);
  let orderA = orderOf(a);
  let orderB = orderOf(b);
  let smaller = select(select(bitsA, bitsB, orderB < orderA), bitsA | bitsB, orderA == orderB);
  return bitcast<f32>(select(smaller, 0x7fc00000u, isNan(a) || isNan(b)));
}`,
  },
  negativeF32: {
    needs: [],
    code: `fn negativeF32(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) ^ 0x80000000u);
}`,
  },
  absoluteF32: {
    needs: [],
    code: `fn absoluteF32(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) & 0x7fffffffu);
}`,
  },
  signF32: {
    needs: [],
    code: `fn signF32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let own = magnitude == 0u || magnitude > 0x7f800000u;
  return bitcast<f32>(select((bits & 0x80000000u) | 0x3f800000u, bits, own));
}`,
  },
  reluF32: {
    needs: [],
    code: `// max(x, 0); NaN stays.
fn reluF32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  return bitcast<f32>(select(bits, 0u, bits >= 0x80000000u && bits <= 0xff800000u));
}`,
  },
  truncF32: {
    needs: [],
    code: `fn truncF32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let exponent = (bits >> 23u) & 255u;
  let fraction = 0x007fffffu >> (clamp(exponent, 127u, 150u) - 127u);
  return bitcast<f32>(select(bits & ~fraction, bits & 0x80000000u, exponent < 127u));
}`,
  },
  floorF32: {
    needs: ["truncF32"],
    code: `fn floorF32(x: f32) -> f32 {
  let whole = truncF32(x);
  let bits = bitcast<u32>(x);
  let lower = bits >= 0x80000000u && bits != bitcast<u32>(whole);
  return bitcast<f32>(select(bitcast<u32>(whole), bitcast<u32>(whole - 1.0), lower));
}`,
  },
  ceilF32: {
    needs: ["truncF32"],
    code: `fn ceilF32(x: f32) -> f32 {
  let whole = truncF32(x);
  let bits = bitcast<u32>(x);
  let higher = bits < 0x80000000u && bits != bitcast<u32>(whole);
  return bitcast<f32>(select(bitcast<u32>(whole), bitcast<u32>(whole + 1.0), higher));
}`,
  },
  roundF32: {
    needs: [],
    code: `// The nearest whole number, ties to even; WGSL's round does so, but need not keep NaN and infinities.
fn roundF32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let nearest = bitcast<u32>(round(x)) | (bits & 0x80000000u);
  return bitcast<f32>(select(nearest, bits, (bits & 0x7fffffffu) >= 0x4b000000u));
}`,
  },
};
