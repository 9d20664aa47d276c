import { GradientError } from "../errors.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { noGrad } from "./gradients.ts";
import { adopt, alias, record } from "./tape.ts";

/** What the forward function of `customGradient` returns. */
export interface CustomGradientResult<Output extends Tensor | readonly Tensor[]> {
  readonly value: Output;
  /** Tensors `gradient` needs, kept alive for it. Inputs that it needs belong here too. */
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
    const { value, saved = [], gradient } = noGrad(() => forward(...inputs));
    const shapes = inputs.map((input) => input.shape);
    // A forward function may return an input as it is; the result needs a handle of its own to have a place in the graph.
    const own = <T extends Tensor>(output: T): T => ((inputs as readonly Tensor[]).includes(output) ? (adopt(alias(output)) as T) : output);
    const outputs = (value instanceof Tensor ? own(value) : value.map(own)) as Output;
    record("customGradient", inputs, outputs, saved, (outputGradients, kept) => {
      const gradients = gradient(outputGradients, kept);
      if (gradients.length !== shapes.length) {
        throw new GradientError(`customGradient: ${shapes.length} inputs but the gradient function returned ${gradients.length} gradients`);
      }
      gradients.forEach((result, i) => {
        if (result && !sameShape(result.shape, shapes[i]!)) {
          throw new GradientError(`customGradient: input ${i} has shape ${formatShape(shapes[i]!)}, the returned gradient ${formatShape(result.shape)}`);
        }
      });
      return gradients;
    });
    return outputs;
  };
}

/** The same values, as a constant: no gradient flows through. */
export function stopGradient(input: Tensor): Tensor {
  return adopt(alias(input));
}
