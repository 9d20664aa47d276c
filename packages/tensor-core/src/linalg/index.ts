/**
 * `@frugal/tensor-core/linalg`: decompositions and solvers in float64, through ml-matrix, on tensors in and out. Asynchronous, because they
 * read the tensors; no gradients pass through; results belong to no scope that has ended meanwhile, so free them with `dispose()`. About
 * 1 GF/s and meant for matrices of up to a few hundred rows, but for `eigh`, `cholesky` and `solveTriangular`, which take thousands.
 */
export { cholesky, qr, svd, type QrResult, type SvdResult } from "./decompositions.ts";
export { eigh, type EighOptions, type EighResult } from "./eigh.ts";
export { LinalgError } from "./errors.ts";
export { determinant, inverse, leastSquares, matrixRank, pseudoInverse, solve, type ToleranceOptions } from "./solving.ts";
export { solveTriangular, type SolveTriangularOptions } from "./triangular.ts";
