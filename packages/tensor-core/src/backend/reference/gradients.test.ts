import { describe, expect, it } from "vitest";
import { integers, normals, uniforms, type Filler } from "../../validation/values.ts";
import type { KernelArguments, KernelName, TensorView, UnaryOperation } from "../backend.ts";
import { elementCount, load } from "./access.ts";
import { unaryFunctions } from "./functions.ts";
import { createReferenceBackend } from "./index.ts";
import { ExactBuffer } from "./memory.ts";
import { contiguousStrides } from "../../tensor/shape.ts";

// Every gradient kernel against central differences of its forward kernel. Views are backed by float64 (ExactBuffer), so a step of 1e-5
// leaves about ten correct digits, and a wrong factor or a forgotten term cannot pass as rounding.
const { kernels } = createReferenceBackend();
const step = 1e-5;

type ForwardName = Exclude<KernelName, `${string}Gradient`>;

function exact(shape: readonly number[], fill: Filler = () => NaN): TensorView {
  const values = Float64Array.from({ length: elementCount(shape) }, (_, i) => fill(i));
  return { buffer: new ExactBuffer(values), dtype: "float32", shape, strides: contiguousStrides(shape), offset: 0 };
}

function valuesOf(view: TensorView): Float64Array {
  return (view.buffer as ExactBuffer).values;
}

/** Derivatives of Σ_outputs Σ weight · output by every element of `input`, numerically. */
function numericGradient<Name extends ForwardName>(
  name: Name,
  parameters: KernelArguments[Name],
  weightedOutputs: readonly (readonly [output: TensorView, weight: TensorView])[],
  input: TensorView,
): Float64Array {
  const values = valuesOf(input);
  const objective = (): number => {
    kernels[name](parameters);
    return weightedOutputs.reduce((sum, [output, weight]) => {
      const weights = load(weight);
      return sum + load(output).reduce((part, value, i) => part + value * weights[i]!, 0);
    }, 0);
  };
  return values.map((_, i) => {
    const original = values[i]!;
    values[i] = original + step;
    const above = objective();
    values[i] = original - step;
    const below = objective();
    values[i] = original;
    return (above - below) / (2 * step);
  });
}

function expectClose(actual: TensorView, expected: Float64Array): void {
  const values = load(actual);
  expect(values.length).toBe(expected.length);
  values.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!), `element ${i}: ${value} beside numeric ${expected[i]}`).toBeLessThan(
      2e-8 * (10 + Math.abs(expected[i]!)),
    );
  });
}

describe("unaryGradient", () => {
  it.each(Object.keys(unaryFunctions) as UnaryOperation[])("%s", (operation) => {
    // Away from the kinks of |x| and relu, from the steps of rounding and from poles; logarithms and roots stay positive.
    const positive = ["log", "log1p", "sqrt", "rsqrt", "reciprocal"].includes(operation);
    const points = (positive ? [0.1, 0.7, 1.3, 2.9] : [-7.3, -2.2, -1.3, -0.4, 0.3, 0.8, 1.4, 2.7, 6.6]).filter(
      (x) => operation !== "tan" || Math.abs(x) < 1.2,
    );
    const shape = [points.length];
    const input = exact(shape, (i) => points[i]!);
    const output = exact(shape);
    const gradient = exact(shape, normals(1));
    const result = exact(shape);
    const expected = numericGradient("unary", { operation, input, output }, [[output, gradient]], input);
    kernels.unary({ operation, input, output });
    kernels.unaryGradient({ operation, gradient, input, output, result });
    const values = load(result);
    values.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-7 * (1 + Math.abs(expected[i]!))));
  });

  it("stays finite where the functions saturate", () => {
    for (const operation of ["sigmoid", "silu", "gelu", "geluTanh", "softplus", "tanh", "erf"] as const) {
      const input = exact([6], (i) => [-Infinity, -1e4, -100, 100, 1e4, Infinity][i]!);
      const result = exact([6]);
      kernels.unaryGradient({ operation, gradient: exact([6], () => 1), input, output: exact([6]), result });
      const flat = operation === "sigmoid" || operation === "tanh" || operation === "erf";
      expect(
        Array.from(load(result), (value) => Math.abs(Math.round(value))),
        operation,
      ).toEqual(flat ? [0, 0, 0, 0, 0, 0] : [0, 0, 0, 1, 1, 1]);
    }
  });
});

describe("row gradients", () => {
  const [rows, columns] = [3, 5] as const;
  const matrix = (seed: number): TensorView => exact([rows, columns], normals(seed));
  const vector = (seed: number): TensorView => exact([columns], normals(seed));

  it.each([false, true])("softmaxGradient, logarithm %s", (logarithm) => {
    const input = matrix(1);
    const output = exact([rows, columns]);
    const gradient = matrix(2);
    const result = exact([rows, columns]);
    const mask = exact([rows, columns], (i) => (i % 7 === 3 && !logarithm ? -Infinity : i / 10));
    const parameters = { input, output, rows, columns, scale: 0.7, mask, logarithm };
    const expected = numericGradient("softmax", parameters, [[output, gradient]], input);
    kernels.softmax(parameters);
    kernels.softmaxGradient({ gradient, output, result, rows, columns, scale: 0.7, logarithm });
    expectClose(result, expected);
  });

  it.each([true, false])("layerNormGradient, with weight and bias %s", (affine) => {
    const [input, gradient] = [matrix(3), matrix(4)];
    const [weight, bias] = affine ? [vector(5), vector(6)] : [undefined, undefined];
    const [output, mean, rstd] = [exact([rows, columns]), exact([rows]), exact([rows])];
    const parameters = { input, weight, bias, epsilon: 1e-3, output, mean, rstd, rows, columns };
    const by = (view: TensorView): Float64Array => numericGradient("layerNorm", parameters, [[output, gradient]], view);
    const [inputGradient, weightGradient, biasGradient] = [exact([rows, columns]), exact([columns]), exact([columns])];
    const expected = [by(input), weight && by(weight), bias && by(bias)];
    kernels.layerNorm(parameters);
    kernels.layerNormGradient({ gradient, input, weight, mean, rstd, rows, columns, inputGradient, weightGradient, biasGradient });
    expectClose(inputGradient, expected[0]!);
    if (affine) {
      expectClose(weightGradient, expected[1]!);
      expectClose(biasGradient, expected[2]!);
    }
  });

  it.each([true, false])("rmsNormGradient, with weight %s", (affine) => {
    const [input, gradient] = [matrix(7), matrix(8)];
    const weight = affine ? vector(9) : undefined;
    const [output, rstd] = [exact([rows, columns]), exact([rows])];
    const parameters = { input, weight, epsilon: 1e-3, output, rstd, rows, columns };
    const [inputGradient, weightGradient] = [exact([rows, columns]), exact([columns])];
    const expected = numericGradient("rmsNorm", parameters, [[output, gradient]], input);
    const expectedWeight = weight && numericGradient("rmsNorm", parameters, [[output, gradient]], weight);
    kernels.rmsNorm(parameters);
    kernels.rmsNormGradient({ gradient, input, weight, rstd, rows, columns, inputGradient, weightGradient });
    expectClose(inputGradient, expected);
    if (expectedWeight) expectClose(weightGradient, expectedWeight);
  });

  it.each([0, 0.2])("crossEntropyGradient, label smoothing %d", (labelSmoothing) => {
    const logits = matrix(10);
    const targets = exact([rows], (i) => [2, -100, 4][i]!);
    const [losses, logSumExp, gradient] = [exact([rows]), exact([rows]), exact([rows], normals(11))];
    const common = { logits, targets, logSumExp, rows, columns, ignoreIndex: -100, labelSmoothing };
    const expected = numericGradient("crossEntropy", { ...common, losses }, [[losses, gradient]], logits);
    kernels.crossEntropy({ ...common, losses });
    const result = exact([rows, columns]);
    kernels.crossEntropyGradient({ ...common, gradient, result });
    expectClose(result, expected);
    expect(Array.from(load(result).subarray(columns, 2 * columns))).toEqual([0, 0, 0, 0, 0]);
  });

  it("swigluGradient", () => {
    const [gate, up, gradient] = [matrix(12), matrix(13), matrix(14)];
    const [output, gateGradient, upGradient] = [exact([rows, columns]), exact([rows, columns]), exact([rows, columns])];
    kernels.swigluGradient({ gradient, gate, up, gateGradient, upGradient });
    expectClose(gateGradient, numericGradient("swiglu", { gate, up, output }, [[output, gradient]], gate));
    expectClose(upGradient, numericGradient("swiglu", { gate, up, output }, [[output, gradient]], up));
  });

  it.each(["half", "interleaved"] as const)("rotaryEmbedding backwards is its gradient, %s", (layout) => {
    const shape = [2, 3, 2, 7];
    const angle = uniforms(15, -3, 3);
    const [input, output, gradient, result] = [exact(shape, normals(16)), exact(shape), exact(shape, normals(17)), exact(shape)];
    const tables = { cosine: exact([6, 3], (i) => Math.cos(angle(i))), sine: exact([6, 3], (i) => Math.sin(angle(i))) };
    const place = { ...tables, positions: exact([3], (i) => [4, 0, 5][i]!), positionOffset: 0, layout };
    const expected = numericGradient("rotaryEmbedding", { ...place, input, output, inverse: false }, [[output, gradient]], input);
    kernels.rotaryEmbedding({ ...place, input: gradient, output: result, inverse: true });
    expectClose(result, expected);
  });
});

describe("attentionGradient", () => {
  it.each([
    { causal: false, masked: false, heads: 2, keyHeads: 2, queryOffset: 0 },
    { causal: true, masked: false, heads: 4, keyHeads: 2, queryOffset: 1 },
    { causal: true, masked: true, heads: 2, keyHeads: 1, queryOffset: -1 },
  ])(
    "causal $causal, masked $masked, $heads heads on $keyHeads, offset $queryOffset",
    ({ causal, masked, heads, keyHeads, queryOffset }) => {
      const [batch, queries, keys, headDim] = [2, 3, 4, 3];
      const queryShape = [batch, heads, queries, headDim];
      const keyShape = [batch, keyHeads, keys, headDim];
      const query = exact(queryShape, normals(1));
      const key = exact(keyShape, normals(2));
      const value = exact(keyShape, normals(3));
      const gradient = exact(queryShape, normals(4));
      const output = exact(queryShape);
      const logSumExp = exact([batch, heads, queries]);
      // One mask for all batches and heads: broadcasting by stride 0.
      const plane = exact([queries, keys], (i) => (i % 5 === 2 ? -Infinity : i / 8));
      const mask = masked ? { ...plane, shape: [batch, heads, queries, keys], strides: [0, 0, keys, 1] } : undefined;
      const inputs = { query, key, value, mask, scale: 0.6, causal, queryOffset };
      const by = (view: TensorView): Float64Array =>
        numericGradient("attention", { ...inputs, output, logSumExp }, [[output, gradient]], view);
      const expected = [by(query), by(key), by(value)];
      kernels.attention({ ...inputs, output, logSumExp });
      const gradients = { queryGradient: exact(queryShape), keyGradient: exact(keyShape), valueGradient: exact(keyShape) };
      kernels.attentionGradient({ ...inputs, output, logSumExp, gradient, ...gradients });
      expectClose(gradients.queryGradient, expected[0]!);
      expectClose(gradients.keyGradient, expected[1]!);
      expectClose(gradients.valueGradient, expected[2]!);
    },
  );
});

describe("sequence gradients", () => {
  it.each([true, false])("causalConv1dGradient, SiLU, bias and initial state %s", (full) => {
    const [batch, sequence, channels, width] = [2, 4, 3, 3];
    const shape = [batch, sequence, channels];
    const input = exact(shape, normals(1));
    const weight = exact([channels, width], normals(2));
    const bias = full ? exact([channels], normals(3)) : undefined;
    const initialState = full ? exact([batch, width - 1, channels], normals(4)) : undefined;
    const gradient = exact(shape, normals(5));
    const output = exact(shape);
    const common = { input, weight, bias, initialState, silu: full, batch, sequence, channels, width };
    const results = {
      inputGradient: exact(shape),
      weightGradient: exact([channels, width]),
      biasGradient: bias && exact(bias.shape),
      initialStateGradient: initialState && exact(initialState.shape),
    };
    kernels.causalConv1dGradient({ ...common, gradient, ...results });
    const by = (view: TensorView): Float64Array => numericGradient("causalConv1d", { ...common, output }, [[output, gradient]], view);
    expectClose(results.inputGradient, by(input));
    expectClose(results.weightGradient, by(weight));
    if (bias) expectClose(results.biasGradient!, by(bias));
    if (initialState) expectClose(results.initialStateGradient!, by(initialState));
  });

  it.each([true, false])("selectiveScanGradient, softplus, skip and states %s", (full) => {
    const [batch, sequence, channels, stateSize] = [2, 4, 3, 2];
    const shape = [batch, sequence, channels];
    const stateShape = [batch, channels, stateSize];
    const inputs = {
      input: exact(shape, normals(1)),
      delta: exact(shape, full ? normals(2) : uniforms(2, 0.1, 0.9)),
      stateMatrix: exact([channels, stateSize], uniforms(3, -2, -0.1)),
      inputMatrix: exact([batch, sequence, stateSize], normals(4)),
      outputMatrix: exact([batch, sequence, stateSize], normals(5)),
      skip: full ? exact([channels], normals(6)) : undefined,
      initialState: full ? exact(stateShape, normals(7)) : undefined,
    };
    const options = { deltaSoftplus: full, batch, sequence, channels, stateSize };
    const [output, finalState, gradient] = [exact(shape), exact(stateShape), exact(shape, normals(8))];
    const finalStateGradient = full ? exact(stateShape, normals(9)) : undefined;
    const results = {
      inputGradient: exact(shape),
      deltaGradient: exact(shape),
      stateMatrixGradient: exact([channels, stateSize]),
      inputMatrixGradient: exact([batch, sequence, stateSize]),
      outputMatrixGradient: exact([batch, sequence, stateSize]),
      skipGradient: full ? exact([channels]) : undefined,
      initialStateGradient: full ? exact(stateShape) : undefined,
    };
    kernels.selectiveScanGradient({ ...inputs, ...options, gradient, finalStateGradient, ...results });
    const weighted: [TensorView, TensorView][] = [[output, gradient]];
    if (finalStateGradient) weighted.push([finalState, finalStateGradient]);
    for (const [name, view] of Object.entries(inputs)) {
      if (!view) continue;
      const expected = numericGradient("selectiveScan", { ...inputs, ...options, output, finalState }, weighted, view);
      expectClose(results[`${name}Gradient` as keyof typeof results]!, expected);
    }
  });
});

describe("transposes of indexing", () => {
  it("scatterAdd is the transpose of gather", () => {
    const [outer, size, inner] = [2, 3, 2];
    const input = exact([outer, size, inner], normals(1));
    const indices = exact([5], (i) => [2, 0, 2, 7, -1][i]!);
    const [output, gradient] = [exact([outer, 5, inner]), exact([outer, 5, inner], normals(2))];
    const result = exact(input.shape, () => 0);
    kernels.scatterAdd({ output: result, indices, updates: gradient, outer, size, inner });
    expectClose(result, numericGradient("gather", { input, indices, output, outer, size, inner }, [[output, gradient]], input));
  });

  it("scatterElementsAdd is the transpose of gatherElements", () => {
    const [outer, size, inner] = [2, 3, 2];
    const input = exact([outer, size, inner], normals(1));
    const indices = exact([outer, 4, inner], integers(3, 0, size - 1));
    const [output, gradient] = [exact([outer, 4, inner]), exact([outer, 4, inner], normals(2))];
    const result = exact(input.shape, () => 0);
    kernels.scatterElementsAdd({ output: result, indices, updates: gradient, outer, size, inner });
    expectClose(result, numericGradient("gatherElements", { input, indices, output, outer, size, inner }, [[output, gradient]], input));
  });
});
