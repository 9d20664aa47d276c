/** Kernel calls without dtype rules or recording: what backward functions are written with. */
import type { BinaryOperation, CompareOperation, ReduceOperation, UnaryOperation } from "../backend/backend.ts";
import type { Dtype } from "../tensor/dtype.ts";
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

/** `where`, all three broadcast. */
export function selectRaw(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", a.shape, b.shape));
  const output = allocateLike(b, shape);
  const views = { condition: broadcastView(condition, shape), a: broadcastView(a, shape), b: broadcastView(b, shape) };
  b.storage.backend.kernels.where({ ...views, output });
  return output;
}

/** Reduces sorted axes, which vanish from the shape. */
export function reduceRaw(operation: ReduceOperation, input: Tensor, axes: readonly number[]): Tensor {
  const output = allocateLike(
    input,
    input.shape.filter((_, axis) => !axes.includes(axis)),
  );
  input.storage.backend.kernels.reduce({ operation, input, axes, output });
  return output;
}

/**
 * The transpose of broadcasting: sums over the axes that were repeated. Like every function here it leaves temporaries to the scope of the
 * backward step.
 */
export function sumToShape(gradient: Tensor, shape: Shape): Tensor {
  if (sameShape(gradient.shape, shape)) return gradient;
  const missing = gradient.rank - shape.length;
  const axes = gradient.shape.flatMap((length, axis) => (axis < missing || (shape[axis - missing] === 1 && length !== 1) ? [axis] : []));
  const sum = convertRaw(reduceRaw("sum", convertRaw(gradient, "float32"), axes), gradient.dtype);
  return shareView(sum, shape, contiguousStrides(shape));
}

/** `cast`, unrecorded. */
export function convertRaw(input: Tensor, dtype: Dtype): Tensor {
  if (input.dtype === dtype) return input;
  const output = allocateLike(input, input.shape, dtype);
  input.storage.backend.kernels.copy({ input, output });
  return output;
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
