import { linear, matmul, tensor, tidy, type DeviceName, type Tensor } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import { CodecTableError } from "../errors.ts";

/**
 * Messages of fewer rows are transformed by plain loops: a product on a device would wait for the basis to be copied there, which takes as
 * long. Nothing stays on a device between messages.
 */
const FEWEST_DEVICE_ROWS = 4;

/** The part of a table that the principal basis needs. */
export interface PrincipalBasis {
  readonly width: number;
  readonly mean: Float32Array;
  /** Orthonormal rows, [width, width]. */
  readonly basis: Float32Array;
}

/** @throws CodecTableError for a table without a basis */
export function principalBasisOf(codec: string, { basis, mean, hiddenSize }: CodecTable): PrincipalBasis {
  if (basis === undefined) throw new CodecTableError(`${codec} codec: the codec table has no basis; calibrate it with one`);
  return { width: hiddenSize, mean, basis };
}

/** (rows - mean) · basisᵀ by the first `count` basis rows: [tokens, count]. */
export async function toCoefficients(rows: Tensor, { width, mean, basis }: PrincipalBasis, count: number): Promise<Float32Array> {
  const tokens = rows.shape[0]!;
  if (tokens >= FEWEST_DEVICE_ROWS) {
    using product = tidy(() => {
      const { device } = rows;
      const centred = rows.subtract(tensor(mean, [width], { device }));
      return linear(centred, tensor(basis.subarray(0, count * width), [count, width], { device }));
    });
    return await product.data("float32");
  }
  const values = await rows.data("float32");
  const coefficients = new Float32Array(tokens * count);
  const centred = new Float32Array(width);
  for (let token = 0; token < tokens; token++) {
    for (let channel = 0; channel < width; channel++) centred[channel] = values[token * width + channel]! - mean[channel]!;
    for (let index = 0; index < count; index++) coefficients[token * count + index] = dot(basis, index * width, centred);
  }
  return coefficients;
}

function dot(basis: Float32Array, start: number, vector: Float32Array): number {
  // Sums of their own, because additions in turn wait for each other.
  let [first, second, third, fourth] = [0, 0, 0, 0];
  let channel = 0;
  for (; channel + 3 < vector.length; channel += 4) {
    const place = start + channel;
    first += basis[place]! * vector[channel]!;
    second += basis[place + 1]! * vector[channel + 1]!;
    third += basis[place + 2]! * vector[channel + 2]!;
    fourth += basis[place + 3]! * vector[channel + 3]!;
  }
  for (; channel < vector.length; channel++) first += basis[start + channel]! * vector[channel]!;
  return first + second + (third + fourth);
}

/** coefficients [tokens, count] · basis + mean: [tokens, width]. */
export function fromCoefficients(
  coefficients: Float32Array, tokens: number, count: number, { width, mean, basis }: PrincipalBasis, device: DeviceName,
): Tensor {
  if (tokens >= FEWEST_DEVICE_ROWS && count > 0) {
    return tidy(() => {
      const product = matmul(
        tensor(coefficients, [tokens, count], { device }),
        tensor(basis.subarray(0, count * width), [count, width], { device }),
      );
      return product.add(tensor(mean, [width], { device }));
    });
  }
  const rows = new Float32Array(tokens * width);
  const sum = new Float64Array(width);
  for (let token = 0; token < tokens; token++) {
    sum.set(mean);
    for (let index = 0; index < count; index++) {
      const coefficient = coefficients[token * count + index]!;
      if (coefficient === 0) continue;
      const start = index * width;
      for (let channel = 0; channel < width; channel++) sum[channel]! += coefficient * basis[start + channel]!;
    }
    rows.set(sum, token * width);
  }
  return tensor(rows, [tokens, width], { device });
}
