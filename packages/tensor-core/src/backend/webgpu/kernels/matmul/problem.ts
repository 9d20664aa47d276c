/** Matrix products as the kernels see them: batch axes merged, row axes folded in, operands by tile axis and k axis. */
import { contiguousStrides } from "../../../../tensor/shape.ts";
import type { Activation, KernelArguments, QuantizedView, TensorView } from "../../../backend.ts";
import { mergeAxes } from "../../strided.ts";

/** How the elements of an operand are stored. */
export type OperandFormat = "float32" | "float16" | "int8" | "uint4";

/** Strides of the three batch axes that a kernel loops over, in elements. */
export type BatchStrides = readonly [number, number, number];

/**
 * One operand. Its tile axis is the one that the product keeps (m of a, n of b), the other is k. Offset and strides count elements: for
 * uint4 half bytes.
 */
export interface Operand {
  readonly format: OperandFormat;
  /** Elements; those of a `QuantizedView` are its `values`. */
  readonly view: TensorView;
  readonly offset: number;
  readonly tileSize: number;
  readonly tileStride: number;
  readonly kStride: number;
  readonly batchStrides: BatchStrides;
  readonly quantized?: QuantizedView | undefined;
}

/** output[batch] (+)= activation(a[batch] · b[batch] + bias): one launch, or one and the sum of its splits. */
export interface MatmulProblem {
  readonly batchSizes: readonly [number, number, number];
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly a: Operand;
  readonly b: Operand;
  /** Contiguous [batches, m, n]. */
  readonly output: TensorView;
  readonly bias: TensorView | undefined;
  readonly activation: Activation | undefined;
  readonly accumulate: boolean;
}

interface BatchAxis {
  readonly size: number;
  readonly a: number;
  readonly b: number;
}

/** Batch axes that one launch takes; more become several launches. */
const launchAxes = 3;

/** The products to launch for a call of the kernel: none where there is nothing to store, nearly always one. */
export function matmulProblems(call: KernelArguments["matmul"]): readonly MatmulProblem[] {
  const { a, output, bias, activation, accumulate = false } = call;
  const quantized = "format" in call.b ? call.b : undefined;
  const b = quantized === undefined ? (call.b as TensorView) : transposedWeight(quantized);
  const rank = output.shape.length;
  let m = output.shape[rank - 2]!;
  const n = output.shape[rank - 1]!;
  const k = a.shape.at(-1)!;
  if (output.shape.includes(0)) return [];

  const batch = output.shape.slice(0, -2);
  const merged = mergeAxes(batch, [a.strides, quantized === undefined ? b.strides : batch.map(() => 0)]);
  const axes: BatchAxis[] = merged.sizes.map((size, axis) => ({ size, a: merged.strides[0]![axis]!, b: merged.strides[1]![axis]! }));
  let rowStride = a.strides[rank - 2]!;
  const last = axes.at(-1);
  // Rows of a batch that shares b are rows of one taller matrix.
  if (last !== undefined && last.b === 0 && (m === 1 || last.a === m * rowStride)) {
    if (m === 1) rowStride = last.a;
    m *= last.size;
    axes.pop();
  }

  const outer = axes.slice(0, Math.max(0, axes.length - launchAxes));
  const inner = [...Array.from({ length: launchAxes }, () => ({ size: 1, a: 0, b: 0 })), ...axes.slice(outer.length)].slice(-launchAxes);
  const batchSizes = inner.map(({ size }) => size) as [number, number, number];
  const outputSize = inner.reduce((product, { size }) => product * size, m * n);
  return positions(outer).map(({ index, a: aOffset, b: bOffset }) => ({
    batchSizes,
    m,
    k,
    n,
    a: {
      format: "float32",
      view: a,
      offset: a.offset + aOffset,
      tileSize: m,
      tileStride: m === 1 ? 0 : rowStride,
      kStride: k === 1 ? 1 : a.strides[rank - 1]!,
      batchStrides: inner.map((axis) => axis.a) as unknown as BatchStrides,
    },
    b: {
      format: quantized?.format ?? (b.dtype as "float32" | "float16"),
      view: b,
      offset: (quantized?.format === "uint4" ? 2 : 1) * b.offset + bOffset,
      tileSize: n,
      tileStride: n === 1 ? 0 : b.strides.at(-1)!,
      kStride: k === 1 ? 1 : b.strides.at(-2)!,
      batchStrides: inner.map((axis) => axis.b) as unknown as BatchStrides,
      quantized,
    },
    output: {
      buffer: output.buffer,
      dtype: output.dtype,
      shape: [...batchSizes, m, n],
      strides: contiguousStrides([...batchSizes, m, n]),
      offset: output.offset + index * outputSize,
    },
    bias,
    activation,
    accumulate,
  }));
}

/** The values of a quantised weight [outputs, inputs] as [inputs, outputs], with strides in elements. */
function transposedWeight({ shape: [outputs, inputs], values }: QuantizedView): TensorView {
  return { buffer: values.buffer, dtype: values.dtype, shape: [inputs, outputs], strides: [1, inputs], offset: values.offset };
}

/** Every position along the axes, in row-major order, with its offsets in the operands. */
function positions(axes: readonly BatchAxis[]): { readonly index: number; readonly a: number; readonly b: number }[] {
  let all = [{ a: 0, b: 0 }];
  for (const axis of axes) {
    all = all.flatMap((start) => Array.from({ length: axis.size }, (_, i) => ({ a: start.a + i * axis.a, b: start.b + i * axis.b })));
  }
  return all.map((position, index) => ({ index, ...position }));
}
