/** Kernel calls without dtype rules or recording: what backward functions are written with. */
import type { BinaryOperation, CompareOperation, ReduceOperation, UnaryOperation } from "../backend/backend.ts";
import { broadcastShapes, broadcastStrides, contiguousStrides, sameShape, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, broadcastView, shareView } from "./dispatch.ts";

export function unaryRaw(operation: UnaryOperation, input: Tensor): Tensor {
  const output = allocateLike(input);
  input.storage.backend.kernels.unary({ operation, input, output });
  return output;
}

export function binaryRaw(operation: BinaryOperation, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes(operation, a.shape, b.shape);
  const output = allocateLike(a, shape);
  a.storage.backend.kernels.binary({ operation, a: broadcastView(a, shape), b: broadcastView(b, shape), output });
  return output;
}

export function scalarRaw(operation: BinaryOperation, a: Tensor, scalar: number, reversed: boolean = false): Tensor {
  const output = allocateLike(a);
  a.storage.backend.kernels.binaryScalar({ operation, a, scalar, reversed, output });
  return output;
}

export function compareRaw(operation: CompareOperation, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes(operation, a.shape, b.shape);
  const output = allocateLike(a, shape, "bool");
  a.storage.backend.kernels.compare({ operation, a: broadcastView(a, shape), b: broadcastView(b, shape), output });
  return output;
}

/** `where` at the shape of `condition`. */
export function selectRaw(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const output = allocateLike(b, condition.shape);
  b.storage.backend.kernels.where({ condition, a: broadcastView(a, condition.shape), b: broadcastView(b, condition.shape), output });
  return output;
}

/** Reduces sorted axes, which vanish from the shape. */
export function reduceRaw(operation: ReduceOperation, input: Tensor, axes: readonly number[]): Tensor {
  const output = allocateLike(input, input.shape.filter((_, axis) => !axes.includes(axis)));
  input.storage.backend.kernels.reduce({ operation, input, axes, output });
  return output;
}

/** The transpose of broadcasting: sums over the axes that were repeated. */
export function sumToShape(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const missing = gradient.rank - shape.length;
  const axes = gradient.shape.flatMap((length, axis) => (axis < missing || (shape[axis - missing] === 1 && length !== 1) ? [axis] : []));
  const sum = axes.length === 0 ? gradient : reduceRaw("sum", gradient, axes);
  return shareView(sum, shape, contiguousStrides(shape));
}

/** A broadcast view. */
export function expandRaw(input: Tensor, shape: Shape): Tensor {
  return shareView(input, shape, broadcastStrides(input.shape, input.strides, shape));
}

/** Puts axes of length 1 back where `axes` were reduced. */
export function restoreAxes(reduced: Tensor, shape: Shape, axes: readonly number[]): Tensor {
  let next = 0;
  const strides: number[] = [];
  const restored = shape.map((_, axis) => {
    const removed = axes.includes(axis);
    strides.push(removed ? 0 : reduced.strides[next]!);
    return removed ? 1 : reduced.shape[next++]!;
  });
  return shareView(reduced, restored, strides);
}
