import * as draw from "../arbitrary.ts";
import { denseLayouts, seeds, sizesOrZero, small } from "../arbitraries.ts";
import { within, type KernelTests } from "../kernel-test.ts";
import { tensorSpec } from "../tensor-spec.ts";
import { normals, uniforms } from "../values.ts";

const lengths = draw.oneof({ arbitrary: sizesOrZero, weight: 29 }, { arbitrary: draw.constant(70001), weight: 1 });

/** Tests of optimizer steps. */
export const optimizerTests: KernelTests<"adamW" | "sgd"> = {
  adamW: {
    outputs: ["parameter", "firstMoment", "secondMoment"],
    tolerance: within(1e-6, 3e-6),
    cases: draw
      .record({
        length: lengths,
        step: small(50),
        weightDecay: draw.constantFrom(0, 0.1),
        gradientScale: draw.constantFrom(1, 0.25),
        layout: denseLayouts,
        seed: seeds,
      })
      .map(({ length, step, weightDecay, gradientScale, layout, seed }) => ({
        parameter: tensorSpec("float32", [length], normals(seed), layout),
        gradient: tensorSpec("float32", [length], normals(seed + 1), layout),
        firstMoment: tensorSpec("float32", [length], normals(seed + 2, 0, 0.1), layout),
        secondMoment: tensorSpec("float32", [length], uniforms(seed + 3, 0, 0.1), layout),
        learningRate: 0.01,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weightDecay,
        correction1: 1 - 0.9 ** step,
        correction2: 1 - 0.95 ** step,
        gradientScale,
      })),
  },

  sgd: {
    outputs: ["parameter", "velocity"],
    tolerance: within(1e-6, 3e-6),
    cases: draw
      .record({
        length: lengths,
        momentum: draw.constantFrom(0, 0.9),
        dampening: draw.constantFrom(0, 0.5),
        weightDecay: draw.constantFrom(0, 0.1),
        nesterov: draw.boolean(),
        gradientScale: draw.constantFrom(1, 0.25),
        layout: denseLayouts,
        seed: seeds,
      })
      .map(({ length, momentum, dampening, weightDecay, nesterov, gradientScale, layout, seed }) => ({
        parameter: tensorSpec("float32", [length], normals(seed), layout),
        gradient: tensorSpec("float32", [length], normals(seed + 1), layout),
        velocity: momentum > 0 ? tensorSpec("float32", [length], normals(seed + 2), layout) : undefined,
        learningRate: 0.05,
        momentum,
        dampening: momentum > 0 && !nesterov ? dampening : 0,
        weightDecay,
        nesterov: nesterov && momentum > 0,
        gradientScale,
      })),
  },
};
