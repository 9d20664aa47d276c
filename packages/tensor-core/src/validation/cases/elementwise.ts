import * as draw from "../arbitrary.ts";
import type { BinaryOperation, CompareOperation, UnaryOperation, UnaryPredicate } from "../../backend/backend.ts";
import { unaryFunctions } from "../../backend/reference/functions.ts";
import type { Dtype } from "../../tensor/dtype.ts";
import { denseLayouts, layouts, seeds, shapes } from "../arbitraries.ts";
import { exact, within, type KernelTests, type Tolerance } from "../kernel-test.ts";
import { outputSpec, tensorSpec } from "../tensor-spec.ts";
import { choices, integers, normals, specialFloats, specialIntegers, sprinkled, uniforms, type Filler } from "../values.ts";

const unaryOperations = Object.keys(unaryFunctions) as UnaryOperation[];
const integerUnaryOperations: readonly UnaryOperation[] = ["negative", "absolute", "sign", "square", "relu"];
const exactUnaryOperations: readonly UnaryOperation[] = [
  "negative",
  "absolute",
  "sign",
  "relu",
  "square",
  "sqrt",
  "reciprocal",
  "floor",
  "ceil",
  "round",
  "trunc",
];
const binaryOperations: readonly BinaryOperation[] = [
  "add",
  "subtract",
  "multiply",
  "divide",
  "power",
  "maximum",
  "minimum",
  "remainder",
  "atan2",
];
const predicates: readonly UnaryPredicate[] = ["isNaN", "isFinite", "logicalNot"];
const comparisons: readonly CompareOperation[] = [
  "equal",
  "notEqual",
  "less",
  "lessEqual",
  "greater",
  "greaterEqual",
  "logicalAnd",
  "logicalOr",
  "logicalXor",
];

/** Where the sine of a float32 still means something: far out, one rounding step spans the period. */
const trigonometric: readonly number[] = [0, -0, 1e-6, -1e-6, Math.PI / 2, Math.PI, -3, 20, -20, 99.5, NaN, Infinity, -Infinity];
const noOverflow: readonly number[] = [0, 1, -1, 0.5, -0.5, 3, -8, 12, -20];

function argumentsOf(operation: UnaryOperation, seed: number): Filler {
  const isTrigonometric = operation === "sin" || operation === "cos" || operation === "tan";
  return sprinkled(seed, normals(seed, 0, seed % 2 ? 2 : 20), isTrigonometric ? trigonometric : specialFloats);
}

function unaryTolerance(operation: UnaryOperation): Tolerance {
  if (exactUnaryOperations.includes(operation)) return { absolute: 0, relative: 1.3e-7 };
  if (operation === "tan") return { absolute: 2e-6, relative: 2e-5 };
  return { absolute: 2e-6, relative: 2e-6 };
}

/** Every pair of these has a power that C99 defines. */
const powers: readonly number[] = [0, -0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 1e30, 1e-30, Infinity, -Infinity, NaN];

/** Pairs of arguments that the operation is defined for and well conditioned at. */
function operandsOf(operation: BinaryOperation, dtype: Dtype, seed: number): readonly [Filler, Filler] {
  if (dtype === "int32") {
    const any = sprinkled(seed, integers(seed, -1000, 1000), specialIntegers);
    if (operation === "power") return [any, integers(seed + 9, -3, 33)];
    if (operation === "divide" || operation === "remainder") return [any, choices(seed + 9, [0, 1, 2, 3, -2, -7, 31, -1])];
    return [any, sprinkled(seed + 9, integers(seed + 9, -1000, 1000), specialIntegers)];
  }
  if (operation === "power") {
    return seed % 2 ? [uniforms(seed, 0.01, 9), normals(seed + 9, 0, 3)] : [choices(seed, powers), choices(seed + 9, powers)];
  }
  // Multiples of 1/4: a floor of the quotient is exact, however it is computed.
  if (operation === "remainder")
    return [(i) => integers(seed, -400, 400)(i) / 4, (i) => choices(seed + 9, [0.25, 0.75, 1, 3, -1.25, -7])(i)];
  const usual = normals(seed, 0, 3);
  return [sprinkled(seed, usual, specialFloats), sprinkled(seed + 9, normals(seed + 9, 0, 3), specialFloats)];
}

function binaryTolerance(operation: BinaryOperation): Tolerance {
  if (operation === "power") return { absolute: 1e-7, relative: 1e-5 };
  if (operation === "atan2") return { absolute: 1e-6, relative: 2e-6 };
  return { absolute: 0, relative: 1.3e-7 };
}

function numbersOf(dtype: Dtype, seed: number): Filler {
  if (dtype === "bool") return integers(seed, 0, 1);
  if (dtype === "int32") return choices(seed, specialIntegers);
  return choices(seed, [...specialFloats, 0, 1, 2]);
}

const numericDtypes = draw.constantFrom<Dtype>("float32", "float32", "int32");

/** Tests of element-wise kernels. */
export const elementwiseTests: KernelTests<
  "unary" | "unaryGradient" | "predicate" | "binary" | "binaryScalar" | "compare" | "where" | "addScaled"
> = {
  unary: {
    outputs: ["output"],
    tolerance: ({ operation }) => unaryTolerance(operation),
    cases: draw
      .record({
        shape: shapes(),
        operation: draw.constantFrom(...unaryOperations),
        integer: draw.boolean(),
        input: layouts(),
        output: denseLayouts,
        seed: seeds,
      })
      .map(({ shape, operation, integer, input, output, seed }) => {
        const dtype = integer && integerUnaryOperations.includes(operation) ? "int32" : "float32";
        const fill = dtype === "int32" ? numbersOf(dtype, seed) : argumentsOf(operation, seed);
        return { operation, input: tensorSpec(dtype, shape, fill, input), output: outputSpec(dtype, shape, output) };
      }),
  },

  unaryGradient: {
    outputs: ["result"],
    tolerance: ({ operation }) => (operation === "tan" ? { absolute: 1e-4, relative: 1e-4 } : { absolute: 2e-5, relative: 2e-5 }),
    cases: draw
      .record({ shape: shapes(), operation: draw.constantFrom(...unaryOperations), layout: denseLayouts, seed: seeds })
      .map(({ shape, operation, layout, seed }) => {
        const rooted =
          operation === "log" || operation === "sqrt" || operation === "rsqrt" || operation === "log1p" || operation === "reciprocal";
        const fill = rooted ? uniforms(seed, 0.05, 9) : sprinkled(seed, normals(seed, 0, 2), operation === "tan" ? [0, 0.5] : noOverflow);
        const x: Filler = (i) => Math.fround(fill(i));
        return {
          operation,
          gradient: tensorSpec("float32", shape, normals(seed + 3), layout),
          input: tensorSpec("float32", shape, x, layout),
          output: tensorSpec("float32", shape, (i) => unaryFunctions[operation](x(i)), layout),
          result: outputSpec("float32", shape, layout),
        };
      }),
  },

  predicate: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({
        shape: shapes(),
        operation: draw.constantFrom(...predicates),
        dtype: numericDtypes,
        input: layouts(),
        output: denseLayouts,
        seed: seeds,
      })
      .map(({ shape, operation, dtype, input, output, seed }) => ({
        operation,
        input: tensorSpec(dtype, shape, numbersOf(dtype, seed), input),
        output: outputSpec("bool", shape, output),
      })),
  },

  binary: {
    outputs: ["output"],
    tolerance: ({ operation }) => binaryTolerance(operation),
    cases: draw
      .record({
        shape: shapes(),
        operation: draw.constantFrom(...binaryOperations),
        dtype: numericDtypes,
        a: layouts(),
        b: layouts(),
        output: denseLayouts,
        seed: seeds,
      })
      .filter(({ operation, dtype }) => !(operation === "atan2" && dtype === "int32"))
      .map(({ shape, operation, dtype, a, b, output, seed }) => {
        const [left, right] = operandsOf(operation, dtype, seed);
        return {
          operation,
          a: tensorSpec(dtype, shape, left, a),
          b: tensorSpec(dtype, shape, right, b),
          output: outputSpec(dtype, shape, output),
        };
      }),
  },

  binaryScalar: {
    outputs: ["output"],
    tolerance: ({ operation }) => binaryTolerance(operation),
    cases: draw
      .record({
        shape: shapes(),
        operation: draw.constantFrom(...binaryOperations),
        dtype: numericDtypes,
        reversed: draw.boolean(),
        a: layouts(),
        output: denseLayouts,
        seed: seeds,
      })
      .filter(({ operation, dtype }) => !(operation === "atan2" && dtype === "int32"))
      .map(({ shape, operation, dtype, reversed, a, output, seed }) => {
        const [left, right] = operandsOf(operation, dtype, seed);
        const scalar = (reversed ? left : right)(0);
        return {
          operation,
          a: tensorSpec(dtype, shape, reversed ? right : left, a),
          scalar: dtype === "int32" ? scalar : Math.fround(scalar),
          reversed,
          output: outputSpec(dtype, shape, output),
        };
      }),
  },

  compare: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({
        shape: shapes(),
        operation: draw.constantFrom(...comparisons),
        dtype: draw.constantFrom<Dtype>("float32", "int32", "bool"),
        a: layouts(),
        b: layouts(),
        output: denseLayouts,
        seed: seeds,
      })
      .map(({ shape, operation, dtype, a, b, output, seed }) => ({
        operation,
        a: tensorSpec(dtype, shape, numbersOf(dtype, seed), a),
        b: tensorSpec(dtype, shape, numbersOf(dtype, seed + 7), b),
        output: outputSpec("bool", shape, output),
      })),
  },

  where: {
    outputs: ["output"],
    tolerance: exact,
    cases: draw
      .record({
        shape: shapes(),
        dtype: numericDtypes,
        condition: layouts(),
        a: layouts(),
        b: layouts(),
        output: denseLayouts,
        seed: seeds,
      })
      .map(({ shape, dtype, condition, a, b, output, seed }) => ({
        condition: tensorSpec("bool", shape, integers(seed, 0, 1), condition),
        a: tensorSpec(dtype, shape, numbersOf(dtype, seed + 1), a),
        b: tensorSpec(dtype, shape, numbersOf(dtype, seed + 7), b),
        output: outputSpec(dtype, shape, output),
      })),
  },

  addScaled: {
    outputs: ["output"],
    tolerance: within(1e-6, 1e-6),
    cases: draw
      .record({
        shape: shapes({ maxElements: 20000 }),
        output: denseLayouts,
        input: denseLayouts,
        scale: draw.constantFrom(1, -0.5, 0, 3.25),
        seed: seeds,
      })
      .map(({ shape, output, input, scale, seed }) => ({
        output: tensorSpec("float32", shape, normals(seed), output),
        input: tensorSpec("float32", shape, normals(seed + 3), input),
        scale,
      })),
  },
};
