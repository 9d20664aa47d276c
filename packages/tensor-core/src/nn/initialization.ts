import type { DeviceName } from "../backend/backend.ts";
import type { Generator, DrawOptions } from "../random/random.ts";
import { sizeOf, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Inputs and outputs of a weight [outputs, inputs, ...kernel]. */
function fans(shape: Shape): { inputs: number; outputs: number } {
  const receptive = sizeOf(shape.slice(2));
  return { inputs: (shape[1] ?? 1) * receptive, outputs: (shape[0] ?? 1) * receptive };
}

/** Uniform in ±1/√inputs: PyTorch's default for linear layers (He et al. 2015 with a = √5). */
export function kaimingUniform<Device extends DeviceName>(
  generator: Generator,
  shape: Shape,
  options: DrawOptions<Device> = {},
): Tensor<Device> {
  const bound = 1 / Math.sqrt(fans(shape).inputs);
  return generator.uniform(shape, -bound, bound, options);
}

/** Normal with standard deviation gain · √(2 / (inputs + outputs)) (Glorot & Bengio 2010). */
export function xavierNormal<Device extends DeviceName>(
  generator: Generator,
  shape: Shape,
  { gain = 1, ...options }: DrawOptions<Device> & { readonly gain?: number } = {},
): Tensor<Device> {
  const { inputs, outputs } = fans(shape);
  return generator.normal(shape, 0, gain * Math.sqrt(2 / (inputs + outputs)), options as DrawOptions<Device>);
}
