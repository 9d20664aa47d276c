/** Inputs of tasks, the same in every process. */

/** Uniform numbers in [-1, 1) from a seed (mulberry32). */
export function uniform(length: number, seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    values[i] = ((word ^ (word >>> 14)) >>> 0) / 2 ** 31 - 1;
  }
  return values;
}

/** Inputs of the selective scan: Δ in (0, 0.1), A in (-1, 0), as trained models have them. */
export function scanInputs(
  sequence: number,
  channels: number,
  state: number,
): Record<"input" | "delta" | "stateMatrix" | "inputMatrix" | "outputMatrix" | "skip", Float32Array<ArrayBuffer>> {
  return {
    input: uniform(sequence * channels, 1),
    delta: uniform(sequence * channels, 2).map((value) => 0.05 + 0.05 * value),
    stateMatrix: uniform(channels * state, 3).map((value) => -0.5 + 0.5 * value),
    inputMatrix: uniform(sequence * state, 4),
    outputMatrix: uniform(sequence * state, 5),
    skip: uniform(channels, 6),
  };
}

/** Token ids of the training step. */
export function tokenIds(length: number, vocabularySize: number): Int32Array {
  return Int32Array.from(uniform(length, 7), (value) => Math.floor(((value + 1) / 2) * vocabularySize));
}

/** Settings of the AdamW update. */
export const adamW = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01 } as const;

const points = 16;

/** Numbers at fixed places of a result, spread over its length. */
export function sampleOf(values: ArrayLike<number>): number[] {
  return Array.from(
    { length: Math.min(points, values.length) },
    (_, i) => values[Math.floor((i * (values.length - 1)) / Math.max(1, points - 1))]!,
  );
}

/** `sampleOf` the real parts of a result that is interleaved complex, followed by that of the imaginary parts. */
export function sampleOfComplex(real: ArrayLike<number>, imaginary: ArrayLike<number>): number[] {
  return [...sampleOf(real), ...sampleOf(imaginary)];
}
