import { sizeOf } from "../../../../tensor/shape.ts";
import type { KernelArguments, TensorView } from "../../../backend.ts";
import { entryPoint, i32, read, u32, workgroupGrid, write, type UniformValue } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { commonCode, type AttentionSizes } from "./problem.ts";

/** Workgroups that keep a large GPU busy. */
const wantedWorkgroups = 256;

/** How the keys of one attention are divided among workgroups. */
export interface KeySplits {
  readonly splits: number;
  /** Keys of each split but the last; a multiple of the keys of a step. */
  readonly splitKeys: number;
}

/** Divides the keys where there are too few workgroups otherwise, into splits of `smallest` keys or more (a multiple of 64). */
export function splitKeys(keys: number, workgroups: number, smallest: number): KeySplits {
  const wanted = Math.min(Math.floor(wantedWorkgroups / Math.max(workgroups, 1)), Math.ceil(keys / smallest));
  if (wanted <= 1) return { splits: 1, splitKeys: Math.max(64, Math.ceil(keys / 64) * 64) };
  const each = Math.ceil(keys / wanted / 64) * 64;
  return { splits: Math.ceil(keys / each), splitKeys: each };
}

/** Where a forward launch writes: the outputs, or temporaries [splits, batch, heads, queries, …] to be merged. */
export interface ForwardTarget {
  readonly output: TensorView;
  readonly logSumExp: TensorView;
  readonly uniforms: Readonly<Record<string, UniformValue>>;
  /** Merges the splits and frees the temporaries; to be called after the launch. */
  finish(): void;
}

/** The outputs themselves for one split, temporaries for more. */
export function forwardTarget(
  runtime: WebGpuRuntime,
  parameters: KernelArguments["attention"],
  sizes: AttentionSizes,
  { splits, splitKeys: each }: KeySplits,
): ForwardTarget {
  const { output, logSumExp } = parameters;
  const rows = sizeOf(logSumExp.shape);
  const uniforms = { splits: u32(splits), splitKeys: u32(each), splitRows: u32(rows) };
  if (splits === 1) return { output, logSumExp, uniforms, finish: () => undefined };
  const partial = runtime.temporary("float32", [splits * sizes.batch, sizes.heads, sizes.queries, sizes.headDim]);
  const partialLogSumExp = runtime.temporary("float32", [splits * rows]);
  return {
    output: partial,
    logSumExp: partialLogSumExp,
    uniforms,
    finish() {
      mergeSplits(runtime, parameters, partial, partialLogSumExp, splits);
      runtime.release(partial, partialLogSumExp);
    },
  };
}

const mergeWorkgroup = 64;

/** Weighs the results of splits by their share of the softmax: one invocation an element. */
function mergeSplits(
  runtime: WebGpuRuntime,
  { output, logSumExp }: KernelArguments["attention"],
  partial: TensorView,
  partialLogSumExp: TensorView,
  splits: number,
): void {
  const [, heads, queries, headDim] = output.shape as [number, number, number, number];
  const count = sizeOf(output.shape);
  runtime.launch({
    name: "attentionMerge",
    bindings: { partial: read(partial), partialLogSumExp: read(partialLogSumExp), output: write(output), logSumExp: write(logSumExp) },
    uniforms: {
      count: u32(count),
      rows: u32(sizeOf(logSumExp.shape)),
      heads: u32(heads),
      queries: u32(queries),
      keys: u32(0),
      headDim: u32(headDim),
      splits: u32(splits),
      visible: i32(0),
      minusInfinity: u32(0xff800000),
      outputBatch: i32(output.strides[0]!),
      outputHead: i32(output.strides[1]!),
      outputRow: i32(output.strides[2]!),
    },
    workgroups: workgroupGrid(Math.ceil(count / mergeWorkgroup)),
    code: () => `${commonCode}
${entryPoint(
  mergeWorkgroup,
  `  if (index >= uniforms.count) { return; }
  let row = index / uniforms.headDim;
  let column = index % uniforms.headDim;
  var maximum = lowest;
  for (var split = 0u; split < uniforms.splits; split++) {
    let share = partialLogSumExp[uniforms.partialLogSumExpOffset + split * uniforms.rows + row];
    maximum = max(maximum, select(share, lowest, isMinusInfinity(share)));
  }
  var total = 0.0;
  var sum = 0.0;
  for (var split = 0u; split < uniforms.splits; split++) {
    let place = split * uniforms.rows + row;
    let share = partialLogSumExp[uniforms.partialLogSumExpOffset + place];
    if (!isMinusInfinity(share)) {
      let weight = weightOf(share - maximum);
      total += weight;
      sum += weight * partial[uniforms.partialOffset + place * uniforms.headDim + column];
    }
  }
  let queryIndex = row % uniforms.queries;
  let head = row / uniforms.queries;
  let place = i32(uniforms.outputOffset) + i32(head / uniforms.heads) * uniforms.outputBatch +
    i32(head % uniforms.heads) * uniforms.outputHead + i32(queryIndex) * uniforms.outputRow;
  output[u32(place) + column] = select(sum / total, 0.0, total == 0.0);
  if (column == 0u) { logSumExp[uniforms.logSumExpOffset + row] = logSumExpOf(maximum, total); }`,
)}`,
  });
}
