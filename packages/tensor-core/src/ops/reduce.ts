import type { DeviceName, ReduceOperation } from "../backend/backend.ts";
import { ShapeError } from "../errors.ts";
import { noGrad, record, recording } from "../autograd/tape.ts";
import { isFloating, type Dtype } from "../tensor/dtype.ts";
import { tidy } from "../tensor/scope.ts";
import { formatShape, normalizeAxes, normalizeAxis, sizeOf, sizesAround, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, release, shareView } from "./dispatch.ts";
import { asContiguous, asDtype, fillLike, prepare } from "./materialize.ts";
import { add, multiply, subtract } from "./binary.ts";
import { binaryRaw, compareRaw, expandRaw, reduceRaw, restoreAxes, scalarRaw, selectRaw } from "./raw.ts";
import { exp, log, sqrt, square } from "./unary.ts";
import { reshape } from "./views.ts";

/** Axes to reduce: one, several, or (undefined) all. Negative counts from the end. */
export type Axes = number | readonly number[] | undefined;

/** Options of reductions. */
export interface ReduceOptions {
  /** Reduced axes stay with length 1. Default false. */
  readonly keepdims?: boolean;
}

/** What users call the operation. */
const publicNames: Partial<Record<ReduceOperation, string>> = { maximum: "max", minimum: "min" };

/** Dtype a reduction computes in: bool and small integers are counted in int32, float16 in float32. */
function workingDtype(operation: ReduceOperation, dtype: Dtype): Dtype {
  if (operation === "any" || operation === "all") return "bool";
  if (operation === "mean") return "float32";
  return isFloating(dtype) ? "float32" : "int32";
}

function reduce<Device extends DeviceName>(
  operation: ReduceOperation,
  input: Tensor<Device>,
  axis: Axes,
  { keepdims = false }: ReduceOptions,
): Tensor<Device> {
  const name = publicNames[operation] ?? operation;
  const axes = normalizeAxes(name, axis, input.rank);
  if (operation === "maximum" || operation === "minimum") {
    for (const reduced of axes) {
      if (input.shape[reduced] === 0)
        throw new ShapeError(`${name}: axis ${reduced} of ${formatShape(input.shape)} is empty; nothing has no extreme`);
    }
  }
  const source = asDtype(input, workingDtype(operation, input.dtype));
  const kept: number[] = [];
  for (let i = 0; i < input.rank; i++) if (!axes.includes(i)) kept.push(input.shape[i]!);
  let output = allocateLike(source, kept);
  source.storage.backend.kernels.reduce({ operation, input: source, axes, output });
  if (recording.tape !== undefined && source.dtype === "float32") recordReduce(operation, source, axes, output);
  release(source, input);
  if (input.dtype === "float16" && output.dtype === "float32") output = replaced(output, asDtype(output, "float16"));
  return keepdims ? replaced(output, reshape(output, keptShape(input.shape, axes))) : output;
}

/** `next`, which `previous` led to and is freed. */
function replaced<Device extends DeviceName>(previous: Tensor<Device>, next: Tensor<Device>): Tensor<Device> {
  release(previous, next);
  return next;
}

/** Reduced axes with length 1. */
function keptShape(shape: Shape, axes: readonly number[]): Shape {
  return shape.map((length, i) => (axes.includes(i) ? 1 : length));
}

/** Runs `compute` on the input in float32 and frees its temporaries; float16 comes back as float16. */
function inFloat32<Device extends DeviceName>(input: Tensor<Device>, compute: (source: Tensor<Device>) => Tensor<Device>): Tensor<Device> {
  return tidy(() => {
    const output = compute(asDtype(input, "float32"));
    return input.dtype === "float16" ? asDtype(output, "float16") : output;
  });
}

function recordReduce(operation: ReduceOperation, input: Tensor, axes: readonly number[], output: Tensor): void {
  const { shape } = input;
  const count = sizeOf(axes.map((axis) => shape[axis]!));
  const spread = (reduced: Tensor): Tensor => expandRaw(restoreAxes(reduced, shape, axes), shape);
  switch (operation) {
    case "sum":
      return record("sum", [input], output, [], ([gradient]) => [spread(gradient!)]);
    case "mean":
      return record("mean", [input], output, [], ([gradient]) => [spread(scalarRaw("multiply", gradient!, 1 / count))]);
    case "maximum":
    case "minimum":
      // Ties share the gradient equally.
      return record(operation, [input], output, [input, output], ([gradient], [saved, extreme]) => {
        const hits = asDtype(compareRaw("equal", saved!, spread(extreme!)), "float32");
        const share = binaryRaw("divide", gradient!, reduceRaw("sum", hits, axes));
        return [binaryRaw("multiply", hits, spread(share))];
      });
    case "product":
      // The product of the others, exact also where one factor is 0: prefix and suffix products along the flattened reduced axes.
      return record("product", [input], output, [input], ([gradient], [saved]) => [productGradient(gradient!, saved!, axes)]);
    default:
      return;
  }
}

function productGradient(gradient: Tensor, input: Tensor, axes: readonly number[]): Tensor {
  const { kernels } = input.storage.backend;
  const kept = input.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const order = [...kept, ...axes];
  const arranged = allocateLike(
    input,
    order.map((axis) => input.shape[axis]!),
  );
  const permuted = {
    buffer: input.buffer,
    dtype: input.dtype,
    shape: arranged.shape,
    strides: order.map((axis) => input.strides[axis]!),
    offset: input.offset,
  };
  kernels.copy({ input: permuted, output: arranged });
  const size = sizeOf(axes.map((axis) => input.shape[axis]!));
  const rows = size === 0 ? 0 : input.size / size;
  const exclusive = (reverse: boolean): Tensor => {
    const running = allocateLike(arranged);
    kernels.cumulative({ operation: "product", input: arranged, output: running, outer: rows, size, inner: 1, reverse });
    const shifted = allocateLike(arranged, [rows, size]);
    kernels.fill({ output: shifted, value: 1 });
    const window = (
      from: Tensor,
      offset: number,
    ): { buffer: typeof from.buffer; dtype: Dtype; shape: number[]; strides: number[]; offset: number } => ({
      buffer: from.buffer,
      dtype: from.dtype,
      shape: [rows, Math.max(0, size - 1)],
      strides: [size, 1],
      offset,
    });
    kernels.copy({ input: window(running, reverse ? 1 : 0), output: window(shifted, reverse ? 0 : 1) });
    return shifted;
  };
  const others = binaryRaw("multiply", exclusive(false), exclusive(true));
  // One element of the gradient a row.
  const product = binaryRaw("multiply", others, shareView(asContiguous(gradient), [rows, size], [1, 0]));
  const output = allocateLike(input);
  const strides: number[] = [];
  order.forEach((axis, position) => {
    strides[axis] = arranged.strides[position]!;
  });
  kernels.copy({ input: { buffer: product.buffer, dtype: product.dtype, shape: input.shape, strides, offset: 0 }, output });
  return output;
}

/** Sum over axes (all by default). bool and small integers are summed in int32. */
export function sum<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  return reduce("sum", input, axis, options);
}

/** Arithmetic mean over axes, float32 for integers. */
export function mean<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  return reduce("mean", input, axis, options);
}

/** Product over axes. */
export function product<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  return reduce("product", input, axis, options);
}

/** Largest value over axes; NaN wins; equal values share the gradient. @throws ShapeError over an empty axis */
export function max<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  return reduce("maximum", input, axis, options);
}

/** Smallest value over axes; NaN wins; equal values share the gradient. @throws ShapeError over an empty axis */
export function min<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  return reduce("minimum", input, axis, options);
}

/** Whether any element is not 0, as bool. */
export function any<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  return reduce("any", input, axis, options);
}

/** Whether all elements are not 0, as bool. */
export function all<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  return reduce("all", input, axis, options);
}

/** Mean squared distance from the mean. `correction` 1 divides by count - 1 (PyTorch's default is 1, NumPy's and ours 0). */
export function variance<Device extends DeviceName>(
  input: Tensor<Device>,
  axis?: Axes,
  { keepdims = false, correction = 0 }: ReduceOptions & { readonly correction?: number } = {},
): Tensor<Device> {
  const axes = normalizeAxes("variance", axis, input.rank);
  const count = sizeOf(axes.map((reduced) => input.shape[reduced]!));
  return inFloat32(input, (source) => {
    const squares = square(subtract(source, mean(source, axes, { keepdims: true })));
    return multiply(sum(squares, axes, { keepdims }), 1 / (count - correction));
  });
}

/** Square root of `variance`. */
export function standardDeviation<Device extends DeviceName>(
  input: Tensor<Device>,
  axis?: Axes,
  options: ReduceOptions & { readonly correction?: number } = {},
): Tensor<Device> {
  return inFloat32(input, (source) => sqrt(variance(source, axis, options)));
}

/** Euclidean (Frobenius) norm over axes. The gradient of a zero norm is 0. */
export function norm<Device extends DeviceName>(input: Tensor<Device>, axis?: Axes, options: ReduceOptions = {}): Tensor<Device> {
  const axes = normalizeAxes("norm", axis, input.rank);
  return inFloat32(input, (source) => {
    const { shape } = source;
    const output = noGrad(() => sqrt(sum(square(source), axes)));
    if (recording.tape !== undefined) {
      record("norm", [source], output, [source, output], ([gradient], [saved, length]) => {
        const zero = fillLike({ shape: [], dtype: "float32", backend: saved!.storage.backend }, 0);
        const share = selectRaw(compareRaw("equal", length!, zero), zero, binaryRaw("divide", gradient!, length!));
        return [binaryRaw("multiply", saved!, expandRaw(restoreAxes(share, shape, axes), shape))];
      });
    }
    return options.keepdims ? reshape(output, keptShape(shape, axes)) : output;
  });
}

/** log Σ exp(x) over axes, without overflow. */
export function logSumExp<Device extends DeviceName>(
  input: Tensor<Device>,
  axis?: Axes,
  { keepdims = false }: ReduceOptions = {},
): Tensor<Device> {
  const axes = normalizeAxes("logSumExp", axis, input.rank);
  return inFloat32(input, (source) => {
    // An infinite shift would turn a row of -Infinity into NaN: shift only by finite maxima. The shift is a constant to the gradient.
    const shift = shiftOf(source, axes);
    const total = log(sum(exp(subtract(source, shift)), axes, { keepdims: true }));
    const shifted = add(total, shift);
    return keepdims
      ? shifted
      : reshape(
          shifted,
          source.shape.filter((_, i) => !axes.includes(i)),
        );
  });
}

function shiftOf<Device extends DeviceName>(input: Tensor<Device>, axes: readonly number[]): Tensor<Device> {
  const largest = reduceRaw("maximum", input, axes);
  const limited = scalarRaw("minimum", scalarRaw("maximum", largest, -3.4e38), 3.4e38);
  return reshape(limited, keptShape(input.shape, axes)) as Tensor<Device>;
}

function argReduce<Device extends DeviceName>(
  operation: "argmax" | "argmin",
  input: Tensor<Device>,
  axis: number | undefined,
): Tensor<Device> {
  const shape = axis === undefined ? [input.size] : input.shape;
  const position = axis === undefined ? 0 : normalizeAxis(operation, axis, input.rank);
  const size = shape[position]!;
  if (size === 0) throw new ShapeError(`${operation}: axis ${position} of ${formatShape(input.shape)} is empty; nothing has no extreme`);
  const source = prepare(input, isFloating(input.dtype) ? "float32" : "int32");
  const output = allocateLike(source, shape.toSpliced(position, 1), "int32");
  const { outer, inner } = sizesAround(shape, position);
  source.storage.backend.kernels.argReduce({ operation, input: source, output, outer, size, inner });
  release(source, input);
  return output;
}

/** Index of the first largest value along an axis (of the flattened tensor when none is named), int32; NaN counts as largest. */
export function argmax<Device extends DeviceName>(input: Tensor<Device>, axis?: number): Tensor<Device> {
  return argReduce("argmax", input, axis);
}

/** Index of the first smallest value along an axis (of the flattened tensor when none is named), int32; NaN counts as smallest. */
export function argmin<Device extends DeviceName>(input: Tensor<Device>, axis?: number): Tensor<Device> {
  return argReduce("argmin", input, axis);
}

/** A running sum or product; products of small integers, like sums, are computed in int32. */
function cumulative<Device extends DeviceName>(
  operation: "sum" | "product",
  input: Tensor<Device>,
  position: number,
  reverse: boolean,
  record: (source: Tensor<Device>, output: Tensor<Device>) => void,
): Tensor<Device> {
  const source = prepare(input, isFloating(input.dtype) ? "float32" : "int32");
  const output = allocateLike(source);
  const size = source.shape[position]!;
  const { outer, inner } = sizesAround(source.shape, position);
  source.storage.backend.kernels.cumulative({ operation, input: source, output, outer, size, inner, reverse });
  if (recording.tape !== undefined) record(source, output);
  release(source, input);
  return input.dtype === "float16" ? replaced(output, asDtype(output, "float16")) : output;
}

/** Running sum along an axis; `reverse` runs from the end. bool and small integers are summed in int32. */
export function cumsum<Device extends DeviceName>(
  input: Tensor<Device>,
  axis: number = -1,
  { reverse = false }: { readonly reverse?: boolean } = {},
): Tensor<Device> {
  const position = normalizeAxis("cumsum", axis, input.rank);
  return cumulative("sum", input, position, reverse, (source, output) =>
    record("cumsum", [source], output, [], ([gradient]) => [cumsum(gradient!, position, { reverse: !reverse })]),
  );
}

/**
 * Running product along an axis. bool and small integers are multiplied in int32. The gradient is exact also where factors are 0, at a cost
 * that grows with the square of the axis.
 */
export function cumprod<Device extends DeviceName>(input: Tensor<Device>, axis: number = -1): Tensor<Device> {
  const position = normalizeAxis("cumprod", axis, input.rank);
  return cumulative("product", input, position, false, (source, output) =>
    record("cumprod", [source], output, [source], ([gradient], [saved]) => [cumprodGradient(gradient!, saved!, position)]),
  );
}

/**
 * Σ over k ≥ i of g[k] · Π over j ≤ k, j ≠ i of x[j]. With x[i] replaced by 1 the running product is that inner one for every k ≥ i, so one
 * running product over
 * a matrix with ones on its diagonal serves all i. Left to the scope of the backward step.
 */
function cumprodGradient(gradient: Tensor, input: Tensor, axis: number): Tensor {
  const size = input.shape[axis]!;
  const lastAxis = (tensor: Tensor): Tensor => shareView(tensor, ...moved(tensor, axis, tensor.rank - 1));
  const x = lastAxis(input);
  const lead = x.shape.slice(0, -1);
  const square = [...lead, size, size];
  const rows = shareView(x, square, [...x.strides.slice(0, -1), 0, x.strides.at(-1)!]);
  const { backend } = input.storage;
  const ones = fillLike({ shape: [], dtype: "float32", backend }, 1);
  const place = allocateLike(input, [size], "int32");
  backend.kernels.arange({ output: place, start: 0, step: 1 });
  const down = shareView(place, [size, 1], [1, 0]);
  const across = shareView(place, [1, size], [0, 1]);
  const others = selectRaw(compareRaw("equal", down, across), ones, rows);
  const running = allocateLike(others);
  backend.kernels.cumulative({
    operation: "product",
    input: others,
    output: running,
    outer: sizeOf(lead) * size,
    size,
    inner: 1,
    reverse: false,
  });
  const g = lastAxis(gradient);
  const spread = shareView(g, square, [...g.strides.slice(0, -1), 0, g.strides.at(-1)!]);
  const zero = fillLike({ shape: [], dtype: "float32", backend }, 0);
  const terms = selectRaw(compareRaw("lessEqual", down, across), binaryRaw("multiply", running, spread), zero);
  const summed = reduceRaw("sum", terms, [square.length - 1]);
  return asContiguous(shareView(summed, ...moved(summed, summed.rank - 1, axis)));
}

/** Shape and strides with one axis moved to another place. */
function moved(tensor: Tensor, from: number, to: number): [shape: number[], strides: number[]] {
  const move = (list: readonly number[]): number[] => list.toSpliced(from, 1).toSpliced(to, 0, list[from]!);
  return [move(tensor.shape), move(tensor.strides)];
}
