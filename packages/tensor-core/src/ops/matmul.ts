import type { Activation, DeviceName, TensorView } from "../backend/backend.ts";
import { DtypeError, ShapeError } from "../errors.ts";
import { isRecorded, record, recording } from "../autograd/tape.ts";
import { promoteDtypes } from "../tensor/dtype.ts";
import { QuantizedTensor } from "../tensor/quantized.ts";
import { broadcastShapes, formatShape, sameShape, sizeOf, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { tidy } from "../tensor/scope.ts";
import { allocateLike, broadcastView, checkDevices, release, shareView } from "./dispatch.ts";
import { asContiguous, asDtype, fillLike, prepare } from "./materialize.ts";
import { reduceRaw, sumToShape } from "./raw.ts";
import { gelu, geluTanh, relu, silu } from "./unary.ts";
import { expandDims, reshape, squeeze } from "./views.ts";

/** Kernel call on operands of rank >= 2; the gradient functions use it too. */
function matmulRaw(a: Tensor, b: Tensor): Tensor {
  const m = a.shape.at(-2)!;
  const k = a.shape.at(-1)!;
  const n = b.shape.at(-1)!;
  if (b.rank === 2 && a.rank > 2 && a.isContiguous) {
    // One large product instead of a batch of small ones with a shared right side.
    const output = allocateLike(a, [...a.shape.slice(0, -1), n]);
    const rows = a.size === 0 ? sizeOf(a.shape.slice(0, -1)) : a.size / k;
    a.storage.backend.kernels.matmul({ a: matrixView(a, [rows, k]), b, output: matrixView(output, [rows, n]) });
    return output;
  }
  const batch = broadcastShapes("matmul", a.shape.slice(0, -2), b.shape.slice(0, -2));
  const output = allocateLike(a, [...batch, m, n]);
  a.storage.backend.kernels.matmul({ a: batchView(a, batch), b: batchView(b, batch), output });
  return output;
}

function matrixView(input: Tensor, shape: readonly [number, number]): TensorView {
  return { buffer: input.buffer, dtype: input.dtype, shape, strides: [shape[1], 1], offset: input.offset };
}

function transposedMatrixView(weight: Tensor): TensorView {
  const [rows, columns] = weight.shape as [number, number];
  const [rowStride, columnStride] = weight.strides as [number, number];
  return { buffer: weight.buffer, dtype: weight.dtype, shape: [columns, rows], strides: [columnStride, rowStride], offset: weight.offset };
}

function batchView(input: Tensor, batch: Shape): TensorView {
  const shape = [...batch, ...input.shape.slice(-2)];
  return sameShape(input.shape, shape) ? input : broadcastView(input, shape);
}

/** The last two axes exchanged, unrecorded. */
function transposeView(input: Tensor): Tensor {
  const axis = input.rank - 2;
  const swap = (list: readonly number[]): number[] => [...list.slice(0, axis), list[axis + 1]!, list[axis]!];
  return shareView(input, swap(input.shape), swap(input.strides));
}

/**
 * Matrix product over the last two axes, batch axes broadcast, computed in float32 (integers give int32, exact to 2^24); a one-axis operand
 * is a row (left) or column (right) vector, as in NumPy.
 * Transposed operands cost nothing: transposes are views and kernels read any strides.
 * @throws ShapeError `matmul: inner dimensions differ, [4, 8] × [7, 3]`
 */
export function matmul<A extends DeviceName, B extends DeviceName>(a: Tensor<A>, b: Tensor<B>): Tensor<A & B> {
  return product(a, b) as Tensor<A & B>;
}

function product(a: Tensor, b: Tensor): Tensor {
  if (a.rank === 0 || b.rank === 0)
    throw new ShapeError(`matmul: scalars have no axes to multiply over, ${formatShape(a.shape)} × ${formatShape(b.shape)}`);
  if (a.shape.at(-1) !== b.shape.at(b.rank === 1 ? -1 : -2)) {
    throw new ShapeError(`matmul: inner dimensions differ, ${formatShape(a.shape)} × ${formatShape(b.shape)}`);
  }
  if (a.rank === 1) return tidy(() => squeeze(matmul(expandDims(a, 0), b), b.rank === 1 ? -1 : -2));
  if (b.rank === 1) return tidy(() => squeeze(matmul(a, expandDims(b, 1)), -1));
  broadcastShapes("matmul", a.shape.slice(0, -2), b.shape.slice(0, -2));
  checkDevices("matmul", a, b);
  const dtype = promoteDtypes(a.dtype, b.dtype);
  const left = asDtype(a, "float32");
  const right = b.dtype === "float16" && !isRecorded([b]) ? b : asDtype(b, "float32");
  const output = matmulRaw(left, right);
  if (recording.tape !== undefined) recordMatmul(left, right, output);
  release(left, a);
  release(right, b);
  if (dtype === "float32") return output;
  const result = asDtype(output, dtype === "float16" ? "float16" : "int32");
  output.dispose();
  return result;
}

function recordMatmul(a: Tensor, b: Tensor, output: Tensor): void {
  record("matmul", [a, b], output, [a, b], ([gradient], [savedA, savedB], needs) => {
    const g = asContiguous(gradient!);
    const weight = savedB!.dtype === "float32" ? savedB! : asDtype(savedB!, "float32");
    let gradientB: Tensor | undefined;
    if (needs(1)) {
      if (weight.rank === 2 && savedA!.rank > 2) {
        const rows = asContiguous(savedA!);
        const k = rows.shape.at(-1)!;
        const n = g.shape.at(-1)!;
        const m = sizeOf(rows.shape.slice(0, -1));
        gradientB = matmulRaw(transposeView(reshape(rows, [m, k])), reshape(g, [m, n]));
      } else {
        gradientB = sumToShape(matmulRaw(transposeView(savedA!), g), weight.shape);
      }
    }
    return [needs(0) ? sumToShape(matmulRaw(g, transposeView(weight)), savedA!.shape) : undefined, gradientB];
  });
}

const activations = { relu, silu, gelu, geluTanh } as const;

/** Options of `linear`. */
export interface LinearOptions<Device extends DeviceName = DeviceName> {
  /** [outputs]. */
  readonly bias?: Tensor<Device> | undefined;
  /** Applied to the result, inside the kernel when nothing is recorded. */
  readonly activation?: Activation | undefined;
}

/**
 * activation(input · weightᵀ + bias): input [..., inputs], weight [outputs, inputs] (PyTorch's layout) as float32, float16 or quantised
 * groups; output [..., outputs].
 * A quantised weight is a constant: gradients flow through it to the input, for which the backward pass makes a float32 copy of it.
 * @throws ShapeError @throws DtypeError
 */
export function linear<Device extends DeviceName>(
  input: Tensor<Device>,
  weight: Tensor | QuantizedTensor,
  { bias, activation }: LinearOptions = {},
): Tensor<Device> {
  const [outputs, inputs] = weight.shape as readonly [number, number];
  if (weight.shape.length !== 2 || input.rank === 0 || input.shape.at(-1) !== inputs) {
    throw new ShapeError(`linear: input ${formatShape(input.shape)} does not fit weight ${formatShape(weight.shape)} [outputs, inputs]`);
  }
  if (bias !== undefined && (bias.rank !== 1 || bias.shape[0] !== outputs)) {
    throw new ShapeError(`linear: bias ${formatShape(bias.shape)} does not fit weight ${formatShape(weight.shape)}; it needs [${outputs}]`);
  }
  const quantized = weight instanceof QuantizedTensor;
  if (!quantized && weight.dtype !== "float32" && weight.dtype !== "float16") {
    throw new DtypeError(`linear: weight dtype ${weight.dtype} is not supported; use float32, float16 or a QuantizedTensor`);
  }
  checkDevices("linear", input, quantized ? weight.values : weight, bias);
  const source = prepare(input);
  const addend = bias && prepare(bias);
  const parameter = quantized ? undefined : weight;
  const recorded = recording.tape !== undefined && isRecorded([source, parameter, addend]);
  const output = allocateLike(source, [...source.shape.slice(0, -1), outputs]);
  const rows = sizeOf(source.shape.slice(0, -1));
  source.storage.backend.kernels.matmul({
    a: matrixView(source, [rows, inputs]),
    b: quantized ? weight : transposedMatrixView(weight),
    output: matrixView(output, [rows, outputs]),
    bias: addend,
    activation: recorded ? undefined : activation,
  });
  if (recorded) {
    recordLinear(source, weight, addend, output);
  }
  release(source, input);
  release(addend, bias);
  if (!recorded) return output;
  // While recording, a scope is open that frees the product once the activation has what it needs.
  return activation ? activations[activation](output) : output;
}

function recordLinear(input: Tensor, weight: Tensor | QuantizedTensor, bias: Tensor | undefined, output: Tensor): void {
  const [outputs, inputs] = weight.shape as readonly [number, number];
  const parts =
    weight instanceof QuantizedTensor ? [weight.values, weight.scales, ...(weight.minimums ? [weight.minimums] : [])] : [weight];
  const parameter = weight instanceof QuantizedTensor ? undefined : weight;
  record(
    "linear",
    [input, parameter, bias],
    output,
    [input, ...parts],
    ([gradient], [savedInput, savedWeight, savedScales, savedMinimums], needs) => {
      const rows = sizeOf(savedInput!.shape.slice(0, -1));
      const g = reshape(asContiguous(gradient!), [rows, outputs]);
      const x = reshape(savedInput!, [rows, inputs]);
      const dense = (): Tensor =>
        weight instanceof QuantizedTensor
          ? dequantized(weight, savedWeight!, savedScales!, savedMinimums)
          : asDtype(savedWeight!, "float32");
      return [
        needs(0) ? reshape(matmulRaw(g, dense()), savedInput!.shape) : undefined,
        needs(1) ? matmulRaw(transposeView(g), x) : undefined,
        needs(2) ? reduceRaw("sum", g, [0]) : undefined,
      ];
    },
  );
}

/**
 * A quantised weight as float32 [outputs, inputs]: the identity times its transpose, transposed back, which every device can do. Its parts
 * are given as the tape kept them.
 */
function dequantized(weight: QuantizedTensor, values: Tensor, scales: Tensor, minimums: Tensor | undefined): Tensor {
  const { shape, format, groupSize } = weight;
  const [outputs, inputs] = shape;
  const identity = fillLike({ shape: [inputs, inputs], dtype: "float32", backend: values.storage.backend }, 0);
  const one = fillLike({ shape: [], dtype: "float32", backend: values.storage.backend }, 1);
  const { kernels } = values.storage.backend;
  const diagonal = { buffer: identity.buffer, dtype: identity.dtype, shape: [inputs], strides: [inputs + 1], offset: 0 };
  kernels.copy({ input: broadcastView(one, [inputs]), output: diagonal });
  const transposed = allocateLike(identity, [inputs, outputs]);
  kernels.matmul({ a: identity, b: { format, shape, groupSize, values, scales, minimums }, output: transposed });
  return transposeView(transposed);
}

/** Inner product of two vectors of equal length. @throws ShapeError */
export function dot<A extends DeviceName, B extends DeviceName>(a: Tensor<A>, b: Tensor<B>): Tensor<A & B> {
  if (a.rank !== 1 || b.rank !== 1)
    throw new ShapeError(`dot: takes two vectors, got ${formatShape(a.shape)} and ${formatShape(b.shape)}; use matmul()`);
  return matmul(a, b);
}

/** All products of the elements of two vectors: [m] and [n] give [m, n]. @throws ShapeError */
export function outer<A extends DeviceName, B extends DeviceName>(a: Tensor<A>, b: Tensor<B>): Tensor<A & B> {
  if (a.rank !== 1 || b.rank !== 1)
    throw new ShapeError(`outer: takes two vectors, got ${formatShape(a.shape)} and ${formatShape(b.shape)}`);
  return tidy(() => matmul(expandDims(a, 1), expandDims(b, 0)));
}
