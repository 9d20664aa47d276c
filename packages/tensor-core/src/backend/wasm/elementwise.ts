import { DtypeError } from "../../errors.ts";
import type { BinaryOperation, CompareOperation, Kernels, TensorView, UnaryOperation, UnaryPredicate } from "../backend.ts";
import { countElements, forEachOuter, isContiguous, kernelRank, mainThreadScratch, mergeAxes } from "./layout.ts";
import { copyView, withContiguousCopy } from "./movement.ts";
import type { WasmRuntime } from "./runtime.ts";

/** Operation numbers of assembly/unary.ts. */
const unaryCodes: Record<UnaryOperation, number> = {
  negative: 0, absolute: 1, sign: 2, exp: 3, expm1: 4, log: 5, log1p: 6, sqrt: 7, rsqrt: 8, reciprocal: 9, square: 10, sin: 11, cos: 12,
  tan: 13,
  tanh: 14, erf: 15, sigmoid: 16, relu: 17, silu: 18, gelu: 19, geluTanh: 20, softplus: 21, floor: 22, ceil: 23, round: 24, trunc: 25,
};
const integerUnary: ReadonlySet<UnaryOperation> = new Set(["negative", "absolute", "sign", "square", "relu"]);
const predicateCodes: Record<UnaryPredicate, number> = { isNaN: 0, isFinite: 1, logicalNot: 2 };

/** Codes of assembly/elementwise.ts; int32 adds `integerCode`. */
const binaryCodes: Record<BinaryOperation, number> = {
  add: 0, subtract: 1, multiply: 2, divide: 3, power: 4, maximum: 5, minimum: 6, remainder: 7, atan2: 8,
};
const integerCode = 16;
const compareCodes: Record<CompareOperation, number> = {
  equal: 32, notEqual: 33, less: 34, lessEqual: 35, greater: 34, greaterEqual: 35, logicalAnd: 36, logicalOr: 37, logicalXor: 38,
};
const whereCode = 64;

/** Elements from which work is offered to other threads, if an element costs one operation. */
const parallelCount = 65_536;
/** Operations an element of a transcendental function or a power is worth. */
const transcendentalCost = 12;
const stridedScratchBytes = 2304;
/** Elements from which operands that are contiguous along another axis are turned first. */
const transposeCount = 16_384;

function unaryCost(code: number): number {
  return (code >= 3 && code <= 6) || (code >= 11 && code <= 16) || (code >= 18 && code <= 21) ? transcendentalCost : 1;
}

/** Element-wise functions, comparisons and selection. */
export function createElementwise(
  runtime: WasmRuntime,
): Pick<Kernels, "unary" | "unaryGradient" | "predicate" | "binary" | "binaryScalar" | "compare" | "where" | "addScaled"> {
  const { exports } = runtime;

  /** Operands of one size, contiguous. */
  function runContiguous(code: number, a: number, b: number, output: number, count: number): void {
    const cost = code === binaryCodes.power || code === binaryCodes.atan2 ? transcendentalCost : 1;
    if (count * cost < parallelCount) exports.elementwise(code, a, b, output, 0, count);
    else runtime.parallel("elementwise", [code, a, b, output], count, { granularity: 64, work: count * cost });
  }

  function runStrided(code: number, a: TensorView, b: TensorView, condition: TensorView | undefined, output: TensorView): void {
    const count = countElements(output.shape);
    if (count === 0) return;
    const layout = mergeAxes(output.shape, a.strides, b.strides, condition ? condition.strides : b.strides);
    const { rank, sizes } = layout;
    if (count >= transposeCount && rank > 1) {
      // An operand read across its lines costs more than turning it first.
      if (a.dtype !== "bool" && Math.abs(layout.a[0]!) > 1) {
        return withContiguousCopy(runtime, a, (_, copy) => runStrided(code, copy, b, condition, output));
      }
      if (b.dtype !== "bool" && Math.abs(layout.b[0]!) > 1) {
        return withContiguousCopy(runtime, b, (_, copy) => runStrided(code, a, copy, condition, output));
      }
    }
    const narrow = a.dtype === "bool" ? 1 : 0;
    const pointerA = runtime.pointer(a);
    const pointerB = runtime.pointer(b);
    const pointerC = condition ? runtime.pointer(condition) : 0;
    const target = runtime.pointer(output);
    if (rank <= kernelRank && count < parallelCount) {
      const { a: strideA, b: strideB, c: strideC } = layout;
      exports.elementwiseStrided(
        code, narrow, pointerA, pointerB, pointerC, target, sizes[2]!, sizes[1]!, sizes[0]!, strideA[3]!, strideA[2]!, strideA[1]!,
        strideA[0]!,
        strideB[3]!, strideB[2]!, strideB[1]!, strideB[0]!, strideC[3]!, strideC[2]!, strideC[1]!, strideC[0]!, mainThreadScratch, 0, count,
      );
      return;
    }
    const axes = [
      sizes[2]!, sizes[1]!, sizes[0]!,
      ...[layout.a, layout.b, layout.c].flatMap((strides) => [strides[3]!, strides[2]!, strides[1]!, strides[0]!]),
    ];
    const block = sizes[0]! * sizes[1]! * sizes[2]! * sizes[3]!;
    const operandBytes = narrow ? 1 : 4;
    let written = target;
    forEachOuter(layout, (offsetA, offsetB, offsetC) => {
      runtime.parallel(
        "elementwiseStrided",
        [code, narrow, pointerA + offsetA * operandBytes, pointerB + offsetB * operandBytes, pointerC + offsetC, written, ...axes],
        block,
        { granularity: 64, work: block, scratchBytes: stridedScratchBytes },
      );
      written += block * (output.dtype === "bool" ? 1 : 4);
    });
  }

  /** The pointer of the input if it is contiguous, else of the output after copying the input there (same dtype). */
  function contiguousPointer(input: TensorView, output: TensorView): number {
    if (isContiguous(input)) return runtime.pointer(input);
    copyView(runtime, input, output);
    return runtime.pointer(output);
  }

  return {
    unary({ operation, input, output }) {
      const count = countElements(output.shape);
      if (count === 0) return;
      const code = unaryCodes[operation];
      const target = runtime.pointer(output);
      if (output.dtype === "int32") {
        if (!integerUnary.has(operation)) throw new DtypeError(`${operation} takes float32, not int32; convert with cast("float32")`);
        const source = contiguousPointer(input, output);
        if (count < parallelCount) exports.unaryI32(code, source, target, 0, count);
        else runtime.parallel("unaryI32", [code, source, target], count, { granularity: 64, work: count });
        return;
      }
      const source = contiguousPointer(input, output);
      const work = count * unaryCost(code);
      if (work < parallelCount) exports.unaryF32(code, source, target, mainThreadScratch, 0, count);
      else runtime.parallel("unaryF32", [code, source, target], count, { granularity: 64, work, scratchBytes: 64 });
    },

    unaryGradient({ operation, gradient, input, output, result }) {
      const count = countElements(result.shape);
      const code = unaryCodes[operation];
      const g = runtime.pointer(gradient);
      const x = runtime.pointer(input);
      const y = runtime.pointer(output);
      const target = runtime.pointer(result);
      const work = count * unaryCost(code);
      if (work < parallelCount) exports.unaryGradientF32(code, g, x, y, target, mainThreadScratch, 0, count);
      else runtime.parallel("unaryGradientF32", [code, g, x, y, target], count, { granularity: 64, work, scratchBytes: 64 });
    },

    predicate({ operation, input, output }) {
      const count = countElements(output.shape);
      if (count === 0) return;
      const run = (source: number): void =>
        runtime.parallel(
          "predicate",
          [predicateCodes[operation], input.dtype === "int32" ? 1 : 0, source, runtime.pointer(output)],
          count,
          { granularity: 64, work: count },
        );
      if (isContiguous(input)) run(runtime.pointer(input));
      else withContiguousCopy(runtime, input, run);
    },

    binary({ operation, a, b, output }) {
      let code = binaryCodes[operation];
      if (output.dtype === "int32") {
        if (operation === "atan2") throw new DtypeError('atan2 takes float32, not int32; convert with cast("float32")');
        code += integerCode;
      }
      if (isContiguous(a) && isContiguous(b)) {
        runContiguous(code, runtime.pointer(a), runtime.pointer(b), runtime.pointer(output), countElements(output.shape));
      } else runStrided(code, a, b, undefined, output);
    },

    binaryScalar({ operation, a, scalar, reversed, output }) {
      const count = countElements(output.shape);
      if (count === 0) return;
      let code = binaryCodes[operation];
      if (output.dtype === "int32") {
        if (operation === "atan2") throw new DtypeError('atan2 takes float32, not int32; convert with cast("float32")');
        code += integerCode;
      }
      const source = contiguousPointer(a, output);
      const target = runtime.pointer(output);
      const cost = operation === "power" || operation === "atan2" ? transcendentalCost : 1;
      if (count * cost < parallelCount) exports.elementwiseScalar(code, source, scalar, reversed ? 1 : 0, target, 0, count);
      else runtime.parallel(
        "elementwiseScalar", [code, source, scalar, reversed ? 1 : 0, target], count, { granularity: 64, work: count * cost },
      );
    },

    compare({ operation, a, b, output }) {
      const swapped = operation === "greater" || operation === "greaterEqual";
      const left = swapped ? b : a;
      const right = swapped ? a : b;
      const code = compareCodes[operation] + (a.dtype === "float32" ? 0 : integerCode);
      if (a.dtype !== "bool" && isContiguous(a) && isContiguous(b)) {
        runContiguous(code, runtime.pointer(left), runtime.pointer(right), runtime.pointer(output), countElements(output.shape));
      } else runStrided(code, left, right, undefined, output);
    },

    where({ condition, a, b, output }) {
      runStrided(whereCode, a, b, condition, output);
    },

    addScaled({ output, input, scale }) {
      const count = countElements(output.shape);
      const target = runtime.pointer(output);
      const source = runtime.pointer(input);
      if (count < parallelCount) exports.addScaledF32(target, source, scale, 0, count);
      else runtime.parallel("addScaledF32", [target, source, scale], count, { granularity: 64, work: count });
    },
  };
}
