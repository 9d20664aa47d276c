import { sizeOf } from "../../../tensor/shape.ts";
import type { Kernels } from "../../backend.ts";
import { entryPoint, f32, read, u32, workgroupGrid, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";

const workgroupSize = 256;

/** Optimizer steps: one pass over parameter, gradient and moments. */
export function optimizerKernels(runtime: WebGpuRuntime): Pick<Kernels, "adamW" | "sgd"> {
  return {
    adamW({ parameter, gradient, firstMoment, secondMoment, ...settings }) {
      const count = sizeOf(parameter.shape);
      runtime.launch({
        name: "adamW",
        bindings: { parameter: write(parameter), gradient: read(gradient), firstMoment: write(firstMoment), secondMoment: write(secondMoment) },
        uniforms: {
          count: u32(count),
          learningRate: f32(settings.learningRate),
          beta1: f32(settings.beta1),
          beta2: f32(settings.beta2),
          epsilon: f32(settings.epsilon),
          decay: f32(1 - settings.learningRate * settings.weightDecay),
          correction1: f32(1 / settings.correction1),
          correction2: f32(1 / Math.sqrt(settings.correction2)),
          gradientScale: f32(settings.gradientScale),
        },
        workgroups: workgroupGrid(Math.ceil(count / workgroupSize)),
        work: { bytes: 7 * 4 * count, operations: 14 * count },
        code: () =>
          entryPoint(
            workgroupSize,
            `  if (index >= uniforms.count) { return; }
  let g = gradient[uniforms.gradientOffset + index] * uniforms.gradientScale;
  let m = uniforms.beta1 * firstMoment[uniforms.firstMomentOffset + index] + (1.0 - uniforms.beta1) * g;
  let v = uniforms.beta2 * secondMoment[uniforms.secondMomentOffset + index] + (1.0 - uniforms.beta2) * g * g;
  firstMoment[uniforms.firstMomentOffset + index] = m;
  secondMoment[uniforms.secondMomentOffset + index] = v;
  let place = uniforms.parameterOffset + index;
  let step = uniforms.learningRate * (m * uniforms.correction1) / (sqrt(v) * uniforms.correction2 + uniforms.epsilon);
  parameter[place] = parameter[place] * uniforms.decay - step;`,
          ),
      });
    },

    sgd({ parameter, gradient, velocity, ...settings }) {
      const count = sizeOf(parameter.shape);
      const variant = velocity === undefined ? "" : settings.nesterov ? "nesterov" : "momentum";
      const direction =
        velocity === undefined
          ? "  let direction = g;"
          : `  let place = uniforms.velocityOffset + index;
  let v = uniforms.momentum * velocity[place] + (1.0 - uniforms.dampening) * g;
  velocity[place] = v;
  let direction = ${settings.nesterov ? "g + uniforms.momentum * v" : "v"};`;
      runtime.launch({
        name: "sgd",
        variant,
        bindings: { parameter: write(parameter), gradient: read(gradient), ...(velocity && { velocity: write(velocity) }) },
        uniforms: {
          count: u32(count),
          learningRate: f32(settings.learningRate),
          momentum: f32(settings.momentum),
          dampening: f32(settings.dampening),
          weightDecay: f32(settings.weightDecay),
          gradientScale: f32(settings.gradientScale),
        },
        workgroups: workgroupGrid(Math.ceil(count / workgroupSize)),
        work: { bytes: (velocity === undefined ? 3 : 5) * 4 * count, operations: (velocity === undefined ? 4 : 8) * count },
        code: () =>
          entryPoint(
            workgroupSize,
            `  if (index >= uniforms.count) { return; }
  let p = parameter[uniforms.parameterOffset + index];
  let g = uniforms.gradientScale * gradient[uniforms.gradientOffset + index] + uniforms.weightDecay * p;
${direction}
  parameter[uniforms.parameterOffset + index] = p - uniforms.learningRate * direction;`,
          ),
      });
    },
  };
}
