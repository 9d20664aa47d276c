import type { Kernels } from "../backend.ts";
import { load, store } from "./access.ts";

/** Optimizer steps, in place. */
export const optimizerKernels: Pick<Kernels, "adamW" | "sgd"> = {
  adamW({
    parameter,
    gradient,
    firstMoment,
    secondMoment,
    learningRate,
    beta1,
    beta2,
    epsilon,
    weightDecay,
    correction1,
    correction2,
    gradientScale,
  }) {
    const p = load(parameter);
    const m = load(firstMoment);
    const v = load(secondMoment);
    load(gradient).forEach((raw, i) => {
      const g = gradientScale * raw;
      m[i] = beta1 * m[i]! + (1 - beta1) * g;
      v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
      const update = m[i]! / correction1 / (Math.sqrt(v[i]! / correction2) + epsilon);
      p[i]! -= learningRate * (update + weightDecay * p[i]!);
    });
    store(firstMoment, m);
    store(secondMoment, v);
    store(parameter, p);
  },

  sgd({ parameter, gradient, velocity, learningRate, momentum, dampening, weightDecay, nesterov, gradientScale }) {
    const p = load(parameter);
    const v = velocity && load(velocity);
    load(gradient).forEach((raw, i) => {
      const g = gradientScale * raw + weightDecay * p[i]!;
      let step = g;
      if (v) {
        v[i] = momentum * v[i]! + (1 - dampening) * g;
        step = nesterov ? g + momentum * v[i]! : v[i]!;
      }
      p[i]! -= learningRate * step;
    });
    if (velocity && v) store(velocity, v);
    store(parameter, p);
  },
};
