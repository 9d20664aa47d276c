import { matmul, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { eigh } from "@frugal/tensor-core/linalg";
import { pivotedQr } from "./low-rank-qr.ts";

/** Orthonormal columns [tokens, rank], row-major, on the host. The best for any smaller rank come first. */
export interface TokenBasis {
  readonly basis: Float32Array;
  readonly rank: number;
}

/**
 * The left singular vectors of `rows`, most energetic first, from the eigenvectors of rows · rowsᵀ: tokens × tokens, however wide the rows.
 * Entries of `rows` should be near 1 in magnitude, because they are squared in float32.
 */
export async function leftSingularVectors(rows: Tensor, rank: number): Promise<TokenBasis> {
  const tokens = rows.shape[0]!;
  using gram = tidy(() => matmul(rows, rows.transpose()));
  const { eigenvalues, eigenvectors } = await eigh(gram);
  using vectors = eigenvectors;
  eigenvalues.dispose();
  const all = await vectors.data("float32");
  const basis = new Float32Array(tokens * rank);
  // Eigenvalues ascend.
  for (let row = 0; row < tokens; row++) for (let i = 0; i < rank; i++) basis[row * rank + i] = all[row * tokens + tokens - 1 - i]!;
  return { basis, rank };
}

/** The orthonormal factor of a pivoted QR decomposition. */
export async function pivotedColumns(rows: Tensor, rank: number): Promise<TokenBasis> {
  const [tokens, hiddenSize] = rows.shape as [number, number];
  return pivotedQr(await rows.data("float32"), tokens, hiddenSize, rank);
}

/** basisᵀ · rows: [rank, hiddenSize], on the rows' device. */
export function project(rows: Tensor, { basis, rank }: TokenBasis): Tensor {
  return tidy(() => matmul(tensor(basis, [rows.shape[0]!, rank], { device: rows.device }).transpose(), rows));
}
