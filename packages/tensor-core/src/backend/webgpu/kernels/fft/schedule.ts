import { maximumFftLength } from "../../../../fft/plan.ts";
import { paddedLengthFor } from "../../../../fft/roots.ts";
import { TensorError } from "../../../../errors.ts";
import type { RuntimeLimits } from "../../runtime.ts";
import { longestLoop, loopRadices } from "./loop-kernel.ts";
import { longestStep, longestTile } from "./tile-shape.ts";

/** One workgroup a line or a few, in a shader compiled for the length. */
export interface TileSchedule {
  readonly kind: "tile";
}

/** One workgroup a few lines, in a shader for all short lengths. */
export interface LoopSchedule {
  readonly kind: "loop";
}

/** length = product of `factors` (two or three), a launch each. */
export interface StepsSchedule {
  readonly kind: "steps";
  readonly factors: readonly number[];
}

/** A convolution over a padded length. */
export interface BluesteinSchedule {
  readonly kind: "bluestein";
  readonly paddedLength: number;
  /** Of the padded length. Both transforms are one launch when a workgroup holds them. */
  readonly padded: TileSchedule | LoopSchedule | StepsSchedule;
}

export type Schedule = TileSchedule | LoopSchedule | StepsSchedule | BluesteinSchedule;

const registerPrimes: readonly number[] = [2, 3, 5, 7, 11, 13];

function hasButterflies(length: number): boolean {
  let rest = length;
  for (const prime of registerPrimes) while (rest % prime === 0) rest /= prime;
  return rest === 1;
}

/** Lengths that get a shader of their own: common sizes of features, and all that the shader for short ones does not take. */
function isCommon(length: number): boolean {
  return length >= 64 && length % 64 === 0;
}

/** Factors as equal as possible, none above `longest`; two when that is possible, else three. */
function splitLength(length: number, longest: number): readonly number[] | undefined {
  const nearest = (product: number, root: number, accepts: (divisor: number) => boolean): number | undefined => {
    for (let step = 0; step < longest; step++) {
      for (const divisor of [root + step, root - step]) {
        if (divisor > 1 && divisor <= longest && product % divisor === 0 && accepts(divisor)) return divisor;
      }
    }
    return undefined;
  };
  const split = (product: number): readonly [number, number] | undefined => {
    const first = nearest(product, Math.round(Math.sqrt(product)), (divisor) => product / divisor <= longest);
    return first === undefined ? undefined : [first, product / first];
  };
  const two = split(length);
  if (two !== undefined) return two;
  const first = nearest(length, Math.round(Math.cbrt(length)), (divisor) => split(length / divisor) !== undefined);
  return first === undefined ? undefined : [first, ...split(length / first)!];
}

function powerOfTwoFrom(minimum: number): number {
  return 2 ** Math.ceil(Math.log2(minimum));
}

/** Few lengths, as each is a shader: powers of two, and above 1024 also those times 3/4. */
function fewPaddedLengths(minimum: number): number {
  const power = powerOfTwoFrom(minimum);
  return power > 1024 && (power / 4) * 3 >= minimum ? (power / 4) * 3 : power;
}

/** Which kernels transforms may use. */
export interface FftConfiguration {
  /**
   * "common": shaders for common lengths, one for the others. "none": few shaders, which do more work; for software adapters, which take
   * seconds to compile one. "all": a shader for every length.
   */
  readonly tiles: "none" | "common" | "all";
  readonly limits: RuntimeLimits;
}

/**
 * How a device transforms lines of this many complex points.
 * @throws TensorError for lengths above `maximumFftLength`
 */
export function scheduleTransform(length: number, { tiles, limits }: FftConfiguration): Schedule {
  if (length > maximumFftLength) throw new TensorError(`fft: length ${length} is more than ${maximumFftLength}`);
  const isLoop = loopRadices(length) !== undefined;
  const hasTile = tiles === "all" ? length > 1 : tiles === "common" && isCommon(length);
  if (isLoop && !hasTile) return { kind: "loop" };
  const longest = tiles === "none" ? longestLoop : longestTile(limits);
  const longestFactor = tiles === "none" ? longestLoop : longestStep(limits);
  if (hasButterflies(length)) {
    if (length <= longest) return { kind: "tile" };
    const factors = splitLength(length, longestFactor);
    if (factors !== undefined) return { kind: "steps", factors };
  }
  // 64 times a prime that has no butterfly.
  if (isLoop && tiles !== "all") return { kind: "loop" };
  const padded = tiles === "none" ? paddedLengthFor(2 * length - 1) : fewPaddedLengths(2 * length - 1);
  if (padded <= longest) return { kind: "bluestein", paddedLength: padded, padded: { kind: tiles === "none" ? "loop" : "tile" } };
  return { kind: "bluestein", paddedLength: padded, padded: { kind: "steps", factors: splitLength(padded, longestFactor)! } };
}
