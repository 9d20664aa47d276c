import { TensorError } from "../errors.ts";

/**
 * A matrix that the computation is not defined for: singular, not positive definite, not symmetric, or with entries that are not finite.
 */
export class LinalgError extends TensorError {
  override name = "LinalgError";
}
