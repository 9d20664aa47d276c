import type { CompareOperation, DeviceName } from "../backend/backend.ts";
import { record, recording } from "../autograd/tape.ts";
import { isFloating, isInt32, promoteDtypes, type Dtype } from "../tensor/dtype.ts";
import { broadcastShapes, type Shape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Operand } from "./binary.ts";
import { allocate, allocateLike, broadcastView, checkDevices, checkDtype } from "./dispatch.ts";
import { asDtype, fillLike } from "./materialize.ts";
import { selectRaw, sumToShape } from "./raw.ts";

/** A number as a scalar tensor on the device of `like`. */
function lift(like: Tensor, value: number, dtype: Dtype): Tensor {
  return fillLike({ shape: [], dtype, backend: like.storage.backend }, value);
}

/**
 * Checks the operands of one operation and names the dtype they meet in. Numbers take the tensor's; `place` says where two numbers are
 * computed, as float32.
 */
function meetingDtype(operation: string, a: Operand, b: Operand, place?: Tensor): Dtype {
  if (typeof a !== "number" && typeof b !== "number") {
    checkDevices(operation, a, b);
    return promoteDtypes(a.dtype, b.dtype);
  }
  if (typeof a === "number" && typeof b === "number") {
    if (place === undefined) throw new TypeError(`${operation}: two numbers; one operand has to be a tensor`);
    return "float32";
  }
  const [tensor, value] = typeof a === "number" ? [b as Tensor, a] : [a, b as number];
  return isFloating(tensor.dtype) ? tensor.dtype : isInt32(value) ? "int32" : "float32";
}

function shapeOf(operand: Operand): Shape {
  return typeof operand === "number" ? [] : operand.shape;
}

function compare<Device extends DeviceName>(operation: CompareOperation, a: Operand, b: Operand): Tensor<Device> {
  const dtype = meetingDtype(operation, a, b);
  const working: Dtype = isFloating(dtype) ? "float32" : dtype === "bool" ? "bool" : "int32";
  const shape = broadcastShapes(operation, shapeOf(a), shapeOf(b));
  const left = typeof a === "number" ? lift(b as Tensor, a, working) : asDtype(a, working);
  const right = typeof b === "number" ? lift(left, b, working) : asDtype(b, working);
  const output = allocate<Device>(left.storage.backend, "bool", shape);
  left.storage.backend.kernels.compare({ operation, a: broadcastView(left, shape), b: broadcastView(right, shape), output });
  if (left !== a) left.dispose();
  if (right !== b) right.dispose();
  return output;
}

/**
 * a where `condition` (bool) holds, else b; all three broadcast.
 * @throws DtypeError when the condition is not bool
 */
export function where<Condition extends DeviceName, A extends DeviceName, B extends DeviceName>(
  condition: Tensor<Condition>,
  a: Operand<A>,
  b: Operand<B>,
): Tensor<Condition & A & B> {
  return select(condition, a, b) as Tensor<Condition & A & B>;
}

function select(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkDtype("where", condition, "bool");
  const dtype = meetingDtype("where", a, b, condition);
  checkDevices("where", condition, typeof a === "number" ? undefined : a, typeof b === "number" ? undefined : b);
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", shapeOf(a), shapeOf(b)));
  const working: Dtype = isFloating(dtype) ? "float32" : "int32";
  const left = typeof a === "number" ? lift(condition, a, working) : asDtype(a, working);
  const right = typeof b === "number" ? lift(condition, b, working) : asDtype(b, working);
  const output = allocateLike(left, shape);
  left.storage.backend.kernels.where({
    condition: broadcastView(condition, shape),
    a: broadcastView(left, shape),
    b: broadcastView(right, shape),
    output,
  });
  if (recording.tape !== undefined) {
    const shapes = [left.shape, right.shape] as const;
    record("where", [undefined, left, right], output, [condition], ([gradient], [saved], needs) => {
      const none = fillLike({ shape: [], dtype: "float32", backend: gradient!.storage.backend }, 0);
      return [
        undefined,
        needs(1) ? sumToShape(selectRaw(saved!, gradient!, none), shapes[0]) : undefined,
        needs(2) ? sumToShape(selectRaw(saved!, none, gradient!), shapes[1]) : undefined,
      ];
    });
  }
  if (left !== a) left.dispose();
  if (right !== b) right.dispose();
  if (output.dtype === dtype) return output;
  const result = asDtype(output, dtype);
  output.dispose();
  return result;
}

/** Where a = b, as bool; broadcasting. */
export function equal<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("equal", a, b);
}

/** Where a ≠ b, as bool; broadcasting. */
export function notEqual<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("notEqual", a, b);
}

/** Where a < b, as bool; broadcasting. */
export function less<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("less", a, b);
}

/** Where a ≤ b, as bool; broadcasting. */
export function lessEqual<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("lessEqual", a, b);
}

/** Where a > b, as bool; broadcasting. */
export function greater<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("greater", a, b);
}

/** Where a ≥ b, as bool; broadcasting. */
export function greaterEqual<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("greaterEqual", a, b);
}

/** Where a and b (0 is false), as bool; broadcasting. */
export function logicalAnd<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("logicalAnd", a, b);
}

/** Where a or b (0 is false), as bool; broadcasting. */
export function logicalOr<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("logicalOr", a, b);
}

/** Where exactly one of a and b (0 is false), as bool; broadcasting. */
export function logicalXor<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return compare("logicalXor", a, b);
}
