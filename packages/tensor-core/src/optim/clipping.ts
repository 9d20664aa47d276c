import type { DeviceName } from "../backend/backend.ts";
import { add, divide, minimum, multiply } from "../ops/binary.ts";
import { sum } from "../ops/reduce.ts";
import { sqrt, square } from "../ops/unary.ts";
import { full } from "../ops/creation.ts";
import { asDtype } from "../ops/materialize.ts";
import { tidy } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Euclidean norm of all gradients together, as a scalar tensor; summed in the order given. */
export function globalNorm<Device extends DeviceName>(gradients: readonly Tensor<Device>[]): Tensor<Device> {
  const first = gradients[0];
  if (first === undefined) return full<DeviceName>([], 0) as Tensor<Device>;
  return tidy(() => sqrt(gradients.map((gradient) => sum(square(asDtype(gradient, "float32")))).reduce((total, part) => add(total, part))));
}

/** What clipping gives. */
export interface ClippedGradients<Device extends DeviceName = DeviceName> {
  readonly gradients: Tensor<Device>[];
  /** The norm before clipping, as a scalar tensor: read it when you log, nothing waits for it. */
  readonly norm: Tensor<Device>;
}

/** Scales all gradients by one factor so that their global norm is at most `maximumNorm` (Pascanu et al. 2013). */
export function clipByGlobalNorm<Device extends DeviceName>(
  gradients: readonly Tensor<Device>[],
  maximumNorm: number,
): ClippedGradients<Device> {
  const norm = globalNorm(gradients);
  return tidy(() => {
    const scale = minimum(divide(maximumNorm, add(norm, 1e-6)), 1);
    return { gradients: gradients.map((gradient) => multiply(gradient, asDtype(scale, gradient.dtype))), norm };
  });
}
