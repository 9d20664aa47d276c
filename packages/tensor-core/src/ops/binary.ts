import type { BinaryOperation, DeviceName } from "../backend/backend.ts";
import { record, recording } from "../autograd/tape.ts";
import { isFloating, isInt32, promoteDtypes, type Dtype } from "../tensor/dtype.ts";
import { broadcastShapes, sameShape } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, broadcastView, checkDevices, release } from "./dispatch.ts";
import { asDtype, fillLike } from "./materialize.ts";
import { binaryRaw, compareRaw, scalarRaw, selectRaw, sumToShape, unaryRaw } from "./raw.ts";

/**
 * An operand of arithmetic: a tensor or a number. Two dtypes meet as `promoteDtypes` says; bool, uint8 and int8 are computed, and returned,
 * as int32. A number leaves floating
 * tensors their dtype, and makes float32 of integers unless it is an int32 itself.
 */
export type Operand<Device extends DeviceName = DeviceName> = Tensor<Device> | number;

type Gradient = (gradient: Tensor, a: Tensor, b: Tensor, output: Tensor) => Tensor;

interface BinaryRule {
  readonly operation: BinaryOperation;
  /** ∂/∂a and ∂/∂b times the gradient, before broadcasting is undone; absent = piecewise constant. */
  readonly gradientA?: Gradient;
  readonly gradientB?: Gradient;
  /** Which of a, b and the output the gradients read. */
  readonly saves: "nothing" | "inputs" | "everything";
  /** True division makes floats of integers. */
  readonly floats?: boolean;
}

const rules = {
  add: { operation: "add", gradientA: (g) => g, gradientB: (g) => g, saves: "nothing" },
  subtract: { operation: "subtract", gradientA: (g) => g, gradientB: (g) => unaryRaw("negative", g), saves: "nothing" },
  multiply: {
    operation: "multiply",
    gradientA: (g, _, b) => binaryRaw("multiply", g, b),
    gradientB: (g, a) => binaryRaw("multiply", g, a),
    saves: "inputs",
  },
  divide: {
    operation: "divide",
    gradientA: (g, _, b) => binaryRaw("divide", g, b),
    gradientB: (g, _, b, output) => unaryRaw("negative", binaryRaw("divide", binaryRaw("multiply", g, output), b)),
    saves: "everything",
    floats: true,
  },
  power: {
    operation: "power",
    // b * a^(b-1), 0 where b = 0: written so, zero bases and negative bases with integer exponents stay finite.
    gradientA: (g, a, b) => {
      const zero = fillLike({ shape: [], dtype: "float32", backend: a.storage.backend }, 0);
      const term = binaryRaw("multiply", b, binaryRaw("power", a, scalarRaw("subtract", b, 1)));
      return binaryRaw("multiply", g, selectRaw(compareRaw("equal", b, zero), zero, term));
    },
    // a^b * log(a), 0 where a = 0 (as PyTorch for b >= 0).
    gradientB: (g, a, _, output) => {
      const zero = fillLike({ shape: [], dtype: "float32", backend: a.storage.backend }, 0);
      const term = binaryRaw("multiply", output, unaryRaw("log", a));
      return binaryRaw("multiply", g, selectRaw(compareRaw("equal", a, zero), zero, term));
    },
    saves: "everything",
    floats: true,
  },
  maximum: {
    operation: "maximum",
    gradientA: (g, a, b) => halfTies(g, a, b, "greater"),
    gradientB: (g, a, b) => halfTies(g, a, b, "less"),
    saves: "inputs",
  },
  minimum: {
    operation: "minimum",
    gradientA: (g, a, b) => halfTies(g, a, b, "less"),
    gradientB: (g, a, b) => halfTies(g, a, b, "greater"),
    saves: "inputs",
  },
  remainder: {
    operation: "remainder",
    gradientA: (g) => g,
    gradientB: (g, a, b) => unaryRaw("negative", binaryRaw("multiply", g, unaryRaw("floor", binaryRaw("divide", a, b)))),
    saves: "inputs",
  },
  atan2: {
    operation: "atan2",
    gradientA: (g, a, b) => binaryRaw("divide", binaryRaw("multiply", g, b), squaredNorm(a, b)),
    gradientB: (g, a, b) => unaryRaw("negative", binaryRaw("divide", binaryRaw("multiply", g, a), squaredNorm(a, b))),
    saves: "inputs",
    floats: true,
  },
} as const satisfies Record<BinaryOperation, BinaryRule>;

function squaredNorm(a: Tensor, b: Tensor): Tensor {
  return binaryRaw("add", unaryRaw("square", a), unaryRaw("square", b));
}

/** Where the extremes tie, each side gets half of the gradient. */
function halfTies(gradient: Tensor, a: Tensor, b: Tensor, wins: "greater" | "less"): Tensor {
  const share = binaryRaw(
    "add",
    asDtype(compareRaw(wins, a, b), "float32"),
    scalarRaw("multiply", asDtype(compareRaw("equal", a, b), "float32"), 0.5),
  );
  return binaryRaw("multiply", gradient, share);
}

/** `Device` is what both operands are on: callers name it, `checkDevices` sees to it. */
function binary<Device extends DeviceName>(name: BinaryOperation, left: Operand, right: Operand): Tensor<Device> {
  return combine(name, left, right) as Tensor<Device>;
}

function combine(name: BinaryOperation, left: Operand, right: Operand): Tensor {
  if (typeof right === "number") {
    if (typeof left === "number") throw new TypeError(`${name}: two numbers; one operand has to be a tensor`);
    return withScalar(name, left, right, false);
  }
  if (typeof left === "number") return withScalar(name, right, left, true);
  // The common case first: nothing to convert.
  if (left.dtype === "float32" && right.dtype === "float32" && left.storage.backend === right.storage.backend)
    return compute(name, left, right);
  checkDevices(name, left, right);
  broadcastShapes(name, left.shape, right.shape);
  const dtype = promoteDtypes(left.dtype, right.dtype);
  const working = workingDtype(dtype, (rules[name] as BinaryRule).floats === true);
  const [a, b] = [asDtype(left, working), asDtype(right, working)];
  const output = compute(name, a, b);
  release(a, left);
  release(b, right);
  return dtype === "float16" ? narrowed(output) : output;
}

/** The result as float16; the float32 one is freed. */
function narrowed<Device extends DeviceName>(output: Tensor<Device>): Tensor<Device> {
  const result = asDtype(output, "float16");
  output.dispose();
  return result;
}

/** Kernels compute in float32 or int32: smaller types are widened first, floats of 16 bits narrowed afterwards. */
function workingDtype(dtype: Dtype, floats: boolean): Dtype {
  return isFloating(dtype) || floats ? "float32" : "int32";
}

function compute<Device extends DeviceName>(name: BinaryOperation, a: Tensor<Device>, b: Tensor<Device>): Tensor<Device> {
  const same = sameShape(a.shape, b.shape);
  const shape = same ? a.shape : broadcastShapes(name, a.shape, b.shape);
  const output = allocateLike(a, shape);
  a.storage.backend.kernels.binary({
    operation: name,
    a: same ? a : broadcastView(a, shape),
    b: same ? b : broadcastView(b, shape),
    output,
  });
  if (recording.tape !== undefined) {
    const rule: BinaryRule = rules[name];
    const saved = rule.saves === "nothing" ? [] : rule.saves === "inputs" ? [a, b] : [a, b, output];
    const shapeA = a.shape;
    const shapeB = b.shape;
    record(name, [a, b], output, saved, ([gradient], [savedA, savedB, savedOutput], needs) => [
      needs(0) && rule.gradientA ? sumToShape(rule.gradientA(gradient!, savedA!, savedB!, savedOutput!), shapeA) : undefined,
      needs(1) && rule.gradientB ? sumToShape(rule.gradientB(gradient!, savedA!, savedB!, savedOutput!), shapeB) : undefined,
    ]);
  }
  return output;
}

function withScalar<Device extends DeviceName>(
  name: BinaryOperation,
  input: Tensor<Device>,
  scalar: number,
  reversed: boolean,
): Tensor<Device> {
  const floats = isFloating(input.dtype) || (rules[name] as BinaryRule).floats === true || !isInt32(scalar);
  const a = asDtype(input, floats ? "float32" : "int32");
  const output = allocateLike(a);
  a.storage.backend.kernels.binaryScalar({ operation: name, a, scalar, reversed, output });
  if (recording.tape !== undefined) {
    const rule: BinaryRule = rules[name];
    record(name, [a], output, rule.saves === "nothing" ? [] : [a, output], ([gradient], [savedA, savedOutput]) => {
      if (name === "add" || (name === "subtract" && !reversed)) return [gradient];
      if (name === "multiply") return [scalarRaw("multiply", gradient!, scalar)];
      if (name === "divide" && !reversed) return [scalarRaw("divide", gradient!, scalar)];
      if (name === "subtract") return [unaryRaw("negative", gradient!)];
      const constant = fillLike({ shape: [], dtype: "float32", backend: gradient!.storage.backend }, scalar);
      const result = reversed
        ? rule.gradientB?.(gradient!, constant, savedA!, savedOutput!)
        : rule.gradientA?.(gradient!, savedA!, constant, savedOutput!);
      return [result];
    });
  }
  release(a, input);
  return input.dtype === "float16" ? narrowed(output) : output;
}

/** a + b, broadcasting. */
export function add<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("add", a, b);
}

/** a - b, broadcasting. */
export function subtract<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("subtract", a, b);
}

/** a · b element by element, broadcasting. */
export function multiply<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("multiply", a, b);
}

/** a / b, broadcasting; integers give float32. */
export function divide<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("divide", a, b);
}

/** a to the power b, broadcasting; integers give float32. */
export function power<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("power", a, b);
}

/** The larger of a and b, broadcasting; NaN wins. */
export function maximum<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("maximum", a, b);
}

/** The smaller of a and b, broadcasting; NaN wins. */
export function minimum<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("minimum", a, b);
}

/** a modulo b with the sign of b (Python's `%`), broadcasting. */
export function remainder<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("remainder", a, b);
}

/** The angle of the point (b, a), broadcasting; integers give float32. */
export function atan2<A extends DeviceName, B extends DeviceName>(a: Operand<A>, b: Operand<B>): Tensor<A & B> {
  return binary("atan2", a, b);
}

/** Limits values to [low, high]. */
export function clamp<Device extends DeviceName>(input: Tensor<Device>, low: number, high: number): Tensor<Device> {
  const raised = maximum(input, low);
  const output = minimum(raised, high);
  raised.dispose();
  return output;
}
