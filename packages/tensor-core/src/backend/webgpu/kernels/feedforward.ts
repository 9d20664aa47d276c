import type { Kernels, TensorView } from "../../backend.ts";
import { sizeOf } from "../../../tensor/shape.ts";
import { i32, isAligned, read, u32, workgroupGrid, write, entryPoint } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";

const workgroupSize = 256;

/** Elements that an invocation takes at once from flat arrays that all start at views' offsets. */
function flatWidth(count: number, views: readonly TensorView[]): 1 | 4 {
  return count % 4 === 0 && views.every((view) => isAligned(view, 4)) ? 4 : 1;
}

/**
 * `sigmoid(x)` and its `complement` 1 - sigmoid(x), neither by a difference that cancels. WGSL promises its accuracy for divisors in the
 * middle of the range, so e^-|x| is taken.
 */
function gateFunctions(type: string): string {
  return `alias Value = ${type};
fn sigmoid(x: Value) -> Value {
  let decay = exp(-abs(x));
  return select(decay, Value(1.0), x >= Value(0.0)) / (Value(1.0) + decay);
}
fn complement(x: Value) -> Value {
  return sigmoid(-x);
}
// 0 at -Infinity, where the product would be NaN.
fn silu(x: Value) -> Value {
  return select(x * sigmoid(x), Value(0.0), x < Value(-1e30));
}
fn siluDerivative(x: Value) -> Value {
  let s = sigmoid(x);
  return select(s * (Value(1.0) + x * complement(x)), s, abs(x) > Value(120.0));
}
`;
}

/** The gate of a SwiGLU feed-forward and rotary position embedding. */
export function feedforwardKernels(runtime: WebGpuRuntime): Pick<Kernels, "swiglu" | "swigluGradient" | "rotaryEmbedding"> {
  return {
    swiglu({ gate, up, output }) {
      const count = sizeOf(output.shape);
      const width = flatWidth(count, [gate, up, output]);
      const type = width === 4 ? "vec4<f32>" : "f32";
      runtime.launch({
        name: "swiglu",
        bindings: { gate: read(gate, type), up: read(up, type), output: write(output, type) },
        work: { bytes: 12 * count, operations: 5 * count },
        uniforms: { count: u32(count / width) },
        workgroups: workgroupGrid(Math.ceil(count / width / workgroupSize)),
        code: () =>
          gateFunctions(type) +
          entryPoint(
            workgroupSize,
            `  if (index >= uniforms.count) { return; }
  output[uniforms.outputOffset + index] = silu(gate[uniforms.gateOffset + index]) * up[uniforms.upOffset + index];`,
          ),
      });
    },

    swigluGradient({ gradient, gate, up, gateGradient, upGradient }) {
      const count = sizeOf(gradient.shape);
      const width = flatWidth(count, [gradient, gate, up, gateGradient, upGradient]);
      const type = width === 4 ? "vec4<f32>" : "f32";
      runtime.launch({
        name: "swigluGradient",
        work: { bytes: 20 * count, operations: 12 * count },
        bindings: {
          gradient: read(gradient, type),
          gate: read(gate, type),
          up: read(up, type),
          gateGradient: write(gateGradient, type),
          upGradient: write(upGradient, type),
        },
        uniforms: { count: u32(count / width) },
        workgroups: workgroupGrid(Math.ceil(count / width / workgroupSize)),
        code: () =>
          gateFunctions(type) +
          entryPoint(
            workgroupSize,
            `  if (index >= uniforms.count) { return; }
  let d = gradient[uniforms.gradientOffset + index];
  let g = gate[uniforms.gateOffset + index];
  gateGradient[uniforms.gateGradientOffset + index] = d * up[uniforms.upOffset + index] * siluDerivative(g);
  upGradient[uniforms.upGradientOffset + index] = d * silu(g);`,
          ),
      });
    },

    rotaryEmbedding({ input, output, cosine, sine, positions, positionOffset, layout, inverse }) {
      const [batch, sequence, heads, headDim] = input.shape as [number, number, number, number];
      const pairs = cosine.shape.at(-1)!;
      const isHalf = layout === "half";
      // Interleaved pairs lie side by side, so that a pair is one value; halves let an invocation take four pairs.
      const tables = isHalf ? [cosine, sine] : [];
      const width = isHalf ? 4 : 2;
      const isWide =
        headDim % width === 0 && (!isHalf || pairs % 4 === 0) && [input, output, ...tables].every((view) => isAligned(view, width));
      const components = isWide ? width : 1;
      const type = isWide ? (isHalf ? "vec4<f32>" : "vec2<f32>") : "f32";
      const tableType = isWide && isHalf ? "vec4<f32>" : "f32";
      // A head is `rotations` values to rotate (with their partners), then some to copy.
      const rotations = isHalf ? pairs / components : pairs;
      const rotated = (2 * pairs) / components;
      const units = rotations + headDim / components - rotated;
      const count = batch * sequence * heads * units;
      const [first, second] = isHalf ? ["unit", "unit + uniforms.rotations"] : ["2u * unit", "2u * unit + 1u"];
      const rotate =
        isWide && !isHalf
          ? `    let pair = input[uniforms.inputOffset + start + unit];
    output[uniforms.outputOffset + start + unit] = vec2(pair.x * c - pair.y * d, pair.y * c + pair.x * d);`
          : `    let x = input[uniforms.inputOffset + start + ${first}];
    let y = input[uniforms.inputOffset + start + ${second}];
    output[uniforms.outputOffset + start + ${first}] = x * c - y * d;
    output[uniforms.outputOffset + start + ${second}] = y * c + x * d;`;
      runtime.launch({
        name: "rotaryEmbedding",
        variant: `${layout} ${positions === undefined ? "" : "positions"} ${isWide ? "wide" : ""}`,
        bindings: {
          input: read(input, type),
          output: write(output, type),
          cosine: read(cosine, tableType),
          sine: read(sine, tableType),
          ...(positions && { positions: read(positions) }),
        },
        uniforms: {
          count: u32(count),
          units: u32(units),
          heads: u32(heads),
          sequence: u32(sequence),
          headValues: u32(headDim / components),
          rotations: u32(rotations),
          rotated: u32(rotated),
          tableRows: u32(cosine.shape[0]!),
          positionOffset: i32(positionOffset),
          inverse: u32(inverse ? 1 : 0),
        },
        workgroups: workgroupGrid(Math.ceil(count / workgroupSize)),
        code: () =>
          `var<private> notANumberBits: u32 = 0x7fc00000u;
${entryPoint(
  workgroupSize,
  `  if (index >= uniforms.count) { return; }
  let headIndex = index / uniforms.units;
  let unit = index % uniforms.units;
  let start = headIndex * uniforms.headValues;
  if (unit >= uniforms.rotations) {
    let rest = start + uniforms.rotated + unit - uniforms.rotations;
    output[uniforms.outputOffset + rest] = input[uniforms.inputOffset + rest];
  } else {
    let token = (headIndex / uniforms.heads) % uniforms.sequence;
    let position = u32(${positions === undefined ? "uniforms.positionOffset + i32(token)" : "positions[uniforms.positionsOffset + token]"});
    let place = position * uniforms.rotations + unit;
    var c = cosine[uniforms.cosineOffset + place];
    var d = sine[uniforms.sineOffset + place];
    d = select(d, -d, uniforms.inverse == 1u);
    if (position >= uniforms.tableRows) {
      c = ${tableType}(bitcast<f32>(notANumberBits));
      d = c;
    }
${rotate}
  }`,
)}`,
      });
    },
  };
}
