import { matmul, tidy, type Tensor } from "@frugal/tensor-core";

/**
 * Ĝ V₁ = Gᵧᵀ (X V₁), [m, r]: a low-rank gradient by its coordinates. Those of microbatches can be added up before V₁ᵀ is multiplied in
 * once.
 * @param outputGradient Gᵧ [tokens, m]
 * @param projected X V₁ [tokens, r], see `projectInputs`
 */
export function lowRankCoordinates(outputGradient: Tensor, projected: Tensor): Tensor {
  return tidy(() => matmul(outputGradient.transpose(), projected));
}

/**
 * Ĝ = [Gᵧᵀ (X V₁)] V₁ᵀ: the gradient of a weight [m, n] of Y = X Wᵀ, projected on the span of V₁ (paper §3.3, Eq. 2, with tokens as
 * rows). The full product GᵧᵀX is never formed: 2bmn operations become 2brn + 2brm + 2rmn.
 * @param outputGradient Gᵧ [tokens, m]
 * @param projected X V₁ [tokens, r], see `projectInputs`
 * @param basis V₁ [n, r], orthonormal columns
 */
export function lowRankWeightGradient(outputGradient: Tensor, projected: Tensor, basis: Tensor): Tensor {
  return tidy(() => matmul(lowRankCoordinates(outputGradient, projected), basis.transpose()));
}

/** X V₁: inputs [tokens, n] by their coordinates in the basis [n, r]. */
export function projectInputs(inputs: Tensor, basis: Tensor): Tensor {
  return matmul(inputs, basis);
}

/** GᵧᵀX: the exact gradient of a weight [m, n], from Gᵧ [tokens, m] and X [tokens, n]. */
export function exactWeightGradient(outputGradient: Tensor, inputs: Tensor): Tensor {
  return tidy(() => matmul(outputGradient.transpose(), inputs));
}
