import type { DeviceName } from "../backend/backend.ts";
import { GradientError } from "../errors.ts";
import { asDtype } from "../ops/materialize.ts";
import { isFloating } from "../tensor/dtype.ts";
import { withScope } from "../tensor/scope.ts";
import { formatShape, sameShape } from "../tensor/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { adopt, alias, detachAll, noGrad, outputsOf, record } from "./tape.ts";

/** What the forward function of `customGradient` returns. */
export interface CustomGradientResult<Output extends Tensor | readonly Tensor[]> {
  readonly value: Output;
  /**
   * Tensors `gradient` needs, kept alive for it. Inputs that it needs belong here too. Whatever else the forward function makes is freed at
   * its end.
   */
  readonly saved?: readonly Tensor[];
  /** One gradient per input (`undefined` where none flows) from those of the outputs (`undefined` = zero). */
  gradient(outputGradients: readonly (Tensor | undefined)[], saved: readonly Tensor[]): readonly (Tensor | undefined)[];
}

/** Tensors known to be on one device. */
export type OnDevice<Tensors, Device extends DeviceName> = Tensors extends { readonly device: infer Own extends DeviceName }
  ? Tensor<Own & Device>
  : { [Key in keyof Tensors]: OnDevice<Tensors[Key], Device> };

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
): <Device extends DeviceName>(...inputs: { [Key in keyof Inputs]: Inputs[Key] & Tensor<Device> }) => OnDevice<Output, Device> {
  return <Device extends DeviceName>(...inputs: { [Key in keyof Inputs]: Inputs[Key] & Tensor<Device> }) => {
    return withScope((inner) => {
      const { value, saved = [], gradient } = noGrad(() => forward(...inputs));
      const likeInputs = inputs.map((input) => ({ shape: input.shape, dtype: input.dtype }));
      const list = detachAll(outputsOf("customGradient", value), inner);
      const outputs = (value instanceof Tensor ? list[0] : list) as Output;
      record("customGradient", inputs, outputs, saved, (outputGradients, kept) => {
        const gradients = gradient(outputGradients, kept);
        if (gradients.length !== likeInputs.length) {
          throw new GradientError(
            `customGradient: ${likeInputs.length} inputs but the gradient function returned ${gradients.length} gradients`,
          );
        }
        return gradients.map((result, i) => {
          const { shape, dtype } = likeInputs[i]!;
          if (result === undefined || !isFloating(dtype)) return undefined;
          if (!sameShape(result.shape, shape)) {
            throw new GradientError(
              `customGradient: input ${i} has shape ${formatShape(shape)}, the returned gradient ${formatShape(result.shape)}`,
            );
          }
          return asDtype(result, dtype);
        });
      });
      return inner.keep(outputs) as unknown as OnDevice<Output, Device>;
    });
  };
}

/** The same values, as a constant: no gradient flows through. */
export function stopGradient<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return adopt(alias(input));
}
