/** Test data as functions of an element's position: cheap to make, the same on every run of one seed, and free to shrink in shape. */
import { threefry2x32 } from "../random/threefry.ts";

/** Value of the element at a row-major position. */
export type Filler = (position: number) => number;

const words = new Uint32Array(4);

/** Uniform in [low, high). */
export function uniforms(seed: number, low = 0, high = 1): Filler {
  return (position) => {
    threefry2x32(seed, 0, position, 0, words);
    return low + (high - low) * (words[0]! / 2 ** 32);
  };
}

/** Bell-shaped around `mean` (three uniforms added), within ±3 `deviation`. */
export function normals(seed: number, mean = 0, deviation = 1): Filler {
  return (position) => {
    threefry2x32(seed, 0, position, 0, words, 0);
    threefry2x32(seed, 1, position, 0, words, 2);
    return mean + deviation * (((words[0]! + words[1]! + words[2]!) / 2 ** 32) * 2 - 3);
  };
}

/** Whole numbers from low to high, both included. */
export function integers(seed: number, low: number, high: number): Filler {
  const value = uniforms(seed, low, high + 1);
  return (position) => Math.floor(value(position));
}

/** One of the choices. */
export function choices(seed: number, values: readonly number[]): Filler {
  const index = integers(seed, 0, values.length - 1);
  return (position) => values[index(position)]!;
}

/** Normals with one value in five from `rare`. */
export function sprinkled(seed: number, usual: Filler, rare: readonly number[]): Filler {
  const pick = choices(seed + 1, rare);
  const dice = uniforms(seed + 2);
  return (position) => (dice(position) < 0.2 ? pick(position) : usual(position));
}

/** float32 values where functions tend to go wrong. */
export const specialFloats: readonly number[] = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -1.5,
  3,
  1e-6,
  -1e-6,
  1e-20,
  20,
  -20,
  88,
  -88,
  89,
  -90,
  104,
  -110,
  1e10,
  -1e10,
  8388609,
  1e30,
  -1e30,
  1.5e-45,
  Infinity,
  -Infinity,
  NaN,
];

/** int32 values at the edges. */
export const specialIntegers: readonly number[] = [0, 1, -1, 2, 46341, 65536, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1];
