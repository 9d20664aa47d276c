import { IndexError, ShapeError } from "../errors.ts";

/** Lengths of the axes, outermost first. `[]` is a scalar. */
export type Shape = readonly number[];

/** Number of elements. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let axis = 0; axis < shape.length; axis++) size *= shape[axis]!;
  return size;
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides: number[] = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** Whether elements lie row-major without gaps; axes of length 1 may have any stride. */
export function isContiguous(shape: Shape, strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis]!;
    if (length === 0) return true;
    if (length !== 1 && strides[axis] !== expected) return false;
    expected *= length;
  }
  return true;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let axis = 0; axis < a.length; axis++) if (a[axis] !== b[axis]) return false;
  return true;
}

/** `[2, 3]` as text, for messages. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** The shape both broadcast to by NumPy's rule. @throws ShapeError naming `operation` and both shapes. */
export function broadcastShapes(operation: string, a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a;
  const rank = Math.max(a.length, b.length);
  const result: number[] = new Array<number>(rank);
  for (let axis = 1; axis <= rank; axis++) {
    const x = a[a.length - axis] ?? 1;
    const y = b[b.length - axis] ?? 1;
    if (x !== y && x !== 1 && y !== 1) {
      throw new ShapeError(`${operation}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast (${x} against ${y})`);
    }
    result[rank - axis] = x === 1 ? y : x;
  }
  return result;
}

/** Strides that read a tensor of `shape` as `target` (axes of length 1 repeat). Assumes the shapes broadcast. */
export function broadcastStrides(shape: Shape, strides: readonly number[], target: Shape): number[] {
  const missing = target.length - shape.length;
  const result: number[] = new Array<number>(target.length);
  for (let axis = 0; axis < target.length; axis++) {
    const own = axis - missing;
    result[axis] = own < 0 || (shape[own] === 1 && target[axis] !== 1) ? 0 : strides[own]!;
  }
  return result;
}

/** A negative axis counts from the end. @throws IndexError */
export function normalizeAxis(operation: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    throw new IndexError(`${operation}: axis ${axis} is outside a tensor of rank ${rank}; use ${-rank} to ${rank - 1}`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** Sorted non-negative axes; all of them when none are given. @throws IndexError for one outside or twice */
export function normalizeAxes(operation: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (typeof axes === "number") return [normalizeAxis(operation, axes, rank)];
  if (axes === undefined) {
    const all: number[] = [];
    for (let axis = 0; axis < rank; axis++) all.push(axis);
    return all;
  }
  const list = axes.map((axis) => normalizeAxis(operation, axis, rank)).sort((a, b) => a - b);
  for (let i = 1; i < list.length; i++) {
    if (list[i] === list[i - 1]) throw new IndexError(`${operation}: axis ${list[i]} is named twice`);
  }
  return list;
}

/** @throws ShapeError unless every length is a non-negative safe integer and so is their product */
export function checkShape(operation: string, shape: Shape): void {
  for (const length of shape) {
    if (!Number.isInteger(length) || length < 0) {
      throw new ShapeError(`${operation}: shape ${formatShape(shape)} has a length that is no non-negative integer: ${String(length)}`);
    }
  }
  if (!Number.isSafeInteger(sizeOf(shape))) throw new ShapeError(`${operation}: shape ${formatShape(shape)} has too many elements`);
}

/** Sizes around an axis: the shape seen as [outer, size, inner]. */
export function sizesAround(shape: Shape, axis: number): { outer: number; size: number; inner: number } {
  return { outer: sizeOf(shape.slice(0, axis)), size: shape[axis]!, inner: sizeOf(shape.slice(axis + 1)) };
}
