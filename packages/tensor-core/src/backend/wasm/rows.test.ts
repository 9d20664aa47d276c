import { afterAll, describe, expect, it } from "vitest";
import { ExactBuffer } from "../reference/memory.ts";
import { feedforwardKernels } from "../reference/feedforward.ts";
import { rowKernels } from "../reference/rows.ts";
import type { TensorView } from "../backend.ts";
import { createRows } from "./rows.ts";
import { createWasmRuntime } from "./runtime-instance.ts";
import {
  largestError,
  noise,
  outputTensor,
  randomTensor,
  runOnReference,
  runOnWasm,
  valuesTensor,
  type Argument,
  type Arguments,
  type Storages,
} from "./side-by-side.testing.ts";

const runtime = createWasmRuntime();
const kernels = createRows(runtime);
afterAll(() => runtime.pool.stop());

type RowKernel = keyof typeof kernels;

/** Runs both devices and compares everything either of them wrote. */
function expectAgreement<Name extends RowKernel>(name: Name, parameters: Arguments<Name>, tolerance: number): Storages<Name> {
  const actual = runOnWasm(runtime, kernels, name, parameters);
  const expected = runOnReference(name, parameters);
  for (const [field, values] of Object.entries(expected) as [keyof typeof expected, Float32Array][]) {
    expect(largestError(actual[field], values), `${name} ${String(field)}`).toBeLessThan(tolerance);
  }
  return expected;
}

/** A tensor argument with the storage a kernel left in it. */
function filled(tensor: Argument, storage: Float32Array): Argument {
  return { ...tensor, storage };
}

function exact(tensor: Argument): TensorView & { buffer: ExactBuffer } {
  return {
    buffer: new ExactBuffer(Float64Array.from(tensor.storage)),
    dtype: tensor.storage instanceof Int32Array ? "int32" : "float32",
    shape: tensor.shape,
    strides: tensor.strides,
    offset: tensor.offset,
  };
}

/** The derivative of `loss` for every element of a view, by central differences in float64. */
function finiteDifferences({ buffer, shape, offset }: TensorView & { buffer: ExactBuffer }, loss: () => number): number[] {
  const count = shape.reduce((product, size) => product * size, 1);
  return Array.from({ length: count }, (_, i) => {
    const before = buffer.values[offset + i]!;
    buffer.values[offset + i] = before + 1e-5;
    const above = loss();
    buffer.values[offset + i] = before - 1e-5;
    const below = loss();
    buffer.values[offset + i] = before;
    return (above - below) / 2e-5;
  });
}

/** Σ weights * values over the elements of two contiguous arguments. */
function weightedSum(weights: Argument, values: TensorView & { buffer: ExactBuffer }): number {
  const count = weights.shape.reduce((product, size) => product * size, 1);
  let sum = 0;
  for (let i = 0; i < count; i++) sum += weights.storage[weights.offset + i]! * values.buffer.values[values.offset + i]!;
  return sum;
}

function elements(tensor: Argument, storage: Float32Array | undefined): Float32Array {
  return storage!.subarray(tensor.offset, tensor.offset + tensor.shape.reduce((product, size) => product * size, 1));
}

const sizes: [number, number][] = [
  [1, 1],
  [3, 2],
  [5, 3],
  [2, 4],
  [7, 5],
  [4, 15],
  [9, 16],
  [3, 33],
  [70, 48],
  [33, 130],
  [0, 5],
  [2, 5000],
];

describe("softmax", () => {
  it.each(sizes)("agrees with the reference, [%i, %i]", (rows, columns) => {
    for (const logarithm of [false, true]) {
      const forward = {
        input: randomTensor([rows, columns], 1, { deviation: 3 }),
        output: outputTensor([rows, columns]),
        rows,
        columns,
        scale: 0.7,
        logarithm,
      };
      const { output } = expectAgreement("softmax", { ...forward, mask: undefined }, 2e-6);
      expectAgreement(
        "softmaxGradient",
        {
          gradient: randomTensor([rows, columns], 2),
          output: filled(forward.output, output),
          result: outputTensor([rows, columns]),
          rows,
          columns,
          scale: 0.7,
          logarithm,
        },
        2e-5,
      );
    }
  });

  const bias = (count: number): Float32Array => noise(count, 5).map((value) => (value > 0.8 ? -Infinity : value));
  it.each<[string, number[], number[], number[]]>([
    ["of the same shape", [2, 3, 4, 9], [2, 3, 4, 9], [108, 36, 9, 1]],
    ["along the last axis", [2, 3, 4, 9], [2, 3, 4, 9], [0, 0, 0, 1]],
    ["per batch and key", [2, 3, 4, 9], [2, 1, 1, 9], [9, 9, 9, 1]],
    ["per query and key", [2, 3, 4, 9], [2, 3, 4, 9], [0, 0, 9, 1]],
    ["transposed", [2, 3, 4, 9], [2, 3, 4, 9], [0, 0, 1, 4]],
    ["constant along rows", [2, 3, 4, 9], [2, 3, 4, 9], [1, 2, 6, 0]],
    ["with more axes than the kernel walks", [2, 3, 2, 3, 2, 5], [2, 3, 2, 3, 2, 5], [5, 0, 10, 0, 20, 1]],
    ["of lower rank", [2, 3, 9], [9], [1]],
  ])("adds a mask %s", (_, shape, maskShape, strides) => {
    const columns = shape.at(-1)!;
    const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
    const reach = strides.reduce((sum, stride, axis) => sum + stride * (maskShape[axis]! - 1), 1);
    const mask = { ...valuesTensor([reach], bias(reach)), shape: maskShape, strides };
    // The reference wants the mask broadcast already.
    const missing = shape.length - maskShape.length;
    const broadcast = {
      ...mask,
      shape,
      strides: shape.map((_, axis) => (axis < missing || maskShape[axis - missing] === 1 ? 0 : strides[axis - missing]!)),
    };
    for (const logarithm of [false, true]) {
      const parameters = { input: randomTensor(shape, 3), output: outputTensor(shape), rows, columns, scale: 0.5, logarithm };
      const expected = runOnReference("softmax", { ...parameters, mask: broadcast });
      const actual = runOnWasm(runtime, kernels, "softmax", { ...parameters, mask });
      expect(largestError(actual.output, expected.output)).toBeLessThan(2e-6);
    }
  });

  it("gives zeros for a fully masked row, and -Infinity as their logarithm", () => {
    const input = valuesTensor([2, 5], [...new Array(5).fill(-Infinity), 1, 2, 3, -Infinity, 4]);
    for (const logarithm of [false, true]) {
      const { output } = expectAgreement(
        "softmax",
        { input, output: outputTensor([2, 5]), rows: 2, columns: 5, scale: 1, logarithm, mask: undefined },
        2e-6,
      );
      expect(Array.from(output.subarray(1, 6))).toEqual(new Array(5).fill(logarithm ? -Infinity : 0));
      expect(output[9]).toBe(logarithm ? -Infinity : 0);
    }
  });

  it("keeps NaN in its row", () => {
    for (const at of [0, 4, 17, 18]) {
      const values = noise(38, 4);
      values[at] = NaN;
      const input = valuesTensor([2, 19], values);
      const { output } = runOnWasm(runtime, kernels, "softmax", {
        input,
        output: outputTensor([2, 19]),
        rows: 2,
        columns: 19,
        scale: 1,
        logarithm: false,
        mask: undefined,
      });
      expect(output.subarray(1, 20).every(Number.isNaN)).toBe(true);
      expect(output.subarray(20, 39).some(Number.isNaN)).toBe(false);
    }
  });

  it("is not shaken by large scores", () => {
    const input = valuesTensor([2, 6], [1e10, -1e10, 1e10, 0, 5, -5, 10000, 10001, 9999, -3e38, 3, 1]);
    for (const logarithm of [false, true]) {
      expectAgreement("softmax", { input, output: outputTensor([2, 6]), rows: 2, columns: 6, scale: 1, logarithm, mask: undefined }, 2e-6);
    }
    expectAgreement(
      "crossEntropy",
      {
        logits: input,
        targets: valuesTensor([2], [2, 1], "int32"),
        losses: outputTensor([2]),
        logSumExp: outputTensor([2]),
        rows: 2,
        columns: 6,
        ignoreIndex: -1,
        labelSmoothing: 0,
      },
      2e-6,
    );
  });
});

describe("norms", () => {
  it.each(sizes)("agree with the reference, [%i, %i]", (rows, columns) => {
    const offset = randomTensor([rows, columns], 1, { deviation: 2 });
    const input = { ...offset, storage: (offset.storage as Float32Array).map((value) => value + 3) };
    const gradient = randomTensor([rows, columns], 4);
    for (const [withWeight, withBias] of [
      [true, true],
      [true, false],
      [false, true],
      [false, false],
    ]) {
      const weight = withWeight ? randomTensor([columns], 2) : undefined;
      const bias = withBias ? randomTensor([columns], 3) : undefined;
      const rowOutputs = { mean: outputTensor([rows]), rstd: outputTensor([rows]) };
      const layer = expectAgreement(
        "layerNorm",
        { input, weight, bias, epsilon: 1e-3, output: outputTensor([rows, columns]), ...rowOutputs, rows, columns },
        1e-4,
      );
      expectAgreement(
        "layerNormGradient",
        {
          gradient,
          input,
          weight,
          mean: filled(rowOutputs.mean, layer.mean),
          rstd: filled(rowOutputs.rstd, layer.rstd),
          rows,
          columns,
          inputGradient: outputTensor([rows, columns]),
          weightGradient: weight && outputTensor([columns]),
          biasGradient: bias && outputTensor([columns]),
        },
        1e-4,
      );
      if (withBias) continue;
      const rms = expectAgreement(
        "rmsNorm",
        { input, weight, epsilon: 1e-5, output: outputTensor([rows, columns]), rstd: rowOutputs.rstd, rows, columns },
        3e-6,
      );
      expectAgreement(
        "rmsNormGradient",
        {
          gradient,
          input,
          weight,
          rstd: filled(rowOutputs.rstd, rms.rstd),
          rows,
          columns,
          inputGradient: outputTensor([rows, columns]),
          weightGradient: weight && outputTensor([columns]),
        },
        3e-5,
      );
    }
  });

  it("keep NaN in its row, and carry it into the weight's gradient", () => {
    const values = noise(3 * 21, 8);
    values[25] = NaN;
    const input = valuesTensor([3, 21], values);
    const { output } = runOnWasm(runtime, kernels, "layerNorm", {
      input,
      weight: undefined,
      bias: undefined,
      epsilon: 1e-5,
      output: outputTensor([3, 21]),
      mean: outputTensor([3]),
      rstd: outputTensor([3]),
      rows: 3,
      columns: 21,
    });
    expect(Array.from(output.subarray(1, 64), Number.isNaN)).toEqual(Array.from({ length: 63 }, (_, i) => i >= 21 && i < 42));
    const { weightGradient } = runOnWasm(runtime, kernels, "rmsNormGradient", {
      gradient: randomTensor([3, 21], 9),
      input,
      weight: randomTensor([21], 10),
      rstd: valuesTensor([3], [1, 1, 1]),
      rows: 3,
      columns: 21,
      inputGradient: outputTensor([3, 21]),
      weightGradient: outputTensor([21]),
    });
    expect(Array.from(weightGradient!.subarray(1, 22), Number.isNaN)).toEqual(Array.from({ length: 21 }, (_, i) => i === 4));
  });

  it("have the gradients that finite differences in float64 give", () => {
    const [rows, columns] = [3, 7];
    const arguments_ = { input: randomTensor([rows, columns], 1), weight: randomTensor([columns], 2), bias: randomTensor([columns], 3) };
    const gradient = randomTensor([rows, columns], 4);
    const input = exact(arguments_.input);
    const weight = exact(arguments_.weight);
    const bias = exact(arguments_.bias);
    const output = exact(outputTensor([rows, columns]));
    const mean = exact(outputTensor([rows]));
    const rstd = exact(outputTensor([rows]));
    const layerLoss = (): number => {
      rowKernels.layerNorm({ input, weight, bias, epsilon: 1e-5, output, mean, rstd, rows, columns });
      return weightedSum(gradient, output);
    };
    layerLoss();
    const rowValues = (view: TensorView & { buffer: ExactBuffer }): Argument => valuesTensor([rows], view.buffer.values.slice(1, 1 + rows));
    const outputs = {
      inputGradient: outputTensor([rows, columns]),
      weightGradient: outputTensor([columns]),
      biasGradient: outputTensor([columns]),
    };
    const layer = runOnWasm(runtime, kernels, "layerNormGradient", {
      gradient,
      input: arguments_.input,
      weight: arguments_.weight,
      mean: rowValues(mean),
      rstd: rowValues(rstd),
      rows,
      columns,
      ...outputs,
    });
    expect(largestError(elements(outputs.inputGradient, layer.inputGradient), finiteDifferences(input, layerLoss))).toBeLessThan(1e-5);
    expect(largestError(elements(outputs.weightGradient, layer.weightGradient), finiteDifferences(weight, layerLoss))).toBeLessThan(1e-5);
    expect(largestError(elements(outputs.biasGradient, layer.biasGradient), finiteDifferences(bias, layerLoss))).toBeLessThan(1e-5);
    const rmsLoss = (): number => {
      rowKernels.rmsNorm({ input, weight, epsilon: 1e-5, output, rstd, rows, columns });
      return weightedSum(gradient, output);
    };
    rmsLoss();
    const rms = runOnWasm(runtime, kernels, "rmsNormGradient", {
      gradient,
      input: arguments_.input,
      weight: arguments_.weight,
      rstd: rowValues(rstd),
      rows,
      columns,
      inputGradient: outputs.inputGradient,
      weightGradient: outputs.weightGradient,
    });
    expect(largestError(elements(outputs.inputGradient, rms.inputGradient), finiteDifferences(input, rmsLoss))).toBeLessThan(1e-5);
    expect(largestError(elements(outputs.weightGradient, rms.weightGradient), finiteDifferences(weight, rmsLoss))).toBeLessThan(1e-5);
  });
});

describe("cross-entropy", () => {
  it.each(sizes)("agrees with the reference, [%i, %i]", (rows, columns) => {
    for (const labelSmoothing of [0, 0.1]) {
      const logits = randomTensor([rows, columns], 1, { deviation: 4 });
      const targets = valuesTensor(
        [rows],
        Array.from({ length: rows }, (_, r) => (r % 5 === 3 ? -100 : (r * 7) % columns)),
        "int32",
      );
      const outputs = { losses: outputTensor([rows]), logSumExp: outputTensor([rows]) };
      const options = { rows, columns, ignoreIndex: -100, labelSmoothing };
      const { logSumExp } = expectAgreement("crossEntropy", { logits, targets, ...outputs, ...options }, 3e-6);
      expectAgreement(
        "crossEntropyGradient",
        {
          gradient: randomTensor([rows], 2),
          logits,
          targets,
          logSumExp: filled(outputs.logSumExp, logSumExp),
          result: outputTensor([rows, columns]),
          ...options,
        },
        3e-6,
      );
    }
  });

  it("follows a maximum that rises from chunk to chunk, and -Infinity logits", () => {
    const columns = 9000;
    const values = Float32Array.from({ length: columns }, (_, c) => (c < 2500 ? -Infinity : c / 50 - 120));
    expectAgreement(
      "crossEntropy",
      {
        logits: valuesTensor([1, columns], values),
        targets: valuesTensor([1], [8000], "int32"),
        losses: outputTensor([1]),
        logSumExp: outputTensor([1]),
        rows: 1,
        columns,
        ignoreIndex: -1,
        labelSmoothing: 0,
      },
      3e-6,
    );
  });

  it("gives NaN for NaN logits and for targets outside the row", () => {
    const values = noise(30, 3);
    values[7] = NaN;
    const { losses } = runOnWasm(runtime, kernels, "crossEntropy", {
      logits: valuesTensor([3, 10], values),
      targets: valuesTensor([3], [1, 1, 10], "int32"),
      losses: outputTensor([3]),
      logSumExp: outputTensor([3]),
      rows: 3,
      columns: 10,
      ignoreIndex: -100,
      labelSmoothing: 0,
    });
    expect(Array.from(losses.subarray(1, 4), Number.isNaN)).toEqual([true, false, true]);
  });

  it("has the gradient that finite differences in float64 give", () => {
    const [rows, columns] = [4, 9];
    const logits = randomTensor([rows, columns], 1);
    const targets = valuesTensor([rows], [0, 8, -1, 3], "int32");
    const gradient = randomTensor([rows], 2);
    const exactLogits = exact(logits);
    const losses = exact(outputTensor([rows]));
    const logSumExp = exact(outputTensor([rows]));
    const options = { rows, columns, ignoreIndex: -1, labelSmoothing: 0.2 };
    const loss = (): number => {
      rowKernels.crossEntropy({ logits: exactLogits, targets: exact(targets), losses, logSumExp, ...options });
      return weightedSum(gradient, losses);
    };
    loss();
    const result = outputTensor([rows, columns]);
    const actual = runOnWasm(runtime, kernels, "crossEntropyGradient", {
      gradient,
      logits,
      targets,
      logSumExp: valuesTensor([rows], logSumExp.buffer.values.slice(1, 1 + rows)),
      result,
      ...options,
    });
    expect(largestError(elements(result, actual.result), finiteDifferences(exactLogits, loss))).toBeLessThan(1e-5);
  });
});

describe("swiglu", () => {
  it.each([0, 1, 2, 3, 4, 7, 8, 31, 1025])("agrees with the reference, %i elements", (count) => {
    const gate = randomTensor([count], 1, { deviation: 6 });
    const up = randomTensor([count], 2);
    expectAgreement("swiglu", { gate, up, output: outputTensor([count]) }, 1e-6);
    expectAgreement(
      "swigluGradient",
      {
        gradient: randomTensor([count], 3),
        gate,
        up,
        gateGradient: outputTensor([count]),
        upGradient: outputTensor([count]),
      },
      1e-5,
    );
  });

  it("has the gradients that finite differences in float64 give", () => {
    const gate = randomTensor([11], 1);
    const up = randomTensor([11], 2);
    const gradient = randomTensor([11], 3);
    const outputs = { gateGradient: outputTensor([11]), upGradient: outputTensor([11]) };
    const actual = runOnWasm(runtime, kernels, "swigluGradient", { gradient, gate, up, ...outputs });
    const views = { gate: exact(gate), up: exact(up), output: exact(outputTensor([11])) };
    const loss = (): number => {
      feedforwardKernels.swiglu(views);
      return weightedSum(gradient, views.output);
    };
    expect(largestError(elements(outputs.gateGradient, actual.gateGradient), finiteDifferences(views.gate, loss))).toBeLessThan(1e-5);
    expect(largestError(elements(outputs.upGradient, actual.upGradient), finiteDifferences(views.up, loss))).toBeLessThan(1e-5);
  });
});

describe("rotary embedding", () => {
  it.each([2, 4, 6, 8, 10, 16, 48])("agrees with the reference, rotary dimension %i", (rotaryDim) => {
    for (const layout of ["half", "interleaved"] as const) {
      for (const headDim of [rotaryDim, rotaryDim + 3]) {
        for (const positions of [undefined, valuesTensor([5], [3, 0, 11, 2, 2], "int32")]) {
          for (const inverse of [false, true]) {
            const shape = [2, 5, 3, headDim];
            expectAgreement(
              "rotaryEmbedding",
              {
                input: randomTensor(shape, 1),
                output: outputTensor(shape),
                cosine: randomTensor([12, rotaryDim / 2], 2),
                sine: randomTensor([12, rotaryDim / 2], 3),
                positions,
                positionOffset: 4,
                layout,
                inverse,
              },
              1e-6,
            );
          }
        }
      }
    }
  });

  it("is undone by its inverse, and gives NaN for positions outside the table", () => {
    const shape = [1, 4, 2, 16];
    const angles = noise(6 * 8, 5);
    const tables = {
      cosine: valuesTensor([6, 8], angles.map(Math.cos)),
      sine: valuesTensor([6, 8], angles.map(Math.sin)),
      positions: undefined,
    };
    const input = randomTensor(shape, 1);
    const output = outputTensor(shape);
    const there = runOnWasm(runtime, kernels, "rotaryEmbedding", {
      input,
      output,
      ...tables,
      positionOffset: 3,
      layout: "half",
      inverse: false,
    }).output;
    const back = runOnWasm(runtime, kernels, "rotaryEmbedding", {
      input: filled(output, there),
      output,
      ...tables,
      positionOffset: 3,
      layout: "half",
      inverse: true,
    }).output;
    expect(
      largestError(elements(output, back).subarray(0, 96), elements(input, input.storage as Float32Array).subarray(0, 96)),
    ).toBeLessThan(1e-6);
    expect(elements(output, there).subarray(96).every(Number.isNaN)).toBe(true);
    expect(elements(output, there).subarray(0, 96).some(Number.isNaN)).toBe(false);
  });
});

describe("threads", () => {
  it("do not change a bit", () => {
    const [rows, columns] = [333, 301];
    const shape = [rows, columns];
    const input = randomTensor(shape, 1);
    const gradient = randomTensor(shape, 2);
    const weight = randomTensor([columns], 3);
    const [mean, rstd] = [randomTensor([rows], 4), randomTensor([rows], 5)];
    const everything = (): unknown => [
      runOnWasm(runtime, kernels, "softmax", {
        input,
        output: outputTensor(shape),
        rows,
        columns,
        scale: 2,
        logarithm: false,
        mask: undefined,
      }),
      runOnWasm(runtime, kernels, "layerNormGradient", {
        gradient,
        input,
        weight,
        mean,
        rstd,
        rows,
        columns,
        inputGradient: outputTensor(shape),
        weightGradient: outputTensor([columns]),
        biasGradient: outputTensor([columns]),
      }),
      runOnWasm(runtime, kernels, "rmsNormGradient", {
        gradient,
        input,
        weight,
        rstd,
        rows,
        columns,
        inputGradient: outputTensor(shape),
        weightGradient: outputTensor([columns]),
      }),
      runOnWasm(runtime, kernels, "swiglu", { gate: input, up: gradient, output: outputTensor(shape) }),
    ];
    const runs = [1, 2, 3, 5].map((threads) => {
      runtime.pool.setThreadCount(threads);
      return everything();
    });
    for (const run of runs.slice(1)) expect(run).toEqual(runs[0]);
  });
});
