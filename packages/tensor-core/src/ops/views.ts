import type { DeviceName } from "../backend/backend.ts";
import { GradientError, IndexError, ShapeError } from "../errors.ts";
import { isRecorded, noGrad, record, recording } from "../autograd/tape.ts";
import {
  broadcastStrides,
  checkShape,
  contiguousStrides,
  formatShape,
  normalizeAxes,
  normalizeAxis,
  sameShape,
  sizeOf,
  type Shape,
} from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkDevices, markWritten, release, shareView } from "./dispatch.ts";
import { asContiguous, clone, fillLike, share } from "./materialize.ts";
import { sumToShape } from "./raw.ts";

/**
 * Another shape with the same elements in order; one length may be -1. A view when the data is contiguous, else a copy. @throws ShapeError
 */
export function reshape<Device extends DeviceName>(input: Tensor<Device>, shape: Shape): Tensor<Device> {
  const target = resolveShape(input, shape);
  if (sameShape(target, input.shape)) return share(input);
  const source = asContiguous(input);
  const output = shareView(source, target, contiguousStrides(target));
  if (recording.tape !== undefined) {
    const original = input.shape;
    record("reshape", [source], output, [], ([gradient]) => [reshape(gradient!, original)]);
  }
  release(source, input);
  return output;
}

function resolveShape(input: Tensor, shape: Shape): Shape {
  const unknown = shape.indexOf(-1);
  let target: Shape = [...shape];
  if (unknown >= 0) {
    const known = shape.reduce((product, length, axis) => (axis === unknown ? product : product * length), 1);
    target = shape.map((length, axis) => (axis === unknown ? (known === 0 ? 0 : input.size / known) : length));
  }
  if (target.some((length) => !Number.isInteger(length) || length < 0) || sizeOf(target) !== input.size) {
    throw new ShapeError(`reshape: ${formatShape(input.shape)} with ${input.size} elements cannot become ${formatShape(shape)}`);
  }
  return target;
}

/** All elements along one axis. */
export function flatten<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return reshape(input, [input.size]);
}

/** The axes in another order; without `axes`, reversed. A view. @throws IndexError unless `axes` is a permutation */
export function permute<Device extends DeviceName>(input: Tensor<Device>, axes?: readonly number[]): Tensor<Device> {
  const { rank, shape, strides } = input;
  const order: number[] = [];
  for (let i = 0; i < rank; i++) {
    const axis = axes === undefined ? rank - 1 - i : axes[i] === undefined ? -1 : normalizeAxis("permute", axes[i]!, rank);
    if (axis < 0 || order.includes(axis)) break;
    order.push(axis);
  }
  if (order.length !== rank || (axes !== undefined && axes.length !== rank)) {
    throw new IndexError(`permute: [${axes?.join(", ")}] is not a permutation of the ${rank} axes of ${formatShape(shape)}`);
  }
  const permutedShape: number[] = [];
  const permutedStrides: number[] = [];
  for (const axis of order) {
    permutedShape.push(shape[axis]!);
    permutedStrides.push(strides[axis]!);
  }
  const output = shareView(input, permutedShape, permutedStrides);
  if (recording.tape !== undefined) {
    const inverse = order.map((_, axis) => order.indexOf(axis));
    record("permute", [input], output, [], ([gradient]) => [permute(gradient!, inverse)]);
  }
  return output;
}

/** Two axes exchanged, the last two by default. A view. */
export function transpose<Device extends DeviceName>(input: Tensor<Device>, axis0: number = -2, axis1: number = -1): Tensor<Device> {
  const a = normalizeAxis("transpose", axis0, input.rank);
  const b = normalizeAxis("transpose", axis1, input.rank);
  const order: number[] = [];
  for (let axis = 0; axis < input.rank; axis++) order.push(axis === a ? b : axis === b ? a : axis);
  return permute(input, order);
}

/** A new axis of length 1 before `axis`. A view. */
export function expandDims<Device extends DeviceName>(input: Tensor<Device>, axis: number): Tensor<Device> {
  const position = normalizeAxis("expandDims", axis, input.rank + 1);
  const output = shareView(input, input.shape.toSpliced(position, 0, 1), input.strides.toSpliced(position, 0, 1));
  if (recording.tape !== undefined) record("expandDims", [input], output, [], ([gradient]) => [squeeze(gradient!, position)]);
  return output;
}

/** Without axes of length 1: all of them, or those named. A view. @throws ShapeError when a named axis is longer */
export function squeeze<Device extends DeviceName>(input: Tensor<Device>, axes?: number | readonly number[]): Tensor<Device> {
  const named = axes === undefined ? undefined : normalizeAxes("squeeze", axes, input.rank);
  const removed = named ?? input.shape.flatMap((length, axis) => (length === 1 ? [axis] : []));
  for (const axis of removed) {
    if (input.shape[axis] !== 1)
      throw new ShapeError(`squeeze: axis ${axis} of ${formatShape(input.shape)} has length ${input.shape[axis]}, not 1`);
  }
  const keepAxis = (_: number, axis: number): boolean => !removed.includes(axis);
  const output = shareView(input, input.shape.filter(keepAxis), input.strides.filter(keepAxis));
  if (recording.tape !== undefined) {
    const original = input.shape;
    record("squeeze", [input], output, [], ([gradient]) => [reshape(gradient!, original)]);
  }
  return output;
}

/** Repeats axes of length 1 (and missing leading axes) to fill `shape`. A view. @throws ShapeError */
export function broadcastTo<Device extends DeviceName>(input: Tensor<Device>, shape: Shape): Tensor<Device> {
  checkShape("broadcastTo", shape);
  const target = [...shape];
  const missing = shape.length - input.rank;
  if (missing < 0 || input.shape.some((length, axis) => length !== 1 && length !== shape[axis + missing])) {
    throw new ShapeError(`broadcastTo: ${formatShape(input.shape)} does not broadcast to ${formatShape(shape)}`);
  }
  const output = shareView(input, target, broadcastStrides(input.shape, input.strides, target));
  if (recording.tape !== undefined) {
    const original = input.shape;
    record("broadcastTo", [input], output, [], ([gradient]) => [sumToShape(gradient!, original)]);
  }
  return output;
}

/**
 * One axis' part of an index: a position (removes the axis), `[start, stop]`, `[start, stop, step > 0]`, or null for the whole axis.
 * Negative counts from the end.
 */
export type SliceIndex = number | readonly [start?: number | null, stop?: number | null, step?: number] | null;

interface ResolvedSlice {
  readonly shape: number[];
  readonly strides: number[];
  readonly offset: number;
}

function resolveSlice(operation: string, input: Tensor, index: readonly SliceIndex[]): ResolvedSlice {
  if (index.length > input.rank) {
    throw new IndexError(`${operation}: ${index.length} indices for a tensor of rank ${input.rank}, ${formatShape(input.shape)}`);
  }
  const shape: number[] = [];
  const strides: number[] = [];
  let { offset } = input;
  input.shape.forEach((length, axis) => {
    const part = index[axis] ?? null;
    const stride = input.strides[axis]!;
    if (typeof part === "number") {
      if (!Number.isInteger(part) || part < -length || part >= length) {
        throw new IndexError(`${operation}: index ${part} is outside axis ${axis} of length ${length} in ${formatShape(input.shape)}`);
      }
      offset += (part < 0 ? part + length : part) * stride;
      return;
    }
    const [from, to, step = 1] = part ?? [];
    for (const bound of [from, to]) {
      if (typeof bound === "number" && !Number.isInteger(bound) && Math.abs(bound) !== Infinity) {
        throw new IndexError(`${operation}: bound ${bound} on axis ${axis} is no integer`);
      }
    }
    if (!Number.isInteger(step) || step < 1)
      throw new IndexError(`${operation}: step ${step} on axis ${axis}; steps are positive integers, use flip() to reverse`);
    const clampIndex = (value: number): number => Math.min(length, Math.max(0, value < 0 ? value + length : value));
    const start = clampIndex(from ?? 0);
    const stop = clampIndex(to ?? length);
    shape.push(Math.max(0, Math.ceil((stop - start) / step)));
    strides.push(stride * step);
    offset += start * stride;
  });
  // An empty part has no first element; its offset stays where memory is.
  return { shape, strides, offset: sizeOf(shape) === 0 ? input.offset : offset };
}

/**
 * Part of a tensor, as a view: `slice(x, 0, [2, 5], null, [0, null, 2])` is NumPy's `x[0, 2:5, :, ::2]`. Bounds beyond an axis are cut to
 * it, positions are checked.
 * @throws IndexError
 */
export function slice<Device extends DeviceName>(input: Tensor<Device>, ...index: readonly SliceIndex[]): Tensor<Device> {
  const { shape, strides, offset } = resolveSlice("slice", input, index);
  const output = shareView(input, shape, strides, offset);
  if (recording.tape !== undefined) {
    const like = { shape: input.shape, dtype: input.dtype, backend: input.storage.backend };
    record("slice", [input], output, [], ([gradient]) => {
      const whole = fillLike(like, 0);
      assign(whole, gradient!, ...index);
      return [whole];
    });
  }
  return output;
}

/**
 * Slices that do not overlap, as views: one operation on the tape, so that the backward pass fills one gradient instead of adding up one a
 * slice.
 */
export function disjointSlices<Device extends DeviceName>(
  operation: string,
  input: Tensor<Device>,
  indices: readonly (readonly SliceIndex[])[],
): Tensor<Device>[] {
  const pieces = indices.map((index) => {
    const { shape, strides, offset } = resolveSlice(operation, input, index);
    return shareView(input, shape, strides, offset);
  });
  if (recording.tape !== undefined) {
    const like = { shape: input.shape, dtype: input.dtype, backend: input.storage.backend };
    record(operation, [input], pieces, [], (gradients) => {
      const whole = fillLike(like, 0);
      gradients.forEach((gradient, i) => {
        if (gradient !== undefined) assign(whole, gradient, ...indices[i]!);
      });
      return [whole];
    });
  }
  return pieces;
}

/**
 * Writes `value` (broadcast, converted) into part of `target`, in place: NumPy's `target[index] = value`. Not differentiable.
 * @throws IndexError @throws ShapeError @throws DeviceError
 * @throws GradientError when either is being differentiated, whose gradient would miss the write; in `noGrad()` it may
 */
export function assign(target: Tensor, value: Tensor, ...index: readonly SliceIndex[]): void {
  const { shape, strides, offset } = resolveSlice("assign", target, index);
  checkDevices("assign", target, value);
  if (recording.tape !== undefined && isRecorded([target, value])) {
    throw new GradientError(
      "assign: gradients do not flow through writes in place; use where(), concatenate() or scatterAdd(), or write inside noGrad()",
    );
  }
  if (sizeOf(shape) > 0 && strides.some((stride, axis) => stride === 0 && shape[axis]! > 1)) {
    throw new ShapeError(
      `assign: the target ${formatShape(target.shape)} is a broadcast view whose elements share memory; clone() it first`,
    );
  }
  const missing = shape.length - value.rank;
  if (missing < 0 || value.shape.some((length, axis) => length !== 1 && length !== shape[axis + missing])) {
    throw new ShapeError(`assign: ${formatShape(value.shape)} does not broadcast to the indexed part ${formatShape(shape)}`);
  }
  const output = { buffer: target.buffer, dtype: target.dtype, shape, strides, offset };
  const input = {
    buffer: value.buffer,
    dtype: value.dtype,
    shape,
    strides: broadcastStrides(value.shape, value.strides, shape),
    offset: value.offset,
  };
  // Kernels may not read what they write: a value that shares the target's memory is copied first.
  if (value.storage !== target.storage) target.storage.backend.kernels.copy({ input, output });
  else {
    const copy = noGrad(() => clone(value));
    target.storage.backend.kernels.copy({
      input: { ...input, buffer: copy.buffer, strides: broadcastStrides(copy.shape, copy.strides, shape), offset: 0 },
      output,
    });
    copy.dispose();
  }
  markWritten(target);
}

/** Cuts an axis into parts of the given lengths (or into `sections` equal ones). Views. @throws ShapeError when they do not add up */
export function split<Device extends DeviceName>(
  input: Tensor<Device>,
  sections: number | readonly number[],
  axis: number = 0,
): Tensor<Device>[] {
  const position = normalizeAxis("split", axis, input.rank);
  const length = input.shape[position]!;
  if (typeof sections === "number" && !(Number.isInteger(sections) && sections > 0)) {
    throw new ShapeError(`split: axis ${axis} of ${formatShape(input.shape)} cannot be cut into ${sections}`);
  }
  const lengths = typeof sections === "number" ? Array.from({ length: sections }, () => length / sections) : sections;
  if (lengths.some((part) => !Number.isInteger(part) || part < 0) || lengths.reduce((total, part) => total + part, 0) !== length) {
    throw new ShapeError(
      `split: axis ${axis} of ${formatShape(input.shape)} cannot be cut into ${typeof sections === "number" ? sections : `[${lengths.join(", ")}]`}`,
    );
  }
  const lead: SliceIndex[] = Array.from({ length: position }, () => null);
  let start = 0;
  return disjointSlices(
    "split",
    input,
    lengths.map((part) => [...lead, [start, (start += part)]]),
  );
}

/** The diagonal of the last two axes. A view. */
export function diagonal<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  if (input.rank < 2) throw new ShapeError(`diagonal: needs two axes, got ${formatShape(input.shape)}`);
  const [rows, columns] = input.shape.slice(-2) as [number, number];
  const shape = [...input.shape.slice(0, -2), Math.min(rows, columns)];
  const strides = [...input.strides.slice(0, -2), input.strides.at(-2)! + input.strides.at(-1)!];
  const output = shareView(input, shape, strides);
  if (recording.tape !== undefined) {
    const like = { shape: input.shape, dtype: input.dtype, backend: input.storage.backend };
    record("diagonal", [input], output, [], ([gradient]) => {
      const whole = fillLike(like, 0);
      const target = {
        buffer: whole.buffer,
        dtype: whole.dtype,
        shape,
        strides: [...whole.strides.slice(0, -2), whole.strides.at(-2)! + whole.strides.at(-1)!],
        offset: 0,
      };
      whole.storage.backend.kernels.copy({ input: gradient!, output: target });
      return [whole];
    });
  }
  return output;
}
