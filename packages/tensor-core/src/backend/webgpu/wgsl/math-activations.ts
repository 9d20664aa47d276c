/** Activations and their derivatives, from the formulas of the WASM kernels (`assembly/math.ts`): erf is N. Juffa's two-branch fit. */
import type { ActivationFunction, MathSource } from "./math-function.ts";

/** Functions of `ActivationFunction`. */
export const activationFunctions: Readonly<Record<ActivationFunction, MathSource>> = {
  tanhPolynomial: {
    needs: [],
    code: `// tanh x for |x| <= 0.625.
fn tanhPolynomial(x: f32) -> f32 {
  let z = x * x;
  var p = -5.70498872745e-3 * z + 2.06390887954e-2;
  p = p * z - 5.37397155531e-2;
  p = p * z + 1.33314422036e-1;
  p = p * z - 3.33332819422e-1;
  return p * z * x + x;
}`,
  },
  tanhF32: {
    needs: ["expF32", "keepNan", "tanhPolynomial"],
    code: `fn tanhF32(x: f32) -> f32 {
  let magnitude = abs(x);
  if (magnitude < 0.625) {
    return tanhPolynomial(x);
  }
  // 1 from 9.02 on
  let limited = min(magnitude, 10.0);
  let far = 1.0 - 2.0 / (expF32(limited + limited) + 1.0);
  return keepNan(bitcast<f32>(bitcast<u32>(far) | (bitcast<u32>(x) & 0x80000000u)), x);
}`,
  },
  sigmoidF32: {
    needs: ["absoluteF32", "expF32"],
    code: `// 1 / (1 + e^-x), by e^-|x| so that nothing overflows.
fn sigmoidF32(x: f32) -> f32 {
  let e = expF32(-absoluteF32(x));
  return select(1.0, e, bitcast<u32>(x) >= 0x80000000u) / (1.0 + e);
}`,
  },
  sigmoidPair: {
    needs: ["absoluteF32", "expF32"],
    code: `// sigmoid(x), and 1 - sigmoid(x) without the cancellation.
fn sigmoidPair(x: f32) -> vec2<f32> {
  let e = expF32(-absoluteF32(x));
  let both = vec2<f32>(1.0, e) / (1.0 + e);
  return select(both, both.yx, bitcast<u32>(x) >= 0x80000000u);
}`,
  },
  siluF32: {
    needs: ["sigmoidF32"],
    code: `// x sigmoid(x), 0 at -Infinity.
fn siluF32(x: f32) -> f32 {
  return max(x, -3.4e38) * sigmoidF32(x);
}`,
  },
  softplusF32: {
    needs: ["absoluteF32", "expF32", "log1pF32", "reluF32"],
    code: `// max(x, 0) + ln(1 + e^-|x|).
fn softplusF32(x: f32) -> f32 {
  return reluF32(x) + log1pF32(expF32(-absoluteF32(x)));
}`,
  },
  erfCentre: {
    needs: [],
    code: `// erf x for |x| <= 0.93.
fn erfCentre(x: f32) -> f32 {
  let z = x * x;
  var p = -5.96761703e-4 * z + 4.99119423e-3;
  p = p * z - 2.67681349e-2;
  p = p * z + 1.12819925e-1;
  p = p * z - 3.76125336e-1;
  p = p * z + 1.28379166e-1;
  return p * x + x;
}`,
  },
  erfcTail: {
    needs: ["expF32"],
    code: `// erfc t for t >= 0.92; 0 from 10.1 on.
fn erfcTail(t: f32) -> f32 {
  let limited = min(t, 11.0);
  var p = -1.72853470e-5 * limited + 3.83197126e-4;
  p = p * limited - 3.88396438e-3;
  p = p * limited + 2.42546219e-2;
  p = p * limited - 1.06777877e-1;
  p = p * limited - 6.34846687e-1;
  p = p * limited - 1.28717512e-1;
  return expF32(p * limited - limited);
}`,
  },
  erfF32: {
    needs: ["absoluteF32", "erfCentre", "erfcTail", "keepNan"],
    code: `fn erfF32(x: f32) -> f32 {
  let magnitude = absoluteF32(x);
  if (magnitude <= 0.927734375) {
    return erfCentre(x);
  }
  let far = 1.0 - erfcTail(magnitude);
  return keepNan(bitcast<f32>(bitcast<u32>(far) | (bitcast<u32>(x) & 0x80000000u)), x);
}`,
  },
  normalDistribution: {
    needs: ["absoluteF32", "erfCentre", "erfcTail", "keepNan"],
    code: `// (1 + erf(x / √2)) / 2 without cancellation for negative x.
fn normalDistribution(x: f32) -> f32 {
  let t = x * 0.707106781;
  let magnitude = absoluteF32(t);
  if (magnitude <= 0.927734375) {
    return 0.5 * erfCentre(t) + 0.5;
  }
  let tail = 0.5 * erfcTail(magnitude);
  return keepNan(select(1.0 - tail, tail, bitcast<u32>(x) >= 0x80000000u), x);
}`,
  },
  geluF32: {
    needs: ["normalDistribution"],
    code: `// x Φ(x), 0 at -Infinity.
fn geluF32(x: f32) -> f32 {
  return max(x, -3.4e38) * normalDistribution(x);
}`,
  },
  geluTanhAngle: {
    needs: ["keepNan"],
    code: `// 2 √(2/π) (x + 0.044715 x³): geluTanh is x sigmoid of it, which is x (1 + tanh(…)) / 2. Saturated from 50 on.
fn geluTanhAngle(x: f32) -> f32 {
  let limited = clamp(x, -50.0, 50.0);
  return keepNan(limited * (limited * limited * 0.0713548162726009 + 1.59576912160573), x);
}`,
  },
  geluTanhF32: {
    needs: ["geluTanhAngle", "sigmoidF32"],
    code: `fn geluTanhF32(x: f32) -> f32 {
  return max(x, -3.4e38) * sigmoidF32(geluTanhAngle(x));
}`,
  },
  erfDerivative: {
    needs: ["expF32"],
    code: `fn erfDerivative(x: f32) -> f32 {
  return 1.12837917 * expF32(-(x * x));
}`,
  },
  // From 100 on the derivatives are 0 or 1; the clamps keep ∞ · 0 out.
  siluDerivative: {
    needs: ["keepNan", "sigmoidPair"],
    code: `// s (1 + x (1 - s)), s = sigmoid(x).
fn siluDerivative(x: f32) -> f32 {
  let limited = clamp(x, -110.0, 110.0);
  let s = sigmoidPair(limited);
  return keepNan(s.x * (1.0 + limited * s.y), x);
}`,
  },
  geluDerivative: {
    needs: ["expF32", "keepNan", "normalDistribution"],
    code: `// Φ(x) + x φ(x).
fn geluDerivative(x: f32) -> f32 {
  let limited = clamp(x, -100.0, 100.0);
  let density = 0.398942280 * expF32(-0.5 * limited * limited);
  return keepNan(normalDistribution(limited) + limited * density, x);
}`,
  },
  geluTanhDerivative: {
    needs: ["geluTanhAngle", "keepNan", "sigmoidPair"],
    code: `// s + x s (1 - s) u', s = sigmoid(u), u = geluTanhAngle(x).
fn geluTanhDerivative(x: f32) -> f32 {
  let limited = clamp(x, -50.0, 50.0);
  let s = sigmoidPair(geluTanhAngle(limited));
  let slope = limited * limited * 0.2140644488178027 + 1.59576912160573;
  return keepNan(s.x + limited * slope * (s.x * s.y), x);
}`,
  },
};
