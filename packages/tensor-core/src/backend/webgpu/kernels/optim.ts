import { sizeOf } from "../../../tensor/shape.ts";
import type { Kernels, TensorView } from "../../backend.ts";
import { entryPoint, f32, isAligned, read, u32, workgroupGrid, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";

const workgroupSize = 256;

/** Optimizer steps: one pass over parameter, gradient and moments. */
export function optimizerKernels(runtime: WebGpuRuntime): Pick<Kernels, "adamW" | "sgd"> {
  return {
    adamW({ parameter, gradient, firstMoment, secondMoment, ...settings }) {
      const count = sizeOf(parameter.shape);
      const type = arrayType(count, parameter, gradient, firstMoment, secondMoment);
      const steps = type === "f32" ? count : count / 4;
      runtime.launch({
        name: "adamW",
        bindings: {
          parameter: write(parameter, type),
          gradient: read(gradient, type),
          firstMoment: write(firstMoment, type),
          secondMoment: write(secondMoment, type),
        },
        uniforms: {
          count: u32(steps),
          learningRate: f32(settings.learningRate),
          beta1: f32(settings.beta1),
          beta2: f32(settings.beta2),
          epsilon: f32(settings.epsilon),
          decay: f32(1 - settings.learningRate * settings.weightDecay),
          correction1: f32(1 / settings.correction1),
          correction2: f32(1 / Math.sqrt(settings.correction2)),
          gradientScale: f32(settings.gradientScale),
        },
        workgroups: workgroupGrid(Math.ceil(steps / workgroupSize)),
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
      const type = arrayType(count, parameter, gradient, ...(velocity ? [velocity] : []));
      const steps = type === "f32" ? count : count / 4;
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
        bindings: {
          parameter: write(parameter, type),
          gradient: read(gradient, type),
          ...(velocity && { velocity: write(velocity, type) }),
        },
        uniforms: {
          count: u32(steps),
          learningRate: f32(settings.learningRate),
          momentum: f32(settings.momentum),
          dampening: f32(settings.dampening),
          weightDecay: f32(settings.weightDecay),
          gradientScale: f32(settings.gradientScale),
        },
        workgroups: workgroupGrid(Math.ceil(steps / workgroupSize)),
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

/** Four elements at once where all arrays start at a multiple of four: the steps only stream memory. */
function arrayType(count: number, ...views: readonly TensorView[]): "f32" | "vec4<f32>" {
  return count % 4 === 0 && views.every((view) => isAligned(view, 4)) ? "vec4<f32>" : "f32";
}
