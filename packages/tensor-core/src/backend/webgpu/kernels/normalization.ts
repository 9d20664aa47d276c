import type { Kernels } from "../../backend.ts";
import { f32, read, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { callReduction, rowDeclarations, rowEntryPoint, rowExtensions, rowLayout, rowReduction } from "../wgsl/row-reduction.ts";
import { normalizationGradient } from "./normalization-gradient.ts";
import { bytesOf } from "../work.ts";

/** LayerNorm and RMSNorm over rows: one pass for the statistics, one for the results. */
export function normalizationKernels(
  runtime: WebGpuRuntime,
): Pick<Kernels, "layerNorm" | "layerNormGradient" | "rmsNorm" | "rmsNormGradient"> {
  return {
    // Means and squared deviations of parts are merged (Chan, Golub & LeVeque 1979): as accurate as two passes over the row.
    layerNorm({ input, weight, bias, epsilon, output, mean, rstd, rows, columns }) {
      if (rows === 0) return;
      const layout = rowLayout(rows, columns, [input, weight, bias, output]);
      const { type, width } = layout;
      runtime.launch({
        name: "layerNorm",
        variant: layout.variant,
        bindings: {
          input: read(input, type),
          ...(weight && { weight: read(weight, type) }),
          ...(bias && { bias: read(bias, type) }),
          output: write(output, type),
          mean: write(mean),
          rstd: write(rstd),
        },
        uniforms: { ...layout.uniforms, epsilon: f32(epsilon) },
        workgroups: layout.workgroups,
        work: { bytes: bytesOf([input, output, mean, rstd]), operations: 8 * rows * columns },
        ...rowExtensions(runtime),
        code: () =>
          `${rowDeclarations(layout)}
// Number of values, their mean, and the sum of squared deviations from it.
alias Moments = vec3<f32>;
fn merged(a: Moments, b: Moments) -> Moments {
  let count = a.x + b.x;
  let share = b.x / max(count, 1.0);
  let distance = b.y - a.y;
  return Moments(count, a.y + distance * share, a.z + b.z + distance * distance * a.x * share);
}
${rowReduction(runtime, layout, { name: "reduceSum", type: "f32", combine: "a + b" })}
${rowEntryPoint(
  runtime,
  layout,
  `  var moments = Moments(0.0);
  for (var c = first; c < end; c += step) {
    let x = input[uniforms.inputOffset + rowStart + c];
    let centre = sumOf(x) * ${1 / width};
    let deviation = x - Value(centre);
    moments = merged(moments, Moments(${width}.0, centre, sumOf(deviation * deviation)));
  }
  let centre = ${callReduction(runtime, "reduceSum", "moments.x * moments.y")} / f32(uniforms.columns);
  let distance = moments.y - centre;
  let deviations = ${callReduction(runtime, "reduceSum", "moments.x * distance * distance + moments.z")};
  let inverse = 1.0 / sqrt(deviations / f32(uniforms.columns) + uniforms.epsilon);
  if (isRow && rowLane == 0u) {
    mean[uniforms.meanOffset + row] = centre;
    rstd[uniforms.rstdOffset + row] = inverse;
  }
  for (var c = first; c < end; c += step) {
    let normalized = (input[uniforms.inputOffset + rowStart + c] - Value(centre)) * inverse;
    output[uniforms.outputOffset + rowStart + c] =
      normalized${weight ? " * weight[uniforms.weightOffset + c]" : ""}${bias ? " + bias[uniforms.biasOffset + c]" : ""};
  }`,
)}`,
      });
    },

    layerNormGradient({ mean, ...rest }) {
      normalizationGradient(runtime, { ...rest, mean });
    },

    rmsNorm({ input, weight, epsilon, output, rstd, rows, columns }) {
      if (rows === 0) return;
      const layout = rowLayout(rows, columns, [input, weight, output]);
      const { type } = layout;
      runtime.launch({
        name: "rmsNorm",
        variant: layout.variant,
        bindings: {
          input: read(input, type),
          ...(weight && { weight: read(weight, type) }),
          output: write(output, type),
          rstd: write(rstd),
        },
        uniforms: { ...layout.uniforms, epsilon: f32(epsilon) },
        workgroups: layout.workgroups,
        work: { bytes: bytesOf([input, output, rstd]), operations: 4 * rows * columns },
        ...rowExtensions(runtime),
        code: () =>
          `${rowDeclarations(layout)}
${rowReduction(runtime, layout, { name: "reduceSum", type: "f32", combine: "a + b" })}
${rowEntryPoint(
  runtime,
  layout,
  `  var squares = Value(0.0);
  for (var c = first; c < end; c += step) {
    let x = input[uniforms.inputOffset + rowStart + c];
    squares += x * x;
  }
  let total = ${callReduction(runtime, "reduceSum", "sumOf(squares)")};
  let inverse = 1.0 / sqrt(total / f32(uniforms.columns) + uniforms.epsilon);
  if (isRow && rowLane == 0u) {
    rstd[uniforms.rstdOffset + row] = inverse;
  }
  for (var c = first; c < end; c += step) {
    output[uniforms.outputOffset + rowStart + c] =
      input[uniforms.inputOffset + rowStart + c] * inverse${weight ? " * weight[uniforms.weightOffset + c]" : ""};
  }`,
)}`,
      });
    },

    rmsNormGradient(settings) {
      normalizationGradient(runtime, settings);
    },
  };
}
