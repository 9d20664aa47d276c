import type { Kernels } from "../backend.ts";
import { countElements } from "./layout.ts";
import type { WasmRuntime } from "./runtime.ts";

/** Optimizer steps, in place. */
export function createOptim(runtime: WasmRuntime): Pick<Kernels, "adamW" | "sgd"> {
  return {
    adamW({
      parameter, gradient, firstMoment, secondMoment, learningRate, beta1, beta2, epsilon, weightDecay, correction1, correction2,
      gradientScale,
    }) {
      const count = countElements(parameter.shape);
      runtime.parallel(
        "adamW",
        [
          runtime.pointer(parameter), runtime.pointer(gradient), runtime.pointer(firstMoment), runtime.pointer(secondMoment), gradientScale,
          beta1, 1 - beta1, beta2, 1 - beta2, 1 - learningRate * weightDecay, learningRate / correction1, 1 / Math.sqrt(correction2),
          epsilon,
        ],
        count,
        { granularity: 64, work: count * 4 },
      );
    },

    sgd({ parameter, gradient, velocity, learningRate, momentum, dampening, weightDecay, nesterov, gradientScale }) {
      const count = countElements(parameter.shape);
      runtime.parallel(
        "sgd",
        [
          runtime.pointer(parameter), runtime.pointer(gradient), velocity ? runtime.pointer(velocity) : 0, gradientScale, weightDecay,
          momentum,
          1 - dampening, learningRate, nesterov ? 1 : 0,
        ],
        count,
        { granularity: 64, work: count * 2 },
      );
    },
  };
}
