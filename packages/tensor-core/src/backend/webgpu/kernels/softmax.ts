import type { Kernels, TensorView } from "../../backend.ts";
import { f32, read, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { exponentialSumDeclarations, exponentialSumFunctions, lowestFloat, reduceExponentialSum } from "../wgsl/exponential-sum.ts";
import { rowMask, type RowMask } from "../wgsl/row-mask.ts";
import {
  callReduction,
  fewestWorthwhileChunks,
  rowDeclarations,
  rowEntryPoint,
  rowExtensions,
  rowLayout,
  rowReduction,
  type RowLayout,
} from "../wgsl/row-reduction.ts";
import { bytesOf } from "../work.ts";

/** `scoresAt(place, column)` with the scaled and masked scores of one value; `maskPlace` has to be in reach of the loop. */
function scoreFunction({ width }: RowLayout, mask: RowMask | undefined): string {
  const elements = width === 1 ? ["column"] : [0, 1, 2, 3].map((i) => `(column + ${i})`);
  const added = elements.map((column) => `mask[maskPlace + ${column} * uniforms.maskStep]`);
  return `${mask?.code ?? ""}
fn scoresAt(place: u32, c: u32, maskPlace: i32) -> Value {
  let scores = input[uniforms.inputOffset + place] * uniforms.scale;
  let column = i32(c * ${width}u);
  return withoutNan(scores${mask === undefined ? "" : ` + Value(${added.join(", ")})`});
}`;
}

/** Softmax over rows: one pass for maximum and sum, one for the results. */
export function softmaxKernels(runtime: WebGpuRuntime): Pick<Kernels, "softmax" | "softmaxGradient"> {
  return {
    softmax({ input, output, rows, columns, scale, mask, logarithm }) {
      if (rows === 0 || columns === 0) return;
      const layout = rowLayout(rows, columns, [input, output], { fewestChunks: fewestWorthwhileChunks });
      const addressing = mask && rowMask(mask);
      const variant = `${layout.variant} ${addressing === undefined ? "" : `mask${addressing.rank}`}`;
      const bindings = { input: read(input, layout.type), ...(mask && { mask: read(mask) }) };
      const uniforms = { ...layout.uniforms, scale: f32(scale), ...addressing?.uniforms };
      const declarations = (): string => `${rowDeclarations(layout)}
${exponentialSumDeclarations(runtime, layout)}
${scoreFunction(layout, addressing)}
`;
      const maskPlace = mask === undefined ? "  let maskPlace = 0;" : "  let maskPlace = maskStart(row);";
      const sumScores = `  var state = ExponentialSum(${lowestFloat}, 0.0, 0.0);
  for (var c = first; c < end; c += step) {
    state = extend(state, scoresAt(rowStart + c, c, maskPlace));
  }
`;
      let partials: TensorView | undefined;
      if (layout.chunks > 1) {
        partials = runtime.temporary("float32", [rows, layout.chunks, 2]);
        runtime.launch({
          name: "softmaxSums",
          variant,
          bindings: { ...bindings, partials: write(partials, "vec2<f32>") },
          uniforms,
          workgroups: layout.workgroups,
          work: { bytes: bytesOf([input, ...(mask ? [mask] : [])]), operations: 4 * rows * columns },
          ...rowExtensions(runtime),
          code: () =>
            declarations() +
            rowEntryPoint(
              runtime,
              layout,
              `${maskPlace}
${sumScores}${reduceExponentialSum(runtime)}  if (isRow && rowLane == 0u) {
    partials[uniforms.partialsOffset + segment] = state.xy;
  }`,
            ),
        });
      }
      const sumPartials = `  var state = ExponentialSum(${lowestFloat}, 0.0, 0.0);
  for (var i = rowLane; i < uniforms.chunks; i += step) {
    state = merged(state, ExponentialSum(partials[uniforms.partialsOffset + row * uniforms.chunks + i], 0.0));
  }
`;
      // A row with nothing visible has the sum 0: probabilities 0, logarithms -Infinity.
      const results = logarithm
        ? `  var shift = select(log(state.y), 0.0, state.y == 0.0);
  if (isUndefined(state)) {
    shift = notANumber();
  }
  for (var c = first; c < end; c += step) {
    output[uniforms.outputOffset + rowStart + c] = (scoresAt(rowStart + c, c, maskPlace) - Value(state.x)) - Value(shift);
  }`
        : `  var factor = select(1.0 / state.y, 0.0, state.y == 0.0);
  if (isUndefined(state)) {
    factor = notANumber();
  }
  for (var c = first; c < end; c += step) {
    output[uniforms.outputOffset + rowStart + c] = exponential(scoresAt(rowStart + c, c, maskPlace) - Value(state.x)) * factor;
  }`;
      runtime.launch({
        name: logarithm ? "logSoftmax" : "softmax",
        variant: `${variant} ${partials === undefined ? "" : "partials"}`,
        bindings: { ...bindings, ...(partials && { partials: read(partials, "vec2<f32>") }), output: write(output, layout.type) },
        uniforms,
        workgroups: layout.workgroups,
        work: { bytes: bytesOf([input, output, ...(mask ? [mask] : [])]), operations: (partials === undefined ? 7 : 3) * rows * columns },
        ...rowExtensions(runtime),
        code: () =>
          declarations() +
          rowEntryPoint(
            runtime,
            layout,
            `${maskPlace}
${partials === undefined ? sumScores : sumPartials}${reduceExponentialSum(runtime)}${results}`,
          ),
      });
      runtime.release(partials);
    },

    // y = softmax(s x): ∂L/∂x_c = s y_c (g_c - Σ g y);  y = log softmax(s x): ∂L/∂x_c = s (g_c - e^{y_c} Σ g).
    softmaxGradient({ gradient, output, result, rows, columns, scale, logarithm }) {
      if (rows === 0 || columns === 0) return;
      const layout = rowLayout(rows, columns, [gradient, output, result]);
      const weighted = logarithm ? "g" : "g * y";
      const value = logarithm ? "g - exponential(y) * total" : "y * (g - Value(total))";
      runtime.launch({
        name: logarithm ? "logSoftmaxGradient" : "softmaxGradient",
        variant: layout.variant,
        bindings: { gradient: read(gradient, layout.type), output: read(output, layout.type), result: write(result, layout.type) },
        uniforms: { ...layout.uniforms, scale: f32(scale) },
        workgroups: layout.workgroups,
        work: { bytes: bytesOf([gradient, output, result]), operations: 5 * rows * columns },
        ...rowExtensions(runtime),
        code: () =>
          `${rowDeclarations(layout)}
${exponentialSumFunctions()}
${rowReduction(runtime, layout, { name: "reduceSum", type: "f32", combine: "a + b" })}
${rowEntryPoint(
  runtime,
  layout,
  `  var total = 0.0;
  for (var c = first; c < end; c += step) {
    let g = gradient[uniforms.gradientOffset + rowStart + c];
    let y = output[uniforms.outputOffset + rowStart + c];
    total += sumOf(${weighted});
  }
  total = ${callReduction(runtime, "reduceSum", "total")};
  for (var c = first; c < end; c += step) {
    let g = gradient[uniforms.gradientOffset + rowStart + c];
    let y = output[uniforms.outputOffset + rowStart + c];
    result[uniforms.resultOffset + rowStart + c] = (${value}) * uniforms.scale;
  }`,
)}`,
      });
    },
  };
}
