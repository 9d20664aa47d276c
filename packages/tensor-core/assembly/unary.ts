/**
 * Functions of one array, their derivatives, and predicates. One kernel with an operation number each: the places of the names in
 * `src/backend/wasm/elementwise.ts`. Frequent operations have a loop of their own, with the operation a constant of the inlined body.
 */
import { circularF32x4, COSINE, SINE, TANGENT } from "./circular";
import { INFINITY, MINUS_HALF, ONE, SIGN_BIT, TWO_OVER_SQRT_PI } from "./constants";
import {
  erfF32x4, expF32x4, expm1F32x4, geluDerivativeF32x4, geluF32x4, geluTanhDerivativeF32x4, geluTanhF32x4, loadPartial, log1pF32x4, logF32x4,
  reluF32x4,
  sigmoidF32x4, siluDerivativeF32x4, siluF32x4, softplusF32x4, storeBooleans, storePartial, tanhF32x4,
} from "./math";

const NEGATIVE: i32 = 0;
const ABSOLUTE: i32 = 1;
const SIGN: i32 = 2;
const EXP: i32 = 3;
const EXPM1: i32 = 4;
const LOG: i32 = 5;
const LOG1P: i32 = 6;
const SQRT: i32 = 7;
const RSQRT: i32 = 8;
const RECIPROCAL: i32 = 9;
const SQUARE: i32 = 10;
const SIN: i32 = 11;
const COS: i32 = 12;
const TAN: i32 = 13;
const TANH: i32 = 14;
const ERF: i32 = 15;
const SIGMOID: i32 = 16;
const RELU: i32 = 17;
const SILU: i32 = 18;
const GELU: i32 = 19;
const GELU_TANH: i32 = 20;
const SOFTPLUS: i32 = 21;
const FLOOR: i32 = 22;
const CEIL: i32 = 23;
const ROUND: i32 = 24;
const TRUNC: i32 = 25;

function circular(x: v128, kind: i32): v128 {
  return circularF32x4(x, kind);
}

// @ts-ignore: decorator
@inline
function signF32x4(x: v128): v128 {
  // ±0 and NaN are their own sign.
  return v128.bitselect(v128.or(ONE, v128.and(x, SIGN_BIT)), x, f32x4.gt(f32x4.abs(x), f32x4.splat(0.0)));
}

/** Any operation on one vector; with a constant operation only that branch is compiled. */
// @ts-ignore: decorator
@inline
function applyUnary(operation: i32, x: v128): v128 {
  switch (operation) {
    case NEGATIVE: return f32x4.neg(x);
    case ABSOLUTE: return f32x4.abs(x);
    case SIGN: return signF32x4(x);
    case EXP: return expF32x4(x);
    case EXPM1: return expm1F32x4(x);
    case LOG: return logF32x4(x);
    case LOG1P: return log1pF32x4(x);
    case SQRT: return f32x4.sqrt(x);
    case RSQRT: return f32x4.div(ONE, f32x4.sqrt(x));
    case RECIPROCAL: return f32x4.div(ONE, x);
    case SQUARE: return f32x4.mul(x, x);
    case SIN: return circular(x, SINE);
    case COS: return circular(x, COSINE);
    case TAN: return circular(x, TANGENT);
    case TANH: return tanhF32x4(x);
    case ERF: return erfF32x4(x);
    case SIGMOID: return sigmoidF32x4(x);
    case RELU: return reluF32x4(x);
    case SILU: return siluF32x4(x);
    case GELU: return geluF32x4(x);
    case GELU_TANH: return geluTanhF32x4(x);
    case SOFTPLUS: return softplusF32x4(x);
    case FLOOR: return f32x4.floor(x);
    case CEIL: return f32x4.ceil(x);
    case ROUND: return f32x4.nearest(x);
    default: return f32x4.trunc(x);
  }
}

/** The loop over whole vectors, or groups of four of them with `unroll`. */
// @ts-ignore: decorator
@inline
function mapUnary(operation: i32, unroll: bool, input: usize, output: usize, count: i32): void {
  if (unroll) {
    for (; count >= 16; count -= 16) {
      v128.store(output, applyUnary(operation, v128.load(input)));
      v128.store(output, applyUnary(operation, v128.load(input, 16)), 16);
      v128.store(output, applyUnary(operation, v128.load(input, 32)), 32);
      v128.store(output, applyUnary(operation, v128.load(input, 48)), 48);
      input += 64;
      output += 64;
    }
  }
  for (; count >= 4; count -= 4) {
    v128.store(output, applyUnary(operation, v128.load(input)));
    input += 16;
    output += 16;
  }
}

/** output[i] = operation(input[i]), contiguous; output may be the input. Granularity 4. Scratch: 16 bytes, for the last, partial vector. */
export function unaryF32(operation: i32, input: usize, output: usize, scratch: usize, begin: i32, end: i32): void {
  input += <usize>begin << 2;
  output += <usize>begin << 2;
  const count = end - begin;
  switch (operation) {
    case NEGATIVE: mapUnary(NEGATIVE, true, input, output, count); break;
    case ABSOLUTE: mapUnary(ABSOLUTE, true, input, output, count); break;
    case SIGN: mapUnary(SIGN, false, input, output, count); break;
    case EXP: mapUnary(EXP, false, input, output, count); break;
    case EXPM1: mapUnary(EXPM1, false, input, output, count); break;
    case LOG: mapUnary(LOG, false, input, output, count); break;
    case LOG1P: mapUnary(LOG1P, false, input, output, count); break;
    case SQRT: mapUnary(SQRT, false, input, output, count); break;
    case RSQRT: mapUnary(RSQRT, false, input, output, count); break;
    case RECIPROCAL: mapUnary(RECIPROCAL, false, input, output, count); break;
    case SQUARE: mapUnary(SQUARE, true, input, output, count); break;
    case SIN: mapUnary(SIN, false, input, output, count); break;
    case COS: mapUnary(COS, false, input, output, count); break;
    case TAN: mapUnary(TAN, false, input, output, count); break;
    case TANH: mapUnary(TANH, false, input, output, count); break;
    case ERF: mapUnary(ERF, false, input, output, count); break;
    case SIGMOID: mapUnary(SIGMOID, false, input, output, count); break;
    case RELU: mapUnary(RELU, true, input, output, count); break;
    case SILU: mapUnary(SILU, false, input, output, count); break;
    case GELU: mapUnary(GELU, false, input, output, count); break;
    case GELU_TANH: mapUnary(GELU_TANH, false, input, output, count); break;
    case SOFTPLUS: mapUnary(SOFTPLUS, false, input, output, count); break;
    case FLOOR: mapUnary(FLOOR, false, input, output, count); break;
    case CEIL: mapUnary(CEIL, false, input, output, count); break;
    case ROUND: mapUnary(ROUND, false, input, output, count); break;
    case TRUNC: mapUnary(TRUNC, false, input, output, count); break;
  }
  const rest = count & 3;
  if (rest) {
    const done = <usize>(count - rest) << 2;
    v128.store(scratch, loadPartial(input + done, rest));
    unaryF32(operation, scratch, scratch, scratch, 0, 4);
    storePartial(output + done, v128.load(scratch), rest);
  }
}

/** `negative`, `absolute`, `sign`, `square` and `relu` of int32; arithmetic wraps. Output may be the input. Granularity 4. */
export function unaryI32(operation: i32, input: usize, output: usize, begin: i32, end: i32): void {
  input += <usize>begin << 2;
  output += <usize>begin << 2;
  for (let rest = end - begin; rest > 0; rest -= 4) {
    const x = rest >= 4 ? v128.load(input) : loadPartial(input, rest);
    let y = x;
    switch (operation) {
      case NEGATIVE: y = i32x4.neg(x); break;
      case ABSOLUTE: y = i32x4.abs(x); break;
      case SIGN: y = i32x4.sub(i32x4.shr_s(x, 31), i32x4.gt_s(x, i32x4.splat(0))); break;
      case SQUARE: y = i32x4.mul(x, x); break;
      case RELU: y = i32x4.max_s(x, i32x4.splat(0)); break;
    }
    if (rest >= 4) v128.store(output, y);
    else storePartial(output, y, rest);
    input += 16;
    output += 16;
  }
}

// @ts-ignore: decorator
@inline
function applyGradient(operation: i32, g: v128, x: v128, y: v128): v128 {
  switch (operation) {
    case NEGATIVE: return f32x4.neg(g);
    case ABSOLUTE: return f32x4.mul(g, signF32x4(x));
    case EXP: return f32x4.mul(g, y);
    case EXPM1: return f32x4.mul(g, f32x4.add(y, ONE));
    case LOG: return f32x4.div(g, x);
    case LOG1P: return f32x4.div(g, f32x4.add(x, ONE));
    case SQRT: return f32x4.div(g, f32x4.add(y, y));
    case RSQRT: return f32x4.mul(f32x4.mul(g, MINUS_HALF), f32x4.div(y, x));
    case RECIPROCAL: return f32x4.neg(f32x4.mul(g, f32x4.mul(y, y)));
    case SQUARE: return f32x4.mul(g, f32x4.add(x, x));
    case SIN: return f32x4.mul(g, circular(x, COSINE));
    case COS: return f32x4.neg(f32x4.mul(g, circular(x, SINE)));
    case TAN: return f32x4.mul(g, f32x4.add(f32x4.mul(y, y), ONE));
    // 1 - y² would lose the small difference that is left near ±1.
    case TANH: return f32x4.mul(g, f32x4.mul(f32x4.sub(ONE, y), f32x4.add(ONE, y)));
    case ERF: return f32x4.mul(g, f32x4.mul(TWO_OVER_SQRT_PI, expF32x4(f32x4.neg(f32x4.mul(x, x)))));
    case SIGMOID: return f32x4.mul(g, f32x4.mul(y, f32x4.sub(ONE, y)));
    case RELU: return v128.and(g, f32x4.gt(x, f32x4.splat(0.0)));
    case SILU: return f32x4.mul(g, siluDerivativeF32x4(x));
    case GELU: return f32x4.mul(g, geluDerivativeF32x4(x));
    case GELU_TANH: return f32x4.mul(g, geluTanhDerivativeF32x4(x));
    case SOFTPLUS: return f32x4.mul(g, sigmoidF32x4(x));
    default: return f32x4.splat(0.0); // piecewise constant
  }
}

/** result = gradient * operation'(input), given output = operation(input). Granularity 4. Scratch: 48 bytes. */
export function unaryGradientF32(
  operation: i32, gradient: usize, input: usize, output: usize, result: usize, scratch: usize, begin: i32, end: i32,
): void {
  const start = <usize>begin << 2;
  gradient += start;
  input += start;
  output += start;
  result += start;
  const count = end - begin;
  for (let left = count; left >= 4; left -= 4) {
    v128.store(result, applyGradient(operation, v128.load(gradient), v128.load(input), v128.load(output)));
    gradient += 16;
    input += 16;
    output += 16;
    result += 16;
  }
  const rest = count & 3;
  if (rest) {
    v128.store(scratch, loadPartial(gradient, rest));
    v128.store(scratch, loadPartial(input, rest), 16);
    v128.store(scratch, loadPartial(output, rest), 32);
    unaryGradientF32(operation, scratch, scratch + 16, scratch + 32, scratch, scratch, 0, 4);
    storePartial(result, v128.load(scratch), rest);
  }
}

const IS_NAN: i32 = 0;
const IS_FINITE: i32 = 1;

/** output[i] = 0 or 1, a byte: isNaN (0), isFinite (1) or == 0 (2) of contiguous input; `integer`: int32. Granularity 64. */
export function predicate(operation: i32, integer: i32, input: usize, output: usize, begin: i32, end: i32): void {
  input += <usize>begin << 2;
  output += <usize>begin;
  for (let rest = end - begin; rest > 0; rest -= 4) {
    const x = rest >= 4 ? v128.load(input) : loadPartial(input, rest);
    const zero = f32x4.splat(0.0);
    let mask: v128;
    if (operation == IS_NAN) mask = integer ? zero : f32x4.ne(x, x);
    else if (operation == IS_FINITE) mask = integer ? i32x4.splat(-1) : f32x4.lt(f32x4.abs(x), INFINITY);
    else mask = integer ? i32x4.eq(x, zero) : f32x4.eq(x, zero);
    storeBooleans(output, mask, rest);
    input += 16;
    output += 4;
  }
}
