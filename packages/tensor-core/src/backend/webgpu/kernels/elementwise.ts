import type { Kernels, TensorView } from "../../backend.ts";
import { f32 } from "../program.ts";
import { ElementwiseFusion, scalarOf } from "../fusion.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import {
  binaryExpression,
  compareExpression,
  predicateExpression,
  unaryExpression,
  unaryGradientExpression,
  type ArithmeticDtype,
} from "../wgsl/expressions.ts";

/** Functions of one element each: steps of fused chains. */
export function elementwiseKernels(
  runtime: WebGpuRuntime,
): Pick<Kernels, "unary" | "unaryGradient" | "predicate" | "binary" | "binaryScalar" | "compare" | "where" | "addScaled"> {
  const fusion = new ElementwiseFusion(runtime);
  runtime.deferred = fusion;
  return {
    unary: ({ operation, input, output }) =>
      fusion.add({ operation, operands: [input], output, expression: ([x]) => unaryExpression(operation, arithmetic(input), x!) }),

    unaryGradient: ({ operation, gradient, input, output, result }) =>
      fusion.add({
        operation: `${operation} gradient`,
        operands: [gradient, input, output],
        output: result,
        expression: ([g, x, y]) => unaryGradientExpression(operation, g!, x!, y!),
      }),

    predicate: ({ operation, input, output }) =>
      fusion.add({
        operation: `${operation} ${input.dtype}`,
        operands: [input],
        output,
        expression: ([x]) => predicateExpression(operation, arithmetic(input), x!),
      }),

    binary: ({ operation, a, b, output }) =>
      fusion.add({ operation, operands: [a, b], output, expression: ([x, y]) => binaryExpression(operation, arithmetic(a), x!, y!) }),

    binaryScalar: ({ operation, a, scalar, reversed, output }) =>
      fusion.add({
        operation: `${operation} ${reversed ? "number first" : "number"}`,
        operands: [a],
        scalars: [scalarOf(a.dtype, scalar)],
        output,
        expression: ([x], [number]) => binaryExpression(operation, arithmetic(a), reversed ? number! : x!, reversed ? x! : number!),
      }),

    compare: ({ operation, a, b, output }) =>
      fusion.add({
        operation: `${operation} ${a.dtype}`,
        operands: [a, b],
        output,
        expression: ([x, y]) => compareExpression(operation, a.dtype === "bool" ? "bool" : arithmetic(a), x!, y!),
      }),

    where: ({ condition, a, b, output }) =>
      fusion.add({
        operation: "where",
        operands: [condition, a, b],
        output,
        expression: ([test, x, y]) => ({ expression: `select(${y}, ${x}, ${test} != 0u)`, needs: [] }),
      }),

    addScaled: ({ output, input, scale }) =>
      fusion.add({
        operation: "addScaled",
        operands: [output, input],
        scalars: [f32(scale)],
        output,
        expression: ([sum, x], [factor]) => ({ expression: `(${sum} + ${factor} * ${x})`, needs: [] }),
      }),
  };
}

const arithmetic = ({ dtype }: TensorView): ArithmeticDtype => (dtype === "int32" ? "int32" : "float32");
