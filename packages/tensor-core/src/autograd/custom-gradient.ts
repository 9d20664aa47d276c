import { GradientError } from "../errors.ts";
import { asDtype } from "../ops/materialize.ts";
import { isFloating } from "../tensor/dtype.ts";
import { Scope } from "../tensor/scope.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { adopt, alias, detachAll, noGrad, outputsOf, record } from "./tape.ts";

/** What the forward function of `customGradient` returns. */
export interface CustomGradientResult<Output extends Tensor | readonly Tensor[]> {
  readonly value: Output;
  /** Tensors `gradient` needs, kept alive for it. Inputs that it needs belong here too. Whatever else the forward function makes is freed at its end. */
  readonly saved?: readonly Tensor[];
  /** One gradient per input (`undefined` where none flows) from those of the outputs (`undefined` = zero). */
  gradient(outputGradients: readonly (Tensor | undefined)[], saved: readonly Tensor[]): readonly (Tensor | undefined)[];
}

/**
 * A function with its own gradient, as `jax.custom_vjp`. The forward function runs unrecorded; its `gradient` replaces differentiation.
 *
 * ```ts
 * const clippedIdentity = customGradient((x) => ({ value: x.clone(), gradient: ([g]) => [g!.clamp(-1, 1)] }));
 * ```
 * @throws GradientError in the backward pass when a returned gradient does not have its input's shape
 */
export function customGradient<Inputs extends readonly Tensor[], Output extends Tensor | readonly Tensor[]>(
  forward: (...inputs: Inputs) => CustomGradientResult<Output>,
): (...inputs: Inputs) => Output {
  return (...inputs) => {
    using inner = new Scope();
    const { value, saved = [], gradient } = noGrad(() => forward(...inputs));
    const likeInputs = inputs.map((input) => ({ shape: input.shape, dtype: input.dtype }));
    const list = detachAll(outputsOf("customGradient", value), inner);
    const outputs = (value instanceof Tensor ? list[0] : list) as Output;
    record("customGradient", inputs, outputs, saved, (outputGradients, kept) => {
      const gradients = gradient(outputGradients, kept);
      if (gradients.length !== likeInputs.length) {
        throw new GradientError(`customGradient: ${likeInputs.length} inputs but the gradient function returned ${gradients.length} gradients`);
      }
      return gradients.map((result, i) => {
        const { shape, dtype } = likeInputs[i]!;
        if (result === undefined || !isFloating(dtype)) return undefined;
        if (!sameShape(result.shape, shape)) {
          throw new GradientError(`customGradient: input ${i} has shape ${formatShape(shape)}, the returned gradient ${formatShape(result.shape)}`);
        }
        return asDtype(result, dtype);
      });
    });
    return inner.keep(outputs);
  };
}

/** The same values, as a constant: no gradient flows through. */
export function stopGradient(input: Tensor): Tensor {
  return adopt(alias(input));
}
