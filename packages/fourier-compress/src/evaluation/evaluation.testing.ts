import { foldIn, randomKey, randomWord } from "@frugal/tensor-core";
import { float16BitsToFloat32, float32ToFloat16Bits } from "@frugal/tensor-core";
import type { ActivationSet } from "./activations-folder.ts";

/** Width of `syntheticActivations`. */
export const SYNTHETIC_WIDTH = 16;

/** About normal, mean 0, variance 1: the same for the same key and place. */
function normal(key: readonly [number, number], at: number): number {
  let sum = 0;
  for (let i = 0; i < 12; i++) sum += randomWord(key, 12 * at + i) / 2 ** 32;
  return sum - 6;
}

/** Rows with a mean, a few strong directions and weak rest, as activations have; every prompt begins with the same row. */
export function syntheticActivations(seed: number = 3): ActivationSet {
  const key = randomKey(seed);
  const [factorKey, meanKey, basisKey, noiseKey, beginKey] = [1, 2, 3, 4, 5].map((stream) => foldIn(key, stream)) as [
    readonly [number, number], readonly [number, number], readonly [number, number], readonly [number, number], readonly [number, number],
  ];
  const half = (value: number): number => float16BitsToFloat32(float32ToFloat16Bits(value));
  const row = (at: number): number[] =>
    Array.from({ length: SYNTHETIC_WIDTH }, (_, channel) => {
      let value = 0.7 * normal(meanKey, channel) + 0.1 * normal(noiseKey, at * SYNTHETIC_WIDTH + channel);
      for (let factor = 0; factor < 4; factor++) {
        value += (normal(factorKey, 4 * at + factor) * normal(basisKey, factor * SYNTHETIC_WIDTH + channel)) / (1 + factor);
      }
      return half(value);
    });
  const beginRow = Float32Array.from({ length: SYNTHETIC_WIDTH }, (_, channel) => half(5 * normal(beginKey, channel)));
  let at = 0;
  const calibration = Float32Array.from(Array.from({ length: 200 }, () => row(at++)).flat());
  const prompts = [24, 31, 40].map((count, index) => ({
    dataset: "synthetic", tokens: Array.from({ length: count + 1 }, (_, i) => (i === 0 ? 1 : 5 + index + i)),
    rows: Float32Array.from([...beginRow, ...Array.from({ length: count }, () => row(at++)).flat()]),
  }));
  return { name: "synthetic", block: 2, hiddenSize: SYNTHETIC_WIDTH, calibration, beginRow, prompts };
}
