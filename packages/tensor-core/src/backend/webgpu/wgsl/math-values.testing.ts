/** Operands for sweeps of WGSL functions, and how far results are off. For tests. */
import { specialFloats } from "../../../validation/values.ts";

/** A 32-bit hash of the position: numbers without a pattern, the same on every run. */
export function scrambled(position: number, seed = 0): number {
  let bits = Math.imul(position + 1, 0x9e3779b1) ^ Math.imul(seed + 1, 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 16), 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return (bits ^ (bits >>> 16)) >>> 0;
}

/** `count` numbers from low to high. */
export function spread(count: number, low: number, high: number, seed = 0): number[] {
  return Array.from({ length: count }, (_, i) => low + ((high - low) * scrambled(i, seed)) / 2 ** 32);
}

/** `count` floats of random bits: every exponent, denormals, infinities and NaN. */
export function anyFloats(count: number, seed = 0): number[] {
  return Array.from(new Float32Array(Uint32Array.from({ length: count }, (_, i) => scrambled(i, seed)).buffer));
}

/** Floats of every exponent and sign, among them the first and last of each, and those where functions change branches. */
export function sweepFloats(): Float32Array {
  const bits: number[] = [];
  for (let top = 0; top < 512; top++) {
    for (let i = 0; i < 40; i++) {
      const fraction = i === 0 ? 0 : i === 1 ? 1 : i === 2 ? 0x7fffff : scrambled(i, top) >>> 9;
      bits.push(((top << 23) | fraction) >>> 0);
    }
  }
  const around = [0.625, 0.927734375, 1.3120146, 0.41421356, Math.SQRT1_2, Math.SQRT2, 1, 2, 9.01, 10, 11, 50, 88.72283, -87.33655];
  around.push(-103.97208, 0.5, 1.5, 2.5, 8388607.5, 4194304.5);
  for (let n = 1; n < 1500; n++) around.push((n * Math.PI) / 4);
  for (const [i, center] of around.entries()) {
    const start = new Uint32Array(Float32Array.of(i % 2 ? center : -center).buffer)[0]!;
    for (let step = -3; step <= 3; step++) bits.push(start + step, (start + step) ^ 0x80000000);
  }
  const floats = new Float32Array(Uint32Array.from(bits, (word) => word >>> 0).buffer);
  const ranges = [...spread(12_000, -8, 8), ...spread(8_000, -110, 110, 1), ...spread(4_000, 0, 2, 2)];
  return Float32Array.from([...specialFloats, ...floats, ...ranges]);
}

/** Every pair of special floats, then pairs of the generators. */
export function pairs(left: readonly number[], right: readonly number[]): readonly [Float32Array, Float32Array] {
  const special = specialFloats.flatMap((a) => specialFloats.map((b) => [a, b] as const));
  return [Float32Array.from([...special.map(([a]) => a), ...left]), Float32Array.from([...special.map(([, b]) => b), ...right])];
}

const smallestNormal = 2 ** -126;
const largest = (2 - 2 ** -23) * 2 ** 127;

/** Distance in units of the last place of the expected number; 0 where a denormal was flushed; Infinity for a wrong NaN or infinity. */
export function ulpError(actual: number, expected: number): number {
  const rounded = Math.fround(expected);
  if (Number.isNaN(rounded) || Number.isNaN(actual)) return Number.isNaN(rounded) && Number.isNaN(actual) ? 0 : Infinity;
  if (actual === rounded) return 0;
  if (Math.abs(expected) < smallestNormal && Math.abs(actual) <= smallestNormal) return 0;
  // One step before Infinity, or one too far, is an error of a step.
  const clip = (x: number): number => Math.min(Math.max(x, -2 * largest), 2 * largest);
  const unit = 2 ** (Math.floor(Math.log2(Math.min(Math.max(Math.abs(expected), smallestNormal), largest))) - 23);
  return Math.abs(clip(actual) - clip(expected)) / unit;
}

/** Whether a result is within a tolerance of the kernel cases; denormals may be flushed, those of two operands too. */
export function isWithin(actual: number, expected: number, { absolute, relative }: { absolute: number; relative: number }): boolean {
  const rounded = Math.fround(expected);
  if (Number.isNaN(rounded) || Number.isNaN(actual)) return Number.isNaN(rounded) && Number.isNaN(actual);
  if (actual === rounded) return true;
  return Number.isFinite(actual) && Math.abs(actual - rounded) <= absolute + relative * Math.abs(rounded) + 2 * smallestNormal;
}
