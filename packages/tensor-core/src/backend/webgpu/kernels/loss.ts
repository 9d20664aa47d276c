import type { Kernels, TensorView } from "../../backend.ts";
import { f32, i32, read, u32, write } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { exponentialSumDeclarations, exponentialSumFunctions, lowestFloat, reduceExponentialSum } from "../wgsl/exponential-sum.ts";
import {
  fewestWorthwhileChunks,
  rowDeclarations,
  rowEntryPoint,
  rowExtensions,
  rowLayout,
  withoutChunks,
} from "../wgsl/row-reduction.ts";

/** Cross-entropy from logits: one pass over them forward, one backward; no probabilities are stored. */
export function lossKernels(runtime: WebGpuRuntime): Pick<Kernels, "crossEntropy" | "crossEntropyGradient"> {
  return {
    crossEntropy({ logits, targets, losses, logSumExp, rows, columns, ignoreIndex, labelSmoothing }) {
      if (rows === 0) return;
      const layout = rowLayout(rows, columns, [logits], { fewestChunks: fewestWorthwhileChunks });
      const declarations = (): string => `${rowDeclarations(layout)}
${exponentialSumDeclarations(runtime, layout, ["infinity", "negativeF32"])}`;
      const start = `  var state = ExponentialSum(${lowestFloat}, 0.0, 0.0);
`;
      const sumLogits = `  for (var c = first; c < end; c += step) {
    state = extend(state, withoutNan(logits[uniforms.logitsOffset + rowStart + c]));
  }
${reduceExponentialSum(runtime)}`;
      let partials: TensorView | undefined;
      if (layout.chunks > 1) {
        partials = runtime.temporary("float32", [rows, layout.chunks, 4]);
        runtime.launch({
          name: "crossEntropySums",
          variant: layout.variant,
          bindings: { logits: read(logits, layout.type), partials: write(partials, "vec4<f32>") },
          uniforms: layout.uniforms,
          workgroups: layout.workgroups,
          ...rowExtensions(runtime),
          code: () =>
            declarations() +
            rowEntryPoint(
              runtime,
              layout,
              `${start}${sumLogits}  if (isRow && rowLane == 0u) {
    partials[uniforms.partialsOffset + segment] = vec4(state, 0.0);
  }`,
            ),
        });
      }
      const sumPartials = `  for (var i = rowLane; i < uniforms.partialCount; i += step) {
    state = merged(state, partials[uniforms.partialsOffset + row * uniforms.partialCount + i].xyz);
  }
${reduceExponentialSum(runtime)}`;
      const whole = withoutChunks(layout);
      const component = layout.width === 1 ? "" : "[column % 4u]";
      runtime.launch({
        name: "crossEntropy",
        variant: `${layout.variant}${partials === undefined ? "" : " partials"}`,
        bindings: {
          logits: read(logits, layout.type),
          ...(partials && { partials: read(partials, "vec4<f32>") }),
          targets: read(targets),
          losses: write(losses),
          logSumExp: write(logSumExp),
        },
        uniforms: {
          ...whole.uniforms,
          partialCount: u32(layout.chunks),
          ignoreIndex: i32(ignoreIndex),
          labelSmoothing: f32(labelSmoothing),
        },
        workgroups: whole.workgroups,
        ...rowExtensions(runtime),
        code: () =>
          declarations() +
          rowEntryPoint(
            runtime,
            layout,
            `${start}${partials === undefined ? sumLogits : sumPartials}  if (isRow && rowLane == 0u) {
    let label = targets[uniforms.targetsOffset + row];
    var logarithm = log(state.y);
    var total = state.x + logarithm;
    if (state.y == 0.0) {
      // Every logit is -Infinity, and so are all logarithms of probabilities.
      logarithm = 0.0;
      total = negativeF32(infinity());
    }
    if (isUndefined(state)) {
      total = notANumber();
    }
    logSumExp[uniforms.logSumExpOffset + row] = total;
    let column = u32(clamp(label, 0, i32(uniforms.columns) - 1));
    let logit = logits[uniforms.logitsOffset + rowStart + column / ${layout.width}u]${component};
    var loss = -(1.0 - uniforms.labelSmoothing) * ((logit - state.x) - logarithm);
    if (uniforms.labelSmoothing != 0.0) {
      loss -= uniforms.labelSmoothing * ((state.z / f32(uniforms.columns) - state.x) - logarithm);
    }
    if (isUndefined(state) || u32(label) >= uniforms.columns) {
      loss = notANumber();
    }
    losses[uniforms.lossesOffset + row] = select(loss, 0.0, label == uniforms.ignoreIndex);
  }`,
          ),
      });
      runtime.release(partials);
    },

    // ∂loss/∂logit_c = p_c - (1 - s) [c = target] - s / columns.
    crossEntropyGradient({ gradient, logits, targets, logSumExp, result, rows, columns, ignoreIndex, labelSmoothing }) {
      if (rows === 0 || columns === 0) return;
      const layout = rowLayout(rows, columns, [logits, result], { fewestChunks: 2 });
      const columnsOf = layout.width === 1 ? "column" : "column + vec4(0u, 1u, 2u, 3u)";
      runtime.launch({
        name: "crossEntropyGradient",
        variant: layout.variant,
        bindings: {
          gradient: read(gradient),
          logits: read(logits, layout.type),
          targets: read(targets),
          logSumExp: read(logSumExp),
          result: write(result, layout.type),
        },
        uniforms: {
          ...layout.uniforms,
          ignoreIndex: i32(ignoreIndex),
          onTarget: f32(1 - labelSmoothing),
          everywhere: f32(labelSmoothing / columns),
        },
        workgroups: layout.workgroups,
        code: () =>
          `${rowDeclarations(layout)}
${exponentialSumFunctions()}
${rowEntryPoint(
  undefined,
  layout,
  `  let label = targets[uniforms.targetsOffset + row];
  let total = logSumExp[uniforms.logSumExpOffset + row];
  let factor = gradient[uniforms.gradientOffset + row];
  let isIgnored = label == uniforms.ignoreIndex;
  for (var c = first; c < end; c += step) {
    let column = c * ${layout.width}u;
    let probabilities = exponential(logits[uniforms.logitsOffset + rowStart + c] - Value(total));
    let expected = select(Value(0.0), Value(uniforms.onTarget), ${columnsOf} == Bits(u32(label)));
    let value = ((probabilities - expected) - Value(uniforms.everywhere)) * factor;
    result[uniforms.resultOffset + rowStart + c] = select(value, Value(0.0), isIgnored);
  }`,
)}`,
      });
    },
  };
}
