import type { Tensor } from "./tensor.ts";

/** Whoever frees a tensor: a scope, or nobody (`undefined`) when the caller does. */
export interface TensorOwner {
  track(tensor: Tensor): void;
}

/** Open scopes, innermost last. */
export const scopeStack: TensorOwner[] = [];
