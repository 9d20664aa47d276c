/**
 * `@frugal/tensor-core/linalg`: decompositions and solvers for small matrices, in float64 through ml-matrix, on tensors in and out.
 * Asynchronous, because they read the
 * tensors; no gradients pass through; results belong to no scope that has ended meanwhile, so free them with `dispose()`. About 1 GF/s:
 * meant for matrices of up to a few hundred
 * rows.
 */
export { cholesky, eigh, qr, svd, type EighResult, type QrResult, type SvdResult } from "./decompositions.ts";
export { LinalgError } from "./errors.ts";
export { determinant, inverse, leastSquares, matrixRank, pseudoInverse, solve, type ToleranceOptions } from "./solving.ts";
