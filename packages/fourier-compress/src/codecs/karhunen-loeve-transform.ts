import { linear, matmul, tensor, tidy, zeros, type DeviceName, type Tensor } from "@frugal/tensor-core";
import type { CodecTable } from "../calibration/codec-table.ts";
import { CodecTableError } from "../errors.ts";

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

/**
 * (rows - mean) · basisᵀ by the first `count` basis rows: [tokens, count]. The basis is copied to the device for each message, a
 * millisecond at width 2048, so that nothing stays there that a coder would have to be disposed for.
 */
export async function toCoefficients(rows: Tensor, { width, mean, basis }: PrincipalBasis, count: number): Promise<Float32Array> {
  using product = tidy(() => {
    const { device } = rows;
    const centred = rows.subtract(tensor(mean, [width], { device }));
    return linear(centred, tensor(basis.subarray(0, count * width), [count, width], { device }));
  });
  return await product.data("float32");
}

/** coefficients [tokens, count] · basis + mean: [tokens, width]. */
export function fromCoefficients(
  coefficients: Float32Array, tokens: number, count: number, { width, mean, basis }: PrincipalBasis, device: DeviceName,
): Tensor {
  return tidy(() => {
    const center = tensor(mean, [width], { device });
    if (count === 0) return center.add(zeros([tokens, width], { device }));
    const leading = tensor(basis.subarray(0, count * width), [count, width], { device });
    return matmul(tensor(coefficients, [tokens, count], { device }), leading).add(center);
  });
}
