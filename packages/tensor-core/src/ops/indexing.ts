import type { DeviceName } from "../backend/backend.ts";
import { DtypeError, IndexError, ShapeError } from "../errors.ts";
import { isRecorded, record, recording } from "../autograd/tape.ts";
import { isFloating, type Dtype } from "../tensor/dtype.ts";
import { checkShape, formatShape, normalizeAxis, sameShape, sizeOf, sizesAround } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, checkDevices, checkDtype, release } from "./dispatch.ts";
import { asContiguous, asDtype, fillLike, prepare } from "./materialize.ts";
import { tensor } from "./creation.ts";

/** Contiguous int32 indices, to be released. @throws DtypeError */
function asIndices<Device extends DeviceName>(operation: string, indices: Tensor<Device>): Tensor<Device> {
  if (indices.dtype === "bool" || isFloating(indices.dtype))
    throw new DtypeError(`${operation}: indices are ${indices.dtype}; they have to be integers`);
  return prepare(indices, "int32");
}

/** float32 or int32, whichever holds the values. */
function wideDtype(dtype: Dtype): Dtype {
  return isFloating(dtype) ? "float32" : "int32";
}

/** The result of a kernel that moved values as float32 or int32, in the dtype they had. */
function narrowed<Device extends DeviceName>(output: Tensor<Device>, dtype: Dtype): Tensor<Device> {
  const result = asDtype(output, dtype);
  release(output, result);
  return result;
}

/**
 * Entries along an axis by int32 index: indices of shape [...i] put [...i] in the place of the axis (NumPy's take). An index outside the
 * axis gives zeros: checking
 * would mean waiting for the device.
 */
export function take<Device extends DeviceName>(input: Tensor<Device>, indices: Tensor, axis: number = 0): Tensor<Device> {
  const position = normalizeAxis("take", axis, input.rank);
  checkDevices("take", input, indices);
  const index = asIndices("take", indices);
  // Gradients are summed in float32.
  const source = prepare(input, input.dtype === "float16" && isRecorded([input]) ? "float32" : input.dtype);
  const { outer, size, inner } = sizesAround(input.shape, position);
  const output = allocateLike(source, [...input.shape.slice(0, position), ...indices.shape, ...input.shape.slice(position + 1)]);
  source.storage.backend.kernels.gather({ input: source, indices: index, output, outer, size, inner });
  if (recording.tape !== undefined && source.dtype === "float32") {
    const like = { shape: input.shape, dtype: source.dtype, backend: source.storage.backend };
    record("take", [source], output, [index], ([gradient], [saved]) => {
      const whole = fillLike(like, 0);
      whole.storage.backend.kernels.scatterAdd({ output: whole, indices: saved!, updates: asContiguous(gradient!), outer, size, inner });
      return [whole];
    });
  }
  release(index, indices);
  release(source, input);
  return narrowed(output, input.dtype);
}

/** Rows of a table [count, features] by id: ids of shape [...i] give [...i, features]. */
export function embedding<Table extends DeviceName, Ids extends DeviceName>(table: Tensor<Table>, ids: Tensor<Ids>): Tensor<Table & Ids> {
  if (table.rank !== 2) throw new ShapeError(`embedding: the table has two axes [count, features], got ${formatShape(table.shape)}`);
  return take(table, ids, 0) as Tensor<Table & Ids>;
}

/**
 * A copy of `input` with updates added along an axis: result[indices[i]] += updates[i], repeated indices in order. `indices` has one axis.
 * @throws ShapeError
 */
export function scatterAdd<Device extends DeviceName>(
  input: Tensor<Device>,
  indices: Tensor,
  updates: Tensor,
  axis: number = 0,
): Tensor<Device> {
  const position = normalizeAxis("scatterAdd", axis, input.rank);
  checkDevices("scatterAdd", input, indices, updates);
  const expected = input.shape.with(position, indices.size);
  if (indices.rank !== 1 || !sameShape(updates.shape, expected)) {
    throw new ShapeError(
      `scatterAdd: indices ${formatShape(indices.shape)} and updates ${formatShape(updates.shape)} do not fit ${formatShape(input.shape)}; updates need ${formatShape(expected)}`,
    );
  }
  checkDtype("scatterAdd", input, "float32", "int32");
  const index = asIndices("scatterAdd", indices);
  const added = prepare(updates, input.dtype);
  const output = allocateLike(input);
  const { kernels } = input.storage.backend;
  kernels.copy({ input, output });
  kernels.scatterAdd({ output, indices: index, updates: added, ...sizesAround(input.shape, position) });
  if (recording.tape !== undefined) {
    record("scatterAdd", [input, added], output, [index], ([gradient], [saved]) => [gradient, take(gradient!, saved!, position)]);
  }
  release(index, indices);
  release(added, updates);
  return output;
}

/**
 * One entry per position along an axis: result[..., i, ...] = input[..., indices[..., i, ...], ...] (NumPy's take_along_axis, PyTorch's
 * gather). @throws ShapeError
 */
export function takeAlongAxis<Device extends DeviceName>(input: Tensor<Device>, indices: Tensor, axis: number = -1): Tensor<Device> {
  const position = normalizeAxis("takeAlongAxis", axis, input.rank);
  checkDevices("takeAlongAxis", input, indices);
  if (indices.rank !== input.rank || indices.shape.some((length, i) => i !== position && length !== input.shape[i])) {
    throw new ShapeError(
      `takeAlongAxis: indices ${formatShape(indices.shape)} differ from ${formatShape(input.shape)} outside axis ${position}`,
    );
  }
  const index = asIndices("takeAlongAxis", indices);
  const source = prepare(input, wideDtype(input.dtype));
  const output = allocateLike(source, indices.shape);
  const { outer, size, inner } = sizesAround(input.shape, position);
  source.storage.backend.kernels.gatherElements({ input: source, indices: index, output, outer, size, inner });
  recordSelection("takeAlongAxis", source, output, index, position);
  release(index, indices);
  release(source, input);
  return narrowed(output, input.dtype);
}

/** Reversed along an axis, the last one by default. A copy. */
export function flip<Device extends DeviceName>(input: Tensor<Device>, axis: number = -1): Tensor<Device> {
  const position = normalizeAxis("flip", axis, input.rank);
  const length = input.shape[position]!;
  const reversed = tensor(
    Int32Array.from({ length }, (_, i) => length - 1 - i),
    [length],
    { device: input.device },
  );
  const output = take(input, reversed, position);
  reversed.dispose();
  return output;
}

/** 1 at the class of each id, 0 elsewhere: ids [...i] give float32 [...i, classes]. */
export function oneHot<Device extends DeviceName>(ids: Tensor<Device>, classes: number): Tensor<Device> {
  checkShape("oneHot", [classes]);
  const index = asIndices("oneHot", ids);
  const backend = ids.storage.backend;
  const output = fillLike<Device>({ shape: [...ids.shape, classes], dtype: "float32", backend }, 0);
  const updates = fillLike({ shape: [ids.size, 1, 1], dtype: "float32", backend }, 1);
  backend.kernels.scatterElementsAdd({ output, indices: index, updates, outer: ids.size, size: classes, inner: 1 });
  updates.dispose();
  release(index, ids);
  return output;
}

/** Values in order and where they came from. */
export interface Sorted<Device extends DeviceName> {
  readonly values: Tensor<Device>;
  /** int32. */
  readonly indices: Tensor<Device>;
}

/** Rows of the last axis sorted, stably, NaN last. Gradients flow to where values came from. */
export function sort<Device extends DeviceName>(
  input: Tensor<Device>,
  { descending = false }: { readonly descending?: boolean } = {},
): Sorted<Device> {
  if (input.rank === 0) throw new ShapeError("sort: a scalar has no axis to sort along");
  const source = prepare(input, wideDtype(input.dtype));
  const columns = input.shape.at(-1)!;
  const rows = sizeOf(input.shape.slice(0, -1));
  const values = allocateLike(source);
  const indices = allocateLike(source, source.shape, "int32");
  source.storage.backend.kernels.sort({ input: source, values, indices, rows, columns, descending });
  recordSelection("sort", source, values, indices);
  release(source, input);
  return { values: narrowed(values, input.dtype), indices };
}

/** The indices `sort` gives. */
export function argsort<Device extends DeviceName>(input: Tensor<Device>, options: { readonly descending?: boolean } = {}): Tensor<Device> {
  const { values, indices } = sort(input, options);
  values.dispose();
  return indices;
}

/**
 * The k largest (or, with `largest: false`, smallest) of each row of the last axis, in order. @throws IndexError when k exceeds the axis
 */
export function topK<Device extends DeviceName>(
  input: Tensor<Device>,
  k: number,
  { largest = true }: { readonly largest?: boolean } = {},
): Sorted<Device> {
  const columns = input.shape.at(-1) ?? 0;
  if (input.rank === 0 || !Number.isInteger(k) || k < 0 || k > columns) {
    throw new IndexError(`topK: k = ${k} for the last axis of ${formatShape(input.shape)}; use 0 to ${columns}`);
  }
  const source = prepare(input, wideDtype(input.dtype));
  const shape = [...input.shape.slice(0, -1), k];
  const values = allocateLike(source, shape);
  const indices = allocateLike(source, shape, "int32");
  source.storage.backend.kernels.topK({ input: source, values, indices, rows: sizeOf(input.shape.slice(0, -1)), columns, k, largest });
  recordSelection("topK", source, values, indices);
  release(source, input);
  return { values: narrowed(values, input.dtype), indices };
}

/** The gradient of picking one value an index along an axis: each goes back to where its value came from. */
function recordSelection(operation: string, input: Tensor, selected: Tensor, indices: Tensor, axis: number = input.rank - 1): void {
  if (recording.tape === undefined || input.dtype !== "float32") return;
  const like = { shape: input.shape, dtype: input.dtype, backend: input.storage.backend };
  const sizes = sizesAround(input.shape, axis);
  record(operation, [input], selected, [indices], ([gradient], [saved]) => {
    const whole = fillLike(like, 0);
    whole.storage.backend.kernels.scatterElementsAdd({ output: whole, indices: saved!, updates: asContiguous(gradient!), ...sizes });
    return [whole];
  });
}
