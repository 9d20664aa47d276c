/** Scalar functions in float64, with derivatives, straight from their definitions. */
import { DtypeError } from "../../errors.ts";
import type { Activation, BinaryOperation, CompareOperation, UnaryOperation, UnaryPredicate } from "../backend.ts";

const twoOverSqrtPi = 2 / Math.sqrt(Math.PI);
const geluCubic = 0.044715;
const geluSlope = Math.sqrt(2 / Math.PI);

/** Complementary error function, relative error about 1e-15 until it underflows. */
export function erfc(x: number): number {
  if (Number.isNaN(x)) return NaN;
  if (x < 2) return 1 - erf(x);
  if (x > 28) return 0;
  // Continued fraction (Abramowitz & Stegun 7.1.14), evaluated from the far end:
  // e^(x²) √π erfc(x) = 1 / (x + (1/2) / (x + 1 / (x + (3/2) / (x + …)))).
  let tail = x;
  for (let n = 120; n >= 1; n--) tail = x + n / 2 / tail;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
}

/** Error function. */
export function erf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  if (x < 0) return -erf(-x);
  if (x >= 2) return 1 - erfc(x);
  // Abramowitz & Stegun 7.1.6: only positive terms, so nothing cancels.
  let term = x;
  let sum = x;
  for (let n = 1; term > sum * 1e-18; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return twoOverSqrtPi * Math.exp(-x * x) * sum;
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** ln(1 + e^x) without overflow. */
export function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** x · sigmoid(x), 0 at -Infinity. */
export function silu(x: number): number {
  return x === -Infinity ? 0 : x * sigmoid(x);
}

/** d silu / dx. */
export function siluDerivative(x: number): number {
  const s = sigmoid(x);
  return s === 0 || s === 1 ? s : s * (1 + x * (1 - s));
}

/** x Φ(x), 0 at -Infinity. */
function gelu(x: number): number {
  return x === -Infinity ? 0 : 0.5 * x * erfc(-x / Math.SQRT2);
}

/** The tanh approximation; (1 + tanh u) / 2 = sigmoid(2u). */
function geluTanh(x: number): number {
  return x === -Infinity ? 0 : x * sigmoid(2 * geluSlope * (x + geluCubic * x ** 3));
}

/** Nearest integer, ties to even, as IEEE 754 and NumPy round; -0.5 gives -0. */
function roundHalfToEven(x: number): number {
  const below = Math.floor(x);
  const fraction = x - below;
  if (Number.isNaN(fraction)) return x; // NaN and infinities
  const up = fraction > 0.5 || (fraction === 0.5 && below % 2 !== 0);
  const rounded = up ? below + 1 : below;
  return rounded === 0 && x < 0 ? -0 : rounded;
}

/** Every element-wise function. */
export const unaryFunctions: Record<UnaryOperation, (x: number) => number> = {
  negative: (x) => -x,
  absolute: Math.abs,
  sign: Math.sign,
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  reciprocal: (x) => 1 / x,
  square: (x) => x * x,
  sin: Math.sin,
  cos: Math.cos,
  tan: Math.tan,
  tanh: Math.tanh,
  erf,
  sigmoid,
  relu: (x) => (x < 0 ? 0 : x),
  silu,
  gelu,
  geluTanh,
  softplus,
  floor: Math.floor,
  ceil: Math.ceil,
  round: roundHalfToEven,
  trunc: Math.trunc,
};

/** Derivatives; where one does not exist (|x| and relu at 0, steps) the value is 0, as PyTorch has it. */
export const unaryDerivatives: Record<UnaryOperation, (x: number) => number> = {
  negative: () => -1,
  absolute: Math.sign,
  sign: () => 0,
  exp: Math.exp,
  expm1: Math.exp,
  log: (x) => 1 / x,
  log1p: (x) => 1 / (1 + x),
  sqrt: (x) => 0.5 / Math.sqrt(x),
  rsqrt: (x) => -0.5 / (x * Math.sqrt(x)),
  reciprocal: (x) => -1 / (x * x),
  square: (x) => 2 * x,
  sin: Math.cos,
  cos: (x) => -Math.sin(x),
  tan: (x) => 1 / Math.cos(x) ** 2,
  tanh: (x) => 1 / Math.cosh(x) ** 2,
  erf: (x) => twoOverSqrtPi * Math.exp(-x * x),
  sigmoid: (x) => sigmoid(x) * sigmoid(-x),
  relu: (x) => (x > 0 ? 1 : 0),
  silu: siluDerivative,
  gelu: (x) =>
    Math.abs(x) === Infinity ? (x > 0 ? 1 : 0) : 0.5 * erfc(-x / Math.SQRT2) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  geluTanh: (x) => {
    if (Math.abs(x) > 1e3) return x > 0 ? 1 : 0;
    const s = sigmoid(2 * geluSlope * (x + geluCubic * x ** 3));
    return s + x * s * (1 - s) * 2 * geluSlope * (1 + 3 * geluCubic * x * x);
  },
  softplus: sigmoid,
  floor: () => 0,
  ceil: () => 0,
  round: () => 0,
  trunc: () => 0,
};

/** Functions that `matmul` applies before storing. */
export const activationFunctions: Record<Activation, (x: number) => number> = {
  relu: unaryFunctions.relu,
  silu,
  gelu,
  geluTanh,
};

/** Predicates, as 0 or 1. */
export const predicateFunctions: Record<UnaryPredicate, (x: number) => number> = {
  isNaN: (x) => Number(Number.isNaN(x)),
  isFinite: (x) => Number(Number.isFinite(x)),
  logicalNot: (x) => Number(x === 0),
};

/** C's pow: 1 to anything is 1, and so is -1 to an infinity; JavaScript says NaN to both. */
function power(a: number, b: number): number {
  if (a === 1 || (a === -1 && Math.abs(b) === Infinity)) return 1;
  return a ** b;
}

/** a mod b with the sign of b. */
function remainder(a: number, b: number): number {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest;
}

/** Functions of two float32 numbers. NaN in gives NaN out, for maximum and minimum too. */
export const binaryFunctions: Record<BinaryOperation, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  power,
  maximum: Math.max,
  minimum: Math.min,
  remainder,
  atan2: Math.atan2,
};

/** Functions of two int32 numbers: results wrap; a zero divisor gives 0; `divide` truncates; a negative power truncates 1 / aⁿ. */
export const integerBinaryFunctions: Record<BinaryOperation, (a: number, b: number) => number> = {
  add: (a, b) => (a + b) | 0,
  subtract: (a, b) => (a - b) | 0,
  multiply: Math.imul,
  divide: (a, b) => (b === 0 ? 0 : Math.trunc(a / b) | 0),
  power: integerPower,
  maximum: Math.max,
  minimum: Math.min,
  remainder: (a, b) => (b === 0 ? 0 : remainder(a, b)),
  atan2: () => {
    throw new DtypeError('atan2 takes float32, not int32; convert with cast("float32")');
  },
};

function integerPower(base: number, exponent: number): number {
  if (exponent < 0) return base === 0 ? 0 : Math.trunc(1 / base ** (exponent & 1 ? 1 : 2));
  let result = 1;
  for (let bit = 31; bit >= 0; bit--) {
    result = Math.imul(result, result);
    if ((exponent >>> bit) & 1) result = Math.imul(result, base);
  }
  return result;
}

/** Comparisons and logic, as 0 or 1; "true" is "not zero". */
export const compareFunctions: Record<CompareOperation, (a: number, b: number) => number> = {
  equal: (a, b) => Number(a === b),
  notEqual: (a, b) => Number(a !== b),
  less: (a, b) => Number(a < b),
  lessEqual: (a, b) => Number(a <= b),
  greater: (a, b) => Number(a > b),
  greaterEqual: (a, b) => Number(a >= b),
  logicalAnd: (a, b) => Number(a !== 0 && b !== 0),
  logicalOr: (a, b) => Number(a !== 0 || b !== 0),
  logicalXor: (a, b) => Number((a !== 0) !== (b !== 0)),
};
