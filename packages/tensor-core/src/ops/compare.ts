import type { CompareOperation, DeviceName } from "../backend/backend.ts";
import { record, recording } from "../autograd/tape.ts";
import { isFloating, promoteDtypes, type Dtype } from "../tensor/dtype.ts";
import { broadcastShapes } from "../tensor/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Operand } from "./binary.ts";
import { allocateLike, broadcastView, checkDevices, checkDtype } from "./dispatch.ts";
import { cast, fillLike } from "./materialize.ts";
import { sumToShape } from "./raw.ts";

/** A number as a scalar tensor on the device of `like`. */
function lift<Device extends DeviceName>(like: Tensor<Device>, value: number, dtype: Dtype = "float32"): Tensor<Device> {
  return fillLike({ shape: [], dtype, backend: like.storage.backend }, value) as unknown as Tensor<Device>;
}

/** Both operands as tensors of one dtype that kernels take. */
function operands<Device extends DeviceName>(operation: string, a: Operand<Device>, b: Operand<Device>): [Tensor<Device>, Tensor<Device>, Dtype] {
  const tensor = a instanceof Tensor ? a : b instanceof Tensor ? b : undefined;
  if (tensor === undefined) throw new TypeError(`${operation}: two numbers; one operand has to be a tensor`);
  const asTensor = (operand: Operand<Device>): Tensor<Device> => {
    if (operand instanceof Tensor) return operand;
    return lift(tensor, operand, isFloating(tensor.dtype) || !Number.isInteger(operand) ? "float32" : "int32");
  };
  const [left, right] = [asTensor(a), asTensor(b)];
  checkDevices(operation, left, right);
  const dtype = promoteDtypes(left.dtype, right.dtype);
  const working: Dtype = isFloating(dtype) ? "float32" : dtype === "bool" ? "bool" : "int32";
  return [cast(left, working), cast(right, working), dtype];
}

function compare<Device extends DeviceName>(operation: CompareOperation, a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  const [left, right] = operands(operation, a, b);
  const shape = broadcastShapes(operation, left.shape, right.shape);
  const output = allocateLike(left, shape, "bool");
  left.storage.backend.kernels.compare({ operation, a: broadcastView(left, shape), b: broadcastView(right, shape), output });
  return output;
}

/**
 * a where `condition` (bool) holds, else b; all three broadcast.
 * @throws DtypeError when the condition is not bool
 */
export function where<Device extends DeviceName>(condition: Tensor<Device>, a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  checkDtype("where", condition, "bool");
  // Two numbers have no tensor to take a dtype from: they become float32.
  const lifted = typeof a === "number" && typeof b === "number" ? lift(condition, b) : b;
  let [left, right, dtype] = operands("where", a, lifted);
  if (dtype === "bool") [left, right] = [cast(left, "int32"), cast(right, "int32")];
  checkDevices("where", condition, left);
  const shape = broadcastShapes("where", condition.shape, broadcastShapes("where", left.shape, right.shape));
  const output = allocateLike(left, shape);
  left.storage.backend.kernels.where({
    condition: broadcastView(condition, shape), a: broadcastView(left, shape), b: broadcastView(right, shape), output,
  });
  if (recording.tape !== undefined) {
    const shapes = [left.shape, right.shape] as const;
    record("where", [undefined, left, right], output, [condition], ([gradient], [saved], needs) => {
      const none = fillLike({ shape: [], dtype: "float32", backend: gradient!.storage.backend }, 0);
      return [
        undefined,
        needs(1) ? sumToShape(where(saved!, gradient!, none), shapes[0]) : undefined,
        needs(2) ? sumToShape(where(saved!, none, gradient!), shapes[1]) : undefined,
      ];
    });
  }
  return dtype === "float16" || dtype === "bool" || dtype === "uint8" || dtype === "int8" ? cast(output, dtype) : output;
}

/** Where a = b, as bool; broadcasting. */
export function equal<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("equal", a, b);
}

/** Where a ≠ b, as bool; broadcasting. */
export function notEqual<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("notEqual", a, b);
}

/** Where a < b, as bool; broadcasting. */
export function less<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("less", a, b);
}

/** Where a ≤ b, as bool; broadcasting. */
export function lessEqual<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("lessEqual", a, b);
}

/** Where a > b, as bool; broadcasting. */
export function greater<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("greater", a, b);
}

/** Where a ≥ b, as bool; broadcasting. */
export function greaterEqual<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("greaterEqual", a, b);
}

/** Where a and b (0 is false), as bool; broadcasting. */
export function logicalAnd<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("logicalAnd", a, b);
}

/** Where a or b (0 is false), as bool; broadcasting. */
export function logicalOr<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("logicalOr", a, b);
}

/** Where exactly one of a and b (0 is false), as bool; broadcasting. */
export function logicalXor<Device extends DeviceName>(a: Operand<Device>, b: Operand<Device>): Tensor<Device> {
  return compare("logicalXor", a, b);
}
