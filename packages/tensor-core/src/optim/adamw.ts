import type { Parameter } from "../nn/parameter.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { Optimizer, type ParameterGroup } from "./optimizer.ts";

/** Settings of `AdamW`; defaults as PyTorch. */
export interface AdamWSettings {
  readonly learningRate: number;
  /** Decay of the two moment estimates. Default [0.9, 0.999]. */
  readonly betas: readonly [number, number];
  /** Default 1e-8. */
  readonly epsilon: number;
  /** Decoupled: multiplies the parameter, not the gradient. Default 0.01. */
  readonly weightDecay: number;
}

/** Adam with decoupled weight decay (Loshchilov & Hutter 2019), one fused kernel a parameter. */
export class AdamW extends Optimizer<AdamWSettings> {
  constructor(
    parameters: readonly Parameter[] | readonly ParameterGroup<AdamWSettings>[],
    { learningRate = 1e-3, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 }: Partial<AdamWSettings> = {},
  ) {
    super(parameters, { learningRate, betas, epsilon, weightDecay }, ["firstMoment", "secondMoment"]);
  }

  protected override update(parameter: Parameter, gradient: Tensor, index: number, settings: AdamWSettings): void {
    const [beta1, beta2] = settings.betas;
    const step = this.parameterSteps[index]!;
    this.backend(parameter).kernels.adamW({
      parameter,
      gradient,
      firstMoment: this.slot("firstMoment", index),
      secondMoment: this.slot("secondMoment", index),
      learningRate: settings.learningRate,
      beta1,
      beta2,
      epsilon: settings.epsilon,
      weightDecay: settings.weightDecay,
      correction1: 1 - beta1 ** step,
      correction2: 1 - beta2 ** step,
      gradientScale: 1,
    });
  }
}
