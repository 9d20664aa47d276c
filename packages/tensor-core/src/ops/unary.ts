import type { DeviceName, UnaryOperation, UnaryPredicate } from "../backend/backend.ts";
import { record, recording } from "../autograd/tape.ts";
import { isFloating } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { allocateLike, release } from "./dispatch.ts";
import { asContiguous, asDtype, clone, fillLike } from "./materialize.ts";

/** Defined on int32 as well. */
const integerOperations: ReadonlySet<UnaryOperation> = new Set(["negative", "absolute", "sign", "square", "relu"]);
/** The identity on integers. */
const roundings: ReadonlySet<UnaryOperation> = new Set(["floor", "ceil", "round", "trunc"]);
/** Derivative 0 wherever it exists. */
const constants: ReadonlySet<UnaryOperation> = new Set(["floor", "ceil", "round", "trunc", "sign"]);

function unary<Device extends DeviceName>(operation: UnaryOperation, input: Tensor<Device>): Tensor<Device> {
  const floating = isFloating(input.dtype);
  if (!floating && roundings.has(operation)) return clone(input);
  const source = input.dtype === "float32" ? input : asDtype(input, floating || !integerOperations.has(operation) ? "float32" : "int32");
  const output = allocateLike(source);
  source.storage.backend.kernels.unary({ operation, input: source, output });
  if (recording.tape !== undefined) {
    record(operation, [source], output, constants.has(operation) ? [] : [source, output], ([gradient], [savedInput, savedOutput]) => {
      if (constants.has(operation)) return [fillLike({ shape: gradient!.shape, dtype: "float32", backend: gradient!.storage.backend }, 0)];
      const result = allocateLike(gradient!);
      gradient!.storage.backend.kernels.unaryGradient({
        operation,
        gradient: asContiguous(gradient!),
        input: asContiguous(savedInput!),
        output: savedOutput!,
        result,
      });
      return [result];
    });
  }
  release(source, input);
  if (input.dtype !== "float16") return output;
  const result = asDtype(output, "float16");
  output.dispose();
  return result;
}

function predicate<Device extends DeviceName>(operation: UnaryPredicate, input: Tensor<Device>): Tensor<Device> {
  const source =
    input.dtype === "float32" || input.dtype === "int32" ? input : asDtype(input, isFloating(input.dtype) ? "float32" : "int32");
  const output = allocateLike(source, source.shape, "bool");
  source.storage.backend.kernels.predicate({ operation, input: source, output });
  release(source, input);
  return output;
}

/** -x. */
export function negative<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("negative", input);
}

/** |x|. */
export function absolute<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("absolute", input);
}

/** -1, 0 or 1. */
export function sign<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("sign", input);
}

/** e^x. */
export function exp<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("exp", input);
}

/** e^x - 1, exact near 0. */
export function expm1<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("expm1", input);
}

/** Natural logarithm. */
export function log<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("log", input);
}

/** log(1 + x), exact near 0. */
export function log1p<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("log1p", input);
}

/** Square root. */
export function sqrt<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("sqrt", input);
}

/** 1 / sqrt(x). */
export function rsqrt<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("rsqrt", input);
}

/** 1 / x. */
export function reciprocal<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("reciprocal", input);
}

/** x². */
export function square<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("square", input);
}

/** Sine of radians. */
export function sin<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("sin", input);
}

/** Cosine of radians. */
export function cos<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("cos", input);
}

/** Tangent of radians. */
export function tan<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("tan", input);
}

/** Hyperbolic tangent. */
export function tanh<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("tanh", input);
}

/** Error function. */
export function erf<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("erf", input);
}

/** 1 / (1 + e^-x). */
export function sigmoid<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("sigmoid", input);
}

/** max(x, 0). */
export function relu<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("relu", input);
}

/** x · sigmoid(x) (also called swish). */
export function silu<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("silu", input);
}

/** x · Φ(x), with the error function. */
export function gelu<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("gelu", input);
}

/** The tanh approximation of GELU (Hendrycks & Gimpel 2016). */
export function geluTanh<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("geluTanh", input);
}

/** log(1 + e^x), without overflow. */
export function softplus<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("softplus", input);
}

/** Largest integer not above x. */
export function floor<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("floor", input);
}

/** Smallest integer not below x. */
export function ceil<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("ceil", input);
}

/** Nearest integer, ties to even. */
export function round<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("round", input);
}

/** Integer part, toward 0. */
export function trunc<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return unary("trunc", input);
}

/** Where x is not a number, as bool. */
export function isNaN<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return predicate("isNaN", input);
}

/** Where x is neither infinite nor NaN, as bool. */
export function isFinite<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return predicate("isFinite", input);
}

/** Where x is 0, as bool. */
export function logicalNot<Device extends DeviceName>(input: Tensor<Device>): Tensor<Device> {
  return predicate("logicalNot", input);
}
