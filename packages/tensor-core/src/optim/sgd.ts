import type { Parameter } from "../nn/parameter.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer, type ParameterGroup } from "./optimizer.ts";

/** Settings of `Sgd`; meanings as PyTorch (which skips the dampening of the first step). */
export interface SgdSettings {
  readonly learningRate: number;
  /** Default 0. */
  readonly momentum: number;
  /** Share of the gradient kept out of the velocity. Default 0; `1 - momentum` gives the averaged form m = βm + (1 - β)g. */
  readonly dampening: number;
  /** Added to the gradient as weightDecay · parameter. Default 0. */
  readonly weightDecay: number;
  /** Default false. */
  readonly nesterov: boolean;
}

/** Stochastic gradient descent with momentum. */
export class Sgd extends Optimizer<SgdSettings> {
  readonly #hasVelocity: boolean;

  constructor(
    parameters: readonly Parameter[] | readonly ParameterGroup<SgdSettings>[],
    { learningRate = 1e-2, momentum = 0, dampening = 0, weightDecay = 0, nesterov = false }: Partial<SgdSettings> = {},
  ) {
    const groups = parameters.some((group) => "parameters" in group && (group.settings?.momentum ?? 0) !== 0);
    super(parameters, { learningRate, momentum, dampening, weightDecay, nesterov }, momentum !== 0 || groups ? ["velocity"] : []);
    this.#hasVelocity = momentum !== 0 || groups;
  }

  protected override update(parameter: Parameter, gradient: Tensor, index: number, settings: SgdSettings): void {
    const velocity = this.#hasVelocity && settings.momentum !== 0 ? this.slot("velocity", index) : undefined;
    this.backend(parameter).kernels.sgd({ ...settings, parameter, gradient, velocity, gradientScale: 1 });
  }
}
