import type { BinaryOperation, Kernels, TensorView } from "../backend.ts";
import { load, store } from "./access.ts";
import {
  binaryFunctions,
  compareFunctions,
  integerBinaryFunctions,
  predicateFunctions,
  unaryDerivatives,
  unaryFunctions,
} from "./functions.ts";

/** Element-wise functions, comparisons and selection. */
export const elementwiseKernels: Pick<
  Kernels,
  "unary" | "unaryGradient" | "predicate" | "binary" | "binaryScalar" | "compare" | "where" | "addScaled"
> = {
  unary({ operation, input, output }) {
    // int32 squares pass 2⁵³, where float64 loses the low bits that wrapping keeps.
    const apply = output.dtype === "int32" && operation === "square" ? (x: number) => Math.imul(x, x) : unaryFunctions[operation];
    store(output, load(input).map(apply));
  },

  unaryGradient({ operation, gradient, input, result }) {
    const x = load(input);
    const derivative = unaryDerivatives[operation];
    store(
      result,
      load(gradient).map((g, i) => g * derivative(x[i]!)),
    );
  },

  predicate({ operation, input, output }) {
    store(output, load(input).map(predicateFunctions[operation]));
  },

  binary({ operation, a, b, output }) {
    const right = load(b);
    const apply = binaryFunctionOf(operation, output);
    store(
      output,
      load(a).map((left, i) => apply(left, right[i]!)),
    );
  },

  binaryScalar({ operation, a, scalar, reversed, output }) {
    const apply = binaryFunctionOf(operation, output);
    store(
      output,
      load(a).map((value) => (reversed ? apply(scalar, value) : apply(value, scalar))),
    );
  },

  compare({ operation, a, b, output }) {
    const right = load(b);
    const apply = compareFunctions[operation];
    store(
      output,
      load(a).map((left, i) => apply(left, right[i]!)),
    );
  },

  where({ condition, a, b, output }) {
    const whenTrue = load(a);
    const whenFalse = load(b);
    store(
      output,
      load(condition).map((chosen, i) => (chosen !== 0 ? whenTrue[i]! : whenFalse[i]!)),
    );
  },

  addScaled({ output, input, scale }) {
    const added = load(input);
    store(
      output,
      load(output).map((value, i) => value + scale * added[i]!),
    );
  },
};

function binaryFunctionOf(operation: BinaryOperation, output: TensorView): (a: number, b: number) => number {
  return output.dtype === "int32" ? integerBinaryFunctions[operation] : binaryFunctions[operation];
}
