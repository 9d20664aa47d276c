/**
 * Division, roots and remainders. WGSL's own are right to 2.5 ulp at best, for arguments and results in the middle of the range; here they
 * are rounded correctly everywhere: the built-in gives an estimate, the integer remainder tells how far it is off. Denormals count.
 */
import type { ArithmeticFunction, MathSource } from "./math-function.ts";

/** Functions of `ArithmeticFunction`. */
export const arithmeticFunctions: Readonly<Record<ArithmeticFunction, MathSource>> = {
  normalMantissa: {
    needs: [],
    code: `// A positive finite float is normalMantissa(bits) * 2^(normalExponent(bits) - 150), with a mantissa in [2^23, 2^24).
fn normalMantissa(bits: u32) -> u32 {
  let shift = max(countLeadingZeros(bits), 8u) - 8u;
  return select((bits & 0x007fffffu) | 0x00800000u, bits << shift, bits < 0x00800000u);
}`,
  },
  normalExponent: {
    needs: [],
    code: `fn normalExponent(bits: u32) -> i32 {
  return select(i32(bits >> 23u), 9 - i32(countLeadingZeros(bits)), bits < 0x00800000u);
}`,
  },
  divideF32: {
    needs: ["normalMantissa", "normalExponent"],
    code: `fn divideF32(a: f32, b: f32) -> f32 {
  let sign = (bitcast<u32>(a) ^ bitcast<u32>(b)) & 0x80000000u;
  let bitsA = bitcast<u32>(a) & 0x7fffffffu;
  let bitsB = bitcast<u32>(b) & 0x7fffffffu;
  if (bitsA - 1u >= 0x7f7fffffu || bitsB - 1u >= 0x7f7fffffu) {
    // 0, Infinity or NaN takes part. Equal magnitudes are 0 / 0 or Infinity / Infinity.
    let undefinedRatio = bitsA > 0x7f800000u || bitsB > 0x7f800000u || bitsA == bitsB;
    let special = select(sign, sign | 0x7f800000u, bitsA == 0x7f800000u || bitsB == 0u);
    return bitcast<f32>(select(special, 0x7fc00000u, undefinedRatio));
  }
  let divisor = normalMantissa(bitsB);
  let mantissa = normalMantissa(bitsA);
  let small = u32(mantissa < divisor);
  let dividend = mantissa << small;
  let exponent = normalExponent(bitsA) - normalExponent(bitsB) + 127 - i32(small);
  // The quotient in [1, 2), as an integer of 24 bits; its remainder fits into 32 bits however the products wrap.
  var quotient = bitcast<u32>(f32(dividend) / f32(divisor)) - 0x3f000000u;
  var rest = bitcast<i32>((dividend << 23u) - quotient * divisor);
  for (var step = 0; step < 6; step++) {
    if (rest < 0) {
      quotient -= 1u;
      rest += i32(divisor);
    } else if (rest >= i32(divisor)) {
      quotient += 1u;
      rest -= i32(divisor);
    } else {
      break;
    }
  }
  if (exponent > 0) {
    // A quotient is never halfway between two floats.
    let rounded = (u32(exponent) << 23u) + (quotient - 0x00800000u) + u32(2 * rest > i32(divisor));
    return bitcast<f32>(sign | select(rounded, 0x7f800000u, exponent > 254));
  }
  let extended = (quotient << 1u) | u32(rest != 0);
  let dropped = u32(min(2 - exponent, 31));
  let kept = extended >> dropped;
  let tail = extended - (kept << dropped);
  let half = 1u << (dropped - 1u);
  return bitcast<f32>(sign | (kept + u32(tail > half || (tail == half && (kept & 1u) == 1u))));
}`,
  },
  multiplyF32: {
    needs: [],
    code: `// a * b where the hardware takes denormal operands for 0; denormal results may still be flushed.
fn multiplyF32(a: f32, b: f32) -> f32 {
  let bitsA = bitcast<u32>(a) & 0x7fffffffu;
  let bitsB = bitcast<u32>(b) & 0x7fffffffu;
  let smaller = min(bitsA, bitsB);
  if (smaller >= 0x00800000u || smaller == 0u) {
    return a * b;
  }
  // The magnitude of the denormal factor times 2^64.
  let raised = f32(smaller) * 2.584939414228211e-26;
  let product = raised * bitcast<f32>(max(bitsA, bitsB)) * 5.421010862427522e-20;
  return bitcast<f32>(bitcast<u32>(product) | ((bitcast<u32>(a) ^ bitcast<u32>(b)) & 0x80000000u));
}`,
  },
  reciprocalF32: {
    needs: ["divideF32"],
    code: `fn reciprocalF32(x: f32) -> f32 {
  return divideF32(1.0, x);
}`,
  },
  squareF32: {
    needs: [],
    code: `fn squareF32(x: f32) -> f32 {
  return x * x;
}`,
  },
  sqrtF32: {
    needs: ["normalMantissa", "normalExponent"],
    code: `fn sqrtF32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (bits - 1u >= 0x7f7fffffu) {
    // Zeros and +Infinity are their own roots.
    let own = (bits & 0x7fffffffu) == 0u || bits == 0x7f800000u;
    return bitcast<f32>(select(0x7fc00000u, bits, own));
  }
  let exponent = normalExponent(bits) - 127;
  let square = normalMantissa(bits) << u32(exponent & 1);
  // The root in [1, 2), as an integer of 24 bits.
  var root = bitcast<u32>(sqrt(f32(square) * 1.1920928955078125e-7)) - 0x3f000000u;
  var rest = bitcast<i32>((square << 23u) - root * root);
  for (var step = 0; step < 6; step++) {
    if (rest < 0) {
      rest += i32(2u * root - 1u);
      root -= 1u;
    } else if (rest > i32(2u * root)) {
      rest -= i32(2u * root + 1u);
      root += 1u;
    } else {
      break;
    }
  }
  return bitcast<f32>((u32((exponent >> 1u) + 126) << 23u) + root + u32(rest > i32(root)));
}`,
  },
  rsqrtF32: {
    needs: ["normalMantissa", "normalExponent"],
    code: `fn rsqrtF32(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let magnitude = bits & 0x7fffffffu;
  let exponent = normalExponent(magnitude) - 127;
  let square = f32(normalMantissa(magnitude) << u32(exponent & 1)) * 1.1920928955078125e-7;
  let estimate = inverseSqrt(square);
  let root = estimate + 0.5 * estimate * (1.0 - square * estimate * estimate);
  var result = bitcast<u32>(root) - (bitcast<u32>(exponent >> 1u) << 23u);
  result = select(result, 0u, bits == 0x7f800000u);
  result = select(result, bits | 0x7f800000u, magnitude == 0u);
  return bitcast<f32>(select(result, 0x7fc00000u, bits > 0x80000000u || magnitude > 0x7f800000u));
}`,
  },
  remainderF32: {
    needs: [],
    code: `// a mod b with the sign of b: fmod is exact, and one sum may round.
fn remainderF32(a: f32, b: f32) -> f32 {
  let bitsA = bitcast<u32>(a) & 0x7fffffffu;
  let bitsB = bitcast<u32>(b) & 0x7fffffffu;
  if (bitsA >= 0x7f800000u || bitsB > 0x7f800000u || bitsB == 0u) {
    return bitcast<f32>(0x7fc00000u | bitsA);
  }
  var rest = bitsA;
  if (bitsA >= bitsB) {
    let divisor = (bitsB & 0x007fffffu) | select(0u, 0x00800000u, bitsB >= 0x00800000u);
    let exponent = max(bitsB >> 23u, 1u);
    var mantissa = (bitsA & 0x007fffffu) | select(0u, 0x00800000u, bitsA >= 0x00800000u);
    var distance = max(bitsA >> 23u, 1u) - exponent;
    mantissa %= divisor;
    while (distance > 0u && mantissa > 0u) {
      let step = min(distance, 8u);
      mantissa = (mantissa << step) % divisor;
      distance -= step;
    }
    // mantissa * 2^(exponent - 150), packed again.
    let shift = min(max(countLeadingZeros(mantissa), 8u) - 8u, exponent - 1u);
    let packed = mantissa << shift;
    rest = select(packed, packed + ((exponent - shift - 1u) << 23u), packed >= 0x00800000u);
  }
  let signA = bitcast<u32>(a) & 0x80000000u;
  let signB = bitcast<u32>(b) & 0x80000000u;
  if (rest == 0u) {
    return bitcast<f32>(signB);
  }
  if (signA == signB) {
    return bitcast<f32>(rest | signB);
  }
  // An infinite divisor stays.
  return bitcast<f32>(select(bitcast<u32>(bitcast<f32>(rest | signA) + b), bitcast<u32>(b), bitsB == 0x7f800000u));
}`,
  },
  squareI32: {
    needs: [],
    code: `fn squareI32(x: i32) -> i32 {
  return x * x;
}`,
  },
  divideI32: {
    needs: [],
    code: `// Towards 0; x / 0 = 0, and x / -1 wraps.
fn divideI32(a: i32, b: i32) -> i32 {
  let special = b == 0 || b == -1;
  return select(a / select(b, 1, special), select(-a, 0, b == 0), special);
}`,
  },
  remainderI32: {
    needs: [],
    code: `// The sign of b; 0 for b = 0.
fn remainderI32(a: i32, b: i32) -> i32 {
  let special = b == 0 || b == -1;
  let rest = a % select(b, 1, special);
  return select(rest, rest + b, rest != 0 && (rest ^ b) < 0);
}`,
  },
  powerI32: {
    needs: [],
    code: `// Wraps; a negative power is 1 / a^n towards 0, and 0 for a = 0.
fn powerI32(base: i32, exponent: i32) -> i32 {
  if (exponent < 0) {
    let odd = (exponent & 1) == 1;
    return select(select(0, select(1, -1, odd), base == -1), 1, base == 1);
  }
  var result = 1;
  var factor = base;
  var left = exponent;
  while (left > 0) {
    result *= select(1, factor, (left & 1) == 1);
    factor *= factor;
    left >>= 1u;
  }
  return result;
}`,
  },
};
