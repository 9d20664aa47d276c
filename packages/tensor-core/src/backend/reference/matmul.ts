import type { Kernels, QuantizedView, TensorView } from "../backend.ts";
import { elementCount, forEachIndex, load, store, subview } from "./access.ts";
import { activationFunctions } from "./functions.ts";

/** Matrix products. */
export const matmulKernels: Pick<Kernels, "matmul"> = {
  matmul({ a, b, output, bias, activation, accumulate }) {
    const batchShape = output.shape.slice(0, -2);
    const [m, n] = output.shape.slice(-2) as [number, number];
    const k = a.shape.at(-1)!;
    const biasValues = bias && load(bias);
    const activate = activation && activationFunctions[activation];
    const quantized = isQuantized(b) ? dequantizedTranspose(b) : undefined;
    const result = accumulate ? load(output) : new Float64Array(elementCount(output.shape));
    forEachIndex(batchShape, (batch, position) => {
      const left = load(subview(a, batch));
      const right = quantized ?? load(subview(b as TensorView, batch));
      for (let i = 0; i < m; i++) {
        const row = result.subarray((position * m + i) * n, (position * m + i + 1) * n);
        for (let l = 0; l < k; l++) {
          const value = left[i * k + l]!;
          for (let j = 0; j < n; j++) row[j]! += value * right[l * n + j]!;
        }
        if (biasValues) for (let j = 0; j < n; j++) row[j]! += biasValues[j]!;
        if (activate) for (let j = 0; j < n; j++) row[j] = activate(row[j]!);
      }
    });
    store(output, result);
  },
};

function isQuantized(b: TensorView | QuantizedView): b is QuantizedView {
  return "format" in b;
}

/** The weights w = scale · q + minimum of [outputs, inputs], laid out as [inputs, outputs]. */
function dequantizedTranspose(weight: QuantizedView): Float64Array {
  const [outputs, inputs] = weight.shape;
  const quants = load(weight.values);
  const scales = load(weight.scales);
  const minimums = weight.minimums && load(weight.minimums);
  const groups = inputs / weight.groupSize;
  const result = new Float64Array(inputs * outputs);
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      const group = o * groups + Math.floor(i / weight.groupSize);
      result[i * outputs + o] = scales[group]! * quantAt(weight.format, quants, o * inputs + i) + (minimums?.[group] ?? 0);
    }
  }
  return result;
}

function quantAt(format: QuantizedView["format"], quants: Float64Array, element: number): number {
  if (format === "int8") return quants[element]!;
  const byte = quants[element >> 1]!;
  return element % 2 === 0 ? byte & 15 : byte >> 4;
}
