/** The WGSL expression of every element-wise operation of the contract. Operands are expressions that may be used more than once. */
import { DtypeError } from "../../../errors.ts";
import type { BinaryOperation, CompareOperation, UnaryOperation, UnaryPredicate } from "../../backend.ts";
import type { MathFunction } from "./math-function.ts";

/** An expression, and the library functions that it calls (see `mathSource`). */
export interface WgslExpression {
  readonly expression: string;
  readonly needs: readonly MathFunction[];
}

/** Dtypes of arithmetic. In WGSL float32 is f32 and int32 is i32. */
export type ArithmeticDtype = "float32" | "int32";

const plain = (expression: string): WgslExpression => ({ expression, needs: [] });
const call = (name: MathFunction, ...operands: readonly string[]): WgslExpression => ({
  expression: `${name}(${operands.join(", ")})`,
  needs: [name],
});

const floatUnary: Readonly<Record<UnaryOperation, MathFunction>> = {
  negative: "negativeF32",
  absolute: "absoluteF32",
  sign: "signF32",
  exp: "expF32",
  expm1: "expm1F32",
  log: "logF32",
  log1p: "log1pF32",
  sqrt: "sqrtF32",
  rsqrt: "rsqrtF32",
  reciprocal: "reciprocalF32",
  square: "squareF32",
  sin: "sinF32",
  cos: "cosF32",
  tan: "tanF32",
  tanh: "tanhF32",
  erf: "erfF32",
  sigmoid: "sigmoidF32",
  relu: "reluF32",
  silu: "siluF32",
  gelu: "geluF32",
  geluTanh: "geluTanhF32",
  softplus: "softplusF32",
  floor: "floorF32",
  ceil: "ceilF32",
  round: "roundF32",
  trunc: "truncF32",
};

/** operation(x). @throws DtypeError for a function of floats only, when asked for int32 */
export function unaryExpression(operation: UnaryOperation, dtype: ArithmeticDtype, x: string): WgslExpression {
  if (dtype === "float32") return call(floatUnary[operation], x);
  switch (operation) {
    case "negative":
      return plain(`(-(${x}))`);
    case "absolute":
      return plain(`abs(${x})`);
    case "sign":
      return plain(`sign(${x})`);
    case "square":
      return call("squareI32", x);
    case "relu":
      return plain(`max(${x}, 0)`);
    default:
      throw new DtypeError(`unary: ${operation} takes float32, not int32; convert with cast("float32")`);
  }
}

/** gradient * operation'(input), given output = operation(input); all float32. Piecewise constant functions have gradient 0. */
export function unaryGradientExpression(operation: UnaryOperation, gradient: string, input: string, output: string): WgslExpression {
  const [g, x, y] = [gradient, input, output];
  const times = (name: MathFunction): WgslExpression => ({ expression: `(${g} * ${name}(${x}))`, needs: [name] });
  switch (operation) {
    case "negative":
      return call("negativeF32", g);
    case "absolute":
      return times("signF32");
    case "exp":
      return plain(`(${g} * ${y})`);
    case "expm1":
      return plain(`(${g} * (${y} + 1.0))`);
    case "log":
      return call("divideF32", g, x);
    case "log1p":
      return call("divideF32", g, `${x} + 1.0`);
    case "sqrt":
      return call("divideF32", g, `${y} + ${y}`);
    case "rsqrt":
      return { expression: `(-0.5 * ${g} * divideF32(${y}, ${x}))`, needs: ["divideF32"] };
    case "reciprocal":
      return plain(`(-${g} * (${y} * ${y}))`);
    case "square":
      return plain(`(${g} * (${x} + ${x}))`);
    case "sin":
      return times("cosF32");
    case "cos":
      return { expression: `(-${g} * sinF32(${x}))`, needs: ["sinF32"] };
    case "tan":
      return plain(`(${g} * (${y} * ${y} + 1.0))`);
    case "tanh":
      // 1 - y² would lose the small difference that is left near ±1.
      return plain(`(${g} * ((1.0 - ${y}) * (1.0 + ${y})))`);
    case "erf":
      return times("erfDerivative");
    case "sigmoid":
      return plain(`(${g} * (${y} * (1.0 - ${y})))`);
    case "relu":
      return { expression: `select(0.0, ${g}, isPositive(${x}))`, needs: ["isPositive"] };
    case "silu":
      return times("siluDerivative");
    case "gelu":
      return times("geluDerivative");
    case "geluTanh":
      return times("geluTanhDerivative");
    case "softplus":
      return times("sigmoidF32");
    case "sign":
    case "floor":
    case "ceil":
    case "round":
    case "trunc":
      return plain("0.0");
  }
}

/** operation(x) as a u32, 0 or 1. */
export function predicateExpression(operation: UnaryPredicate, dtype: ArithmeticDtype, x: string): WgslExpression {
  if (dtype === "int32") return plain(operation === "isNaN" ? "0u" : operation === "isFinite" ? "1u" : `u32(${x} == 0)`);
  const test = { isNaN: "isNan", isFinite: "isFiniteNumber", logicalNot: "isNonZero" } as const;
  const name = test[operation];
  return { expression: `u32(${operation === "logicalNot" ? "!" : ""}${name}(${x}))`, needs: [name] };
}

/** a ∘ b, of the operands' type. @throws DtypeError for atan2 of int32 */
export function binaryExpression(operation: BinaryOperation, dtype: ArithmeticDtype, a: string, b: string): WgslExpression {
  const isFloat = dtype === "float32";
  switch (operation) {
    case "add":
      return plain(`(${a} + ${b})`);
    case "subtract":
      return plain(`(${a} - ${b})`);
    case "multiply":
      return isFloat ? call("multiplyF32", a, b) : plain(`(${a} * ${b})`);
    case "divide":
      return call(isFloat ? "divideF32" : "divideI32", a, b);
    case "power":
      return call(isFloat ? "powerF32" : "powerI32", a, b);
    case "remainder":
      return call(isFloat ? "remainderF32" : "remainderI32", a, b);
    case "maximum":
      return isFloat ? call("maximumF32", a, b) : plain(`max(${a}, ${b})`);
    case "minimum":
      return isFloat ? call("minimumF32", a, b) : plain(`min(${a}, ${b})`);
    case "atan2":
      if (!isFloat) throw new DtypeError('binary: atan2 takes float32, not int32; convert with cast("float32")');
      return call("atan2F32", a, b);
  }
}

const comparisons: Readonly<Record<"equal" | "notEqual" | "less" | "lessEqual" | "greater" | "greaterEqual", string>> = {
  equal: "==",
  notEqual: "!=",
  less: "<",
  lessEqual: "<=",
  greater: ">",
  greaterEqual: ">=",
};

/** a ∘ b as a u32, 0 or 1; bool operands are u32, 0 or 1. With NaN only `notEqual` holds, and NaN counts as true. */
export function compareExpression(operation: CompareOperation, dtype: ArithmeticDtype | "bool", a: string, b: string): WgslExpression {
  if (operation === "logicalAnd" || operation === "logicalOr" || operation === "logicalXor") {
    const join = operation === "logicalAnd" ? "&" : operation === "logicalOr" ? "|" : "!=";
    if (dtype === "float32") return { expression: `u32(isNonZero(${a}) ${join} isNonZero(${b}))`, needs: ["isNonZero"] };
    return plain(`u32((${a} != 0) ${join} (${b} != 0))`);
  }
  if (dtype !== "float32") return plain(`u32(${a} ${comparisons[operation]} ${b})`);
  const test = (name: MathFunction, left: string, right: string, not = ""): WgslExpression => ({
    expression: `u32(${not}${name}(${left}, ${right}))`,
    needs: [name],
  });
  switch (operation) {
    case "equal":
      return test("equalF32", a, b);
    case "notEqual":
      return test("equalF32", a, b, "!");
    case "less":
      return test("lessF32", a, b);
    case "lessEqual":
      return test("lessEqualF32", a, b);
    case "greater":
      return test("lessF32", b, a);
    case "greaterEqual":
      return test("lessEqualF32", b, a);
  }
}
