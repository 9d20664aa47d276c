import { Generator, keep, matmul, tensor, tidy, type Tensor } from "@frugal/tensor-core";
import { eigh } from "@frugal/tensor-core/linalg";
import { SettingsError } from "../errors.ts";
import { orthonormalizeRows } from "./orthonormalize.ts";
import type { ProjectionSettings } from "./stage-mode.ts";

/** How `rightSingularBasis` finds its vectors. */
export interface BasisOptions {
  /**
   * `subspace`: randomised subspace iteration (Halko, Martinsson & Tropp 2011, algorithm 4.4), whose span nears that of the leading
   * singular vectors at the cost of a few products with the matrix. `exact`: eigenvectors of the Gram matrix. Default "subspace".
   */
  readonly method?: "subspace" | "exact";
  /** Products with AᵀA. Default 2. */
  readonly iterations?: number;
  /** Of the random start: the same seed gives the same basis. Default 0. */
  readonly seed?: number;
}

/** Default share of a layer's inputs that the rank is, and its floor: neither is in the paper. */
const DEFAULT_SHARE = 1 / 4;
const LEAST_RANK = 32;

/**
 * r for a layer of `inputs` inputs: a number of vectors of 1 or more, or a share of the inputs in (0, 1); never more than the inputs.
 * Default: a quarter of the inputs, at least 32.
 * @throws SettingsError for a rank that is neither
 */
export function rankOf({ rank }: Pick<ProjectionSettings, "rank">, inputs: number): number {
  if (rank === undefined) return Math.min(inputs, Math.max(LEAST_RANK, Math.ceil(inputs * DEFAULT_SHARE)));
  if (rank > 0 && rank < 1) return Math.max(1, Math.round(inputs * rank));
  if (!Number.isInteger(rank) || rank < 1) {
    throw new SettingsError(`projection rank ${rank}; use a whole number of vectors, or a share of the inputs between 0 and 1`);
  }
  return Math.min(inputs, rank);
}

/**
 * V₁: orthonormal columns that span (nearly) the first `rank` right singular vectors of a matrix A [m, n], as a tensor [n, rank] on its
 * device. Only the span matters to a projection, so the columns are not rotated to the singular vectors themselves. Asynchronous, because
 * it reads tensors; the result belongs to no scope.
 * @throws SettingsError when `rank` is not from 1 to n
 */
export async function rightSingularBasis(matrix: Tensor, rank: number, options: BasisOptions = {}): Promise<Tensor> {
  const inputs = matrix.shape[1];
  if (matrix.rank !== 2 || inputs === undefined) throw new SettingsError(`a basis of a tensor [${matrix.shape.join(", ")}]; give a matrix`);
  if (!Number.isInteger(rank) || rank < 1 || rank > inputs) {
    throw new SettingsError(`a basis of ${rank} vectors for ${inputs} inputs; use 1 to ${inputs}`);
  }
  return options.method === "exact" ? await exactBasis(matrix, inputs, rank) : await subspaceBasis(matrix, inputs, rank, options);
}

async function exactBasis(matrix: Tensor, inputs: number, rank: number): Promise<Tensor> {
  const gram = keep(tidy(() => matmul(matrix.transpose(), matrix)));
  const { eigenvalues, eigenvectors } = await eigh(gram);
  // Eigenvalues ascend: the leading vectors stand last.
  const leading = keep(tidy(() => eigenvectors.slice(null, [inputs - rank, inputs]).contiguous()));
  for (const made of [gram, eigenvalues, eigenvectors]) made.dispose();
  return leading;
}

async function subspaceBasis(matrix: Tensor, inputs: number, rank: number, { iterations = 2, seed = 0 }: BasisOptions): Promise<Tensor> {
  const { device } = matrix;
  // Kept as rows: they lie in memory as Gram-Schmidt reads them, and the products cost the same. Between products they are orthonormalised
  // where they are shorter, on the side of the outputs or of the inputs, so that the smaller singular values do not drown in rounding.
  const outputs = matrix.shape[0]!;
  const isShorterOutside = outputs < inputs && rank <= outputs;
  let rows = keep(new Generator(seed).normal([rank, inputs], 0, 1, { device }));
  const replace = (next: Tensor): void => {
    rows.dispose();
    rows = keep(next);
  };
  const orthonormalize = async (): Promise<void> => {
    const values = await rows.data("float32");
    const length = rows.shape[1]!;
    replace(tensor(orthonormalizeRows(values, rank, length), [rank, length], { device }));
  };
  for (let i = 0; i < iterations; i++) {
    replace(tidy(() => matmul(rows, matrix.transpose())));
    if (i > 0 && isShorterOutside) await orthonormalize();
    replace(matmul(rows, matrix));
    if (i < iterations - 1 && !isShorterOutside) await orthonormalize();
  }
  await orthonormalize();
  const basis = keep(tidy(() => rows.transpose().clone()));
  rows.dispose();
  return basis;
}
