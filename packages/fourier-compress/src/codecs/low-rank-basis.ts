import { matmul, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { eigh } from "@frugal/tensor-core/linalg";
import { pivotedQr } from "./low-rank-qr.ts";

/** left · right, row-major on the host; the first columns and rows alone are the approximation of a smaller rank. */
export interface Factors {
  /** [tokens, rank]. */
  readonly left: Float32Array;
  /** [rank, hiddenSize]. */
  readonly right: Float32Array;
  readonly rank: number;
}

/**
 * Which columns the pivoted QR decomposition picks: "channels" decomposes the rows A as they are (A·P = Q·R), so that Q spans the most
 * different channels; "tokens" decomposes Aᵀ, so that it spans the most different tokens.
 */
export type QrPivots = "channels" | "tokens";

/**
 * The left singular vectors of `rows`, most energetic first, [tokens, rank], from the eigenvectors of rows · rowsᵀ: tokens × tokens,
 * however wide the rows. Entries of `rows` should be near 1 in magnitude, because they are squared in float32.
 */
export async function leftSingularVectors(rows: Tensor, rank: number): Promise<Float32Array> {
  const tokens = rows.shape[0]!;
  using gram = tidy(() => matmul(rows, rows.transpose()));
  const { eigenvalues, eigenvectors } = await eigh(gram);
  using vectors = eigenvectors;
  eigenvalues.dispose();
  const all = await vectors.data("float32");
  const basis = new Float32Array(tokens * rank);
  // Eigenvalues ascend.
  for (let row = 0; row < tokens; row++) for (let i = 0; i < rank; i++) basis[row * rank + i] = all[row * tokens + tokens - 1 - i]!;
  return basis;
}

/** An orthonormal basis [tokens, rank] and the rows in it: basis · (basisᵀ · rows). */
export async function factorsInBasis(rows: Tensor, basis: Float32Array): Promise<Factors> {
  const tokens = rows.shape[0]!;
  const rank = basis.length / tokens;
  using product = tidy(() => matmul(tensor(basis, [tokens, rank], { device: rows.device }).transpose(), rows));
  return { left: basis, right: await product.data("float32"), rank };
}

/** By the pivoted QR decomposition, of the rank or of the rows' own if that is less. */
export async function pivotedFactors(rows: Tensor, rank: number, pivots: QrPivots): Promise<Factors> {
  const [tokens, hiddenSize] = rows.shape as [number, number];
  if (pivots === "channels") return factorsInBasis(rows, pivotedQr(await rows.data("float32"), tokens, hiddenSize, rank));
  const transposed = rows.transpose();
  const basis = pivotedQr(await transposed.data("float32"), hiddenSize, tokens, rank);
  const { left, right, rank: found } = await factorsInBasis(transposed, basis);
  transposed.dispose();
  return { left: transpose(right, found, tokens), right: transpose(left, hiddenSize, found), rank: found };
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const turned = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column]!;
  return turned;
}
