/** Inputs of tasks, the same in every process. */
import type { ActivationShape } from "./workload.ts";

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

/** Bytes without a pattern. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(uniform(length, 8), (value) => 128 + Math.floor(128 * value));
}

/**
 * Rows as a language model's first block leaves them: channels of scales over two orders of magnitude around means of their own, values
 * with the tails of a Laplace distribution, and a few directions that many channels share.
 */
export function activations({ tokens, hiddenSize }: ActivationShape, seed: number = 9): Float32Array<ArrayBuffer> {
  const directions = 32;
  const scales = uniform(hiddenSize, 10).map((value) => 0.05 * Math.exp(1.5 * value ** 3));
  const means = uniform(hiddenSize, 11).map((value, channel) => value * scales[channel]!);
  const mixing = uniform(directions * hiddenSize, 12);
  const own = uniform(tokens * hiddenSize, seed);
  const shared = uniform(tokens * directions, seed + 100);
  const rows = new Float32Array(tokens * hiddenSize);
  for (let token = 0; token < tokens; token++) {
    for (let channel = 0; channel < hiddenSize; channel++) {
      const at = token * hiddenSize + channel;
      let value = -Math.sign(own[at]!) * Math.log(1 - Math.abs(own[at]!) * 0.9999);
      for (let direction = 0; direction < directions; direction++) {
        value += (0.5 * shared[token * directions + direction]! * mixing[direction * hiddenSize + channel]!) / (1 + direction / 4);
      }
      rows[at] = means[channel]! + scales[channel]! * value;
    }
  }
  return rows;
}

/** The rows in steps, each step a share of their root mean square, about the mean of their channel. @throws RangeError beyond a byte */
export function quantizedActivations(shape: ActivationShape, share: number): Int8Array<ArrayBuffer> {
  const { values, step } = centeredActivations(shape, share);
  return Int8Array.from(values, (value) => {
    const symbol = Math.round(value / step);
    if (Math.abs(symbol) > 127) throw new RangeError(`${symbol} does not fit a byte; use a larger step`);
    return symbol;
  });
}

/** The rows without their channels' means, each channel's mean magnitude, and the step that `share` of their root mean square is. */
export function centeredActivations(
  shape: ActivationShape,
  share: number,
): { readonly values: Float32Array<ArrayBuffer>; readonly scales: Float32Array<ArrayBuffer>; readonly step: number } {
  const { tokens, hiddenSize } = shape;
  const values = activations(shape);
  const scales = new Float32Array(hiddenSize);
  let energy = 0;
  for (let channel = 0; channel < hiddenSize; channel++) {
    let mean = 0;
    for (let at = channel; at < values.length; at += hiddenSize) mean += values[at]! / tokens;
    for (let at = channel; at < values.length; at += hiddenSize) {
      values[at]! -= mean;
      scales[channel]! += Math.abs(values[at]!) / tokens;
      energy += values[at]! ** 2;
    }
  }
  return { values, scales, step: Math.fround(share * Math.sqrt(energy / values.length)) };
}
