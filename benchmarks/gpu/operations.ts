/** Operations made ready on a device: the same code runs on the CPU for the expected values. */
import {
  AdamW,
  add,
  exp,
  float16BitsToFloat32,
  full,
  linear,
  matmul,
  multiply,
  Parameter,
  QuantizedTensor,
  reshape,
  rfft2,
  rmsNorm,
  scaledDotProductAttention,
  selectiveScan,
  softmax,
  sum,
  tensor,
  tidy,
  valueAndGrad,
  type DeviceName,
  type Tensor,
} from "@frugal/tensor-core";
import { adamW, scanInputs } from "../src/inputs.ts";
import { floats, halves, nibblePairs, signedBytes } from "./inputs.ts";
import type { GpuTask, WeightFormat } from "./workloads.ts";

/** An operation ready to run. */
export interface PreparedOperation {
  /** Records the operation once and frees the result; it must still be computed. */
  run(): void;
  /** Result values: the first `count` that `spread` picks of each output. */
  sample(): Promise<Float32Array>;
  dispose(): void;
}

/** Tasks that are one operation. */
export type OperationTask = Exclude<GpuTask, { readonly kind: "overhead" | "generate" | "train" }>;

const sampledValues = 4096;

/** Values evenly spread over a result, first and last included. */
export function spread(values: Float32Array, count: number = sampledValues): Float32Array {
  const length = Math.min(count, values.length);
  return Float32Array.from({ length }, (_, i) => values[Math.floor((i * (values.length - 1)) / Math.max(1, length - 1))]!);
}

function concatenated(parts: readonly Float32Array[]): Float32Array {
  const result = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

interface Disposable {
  dispose(): void;
}

function prepared(inputs: readonly Disposable[], operation: () => readonly Tensor[]): PreparedOperation {
  return {
    run: () => operation().forEach((result) => result.dispose()),
    async sample() {
      const results = operation();
      const parts = await Promise.all(results.map(async (result) => spread(await result.data("float32"))));
      results.forEach((result) => result.dispose());
      return concatenated(parts);
    },
    dispose: () => inputs.forEach((input) => input.dispose()),
  };
}

/**
 * Element-wise results must outlive the operation that follows, and that must have another shape: what is freed or adjacent is fused, and
 * would not be computed, or not by a launch of its own.
 */
function preparedElementwise(size: number, device: DeviceName, operation: (a: Tensor, b: Tensor) => Tensor): PreparedOperation {
  const inputs = [1, 2].map((seed) => tensor(floats(size, seed), [size], { device }));
  const shapes = [[size], [1, size]].map((shape) => inputs.map((input) => reshape(input, shape)) as [Tensor, Tensor]);
  let count = 0;
  let last: Tensor | undefined;
  return {
    run() {
      const result = tidy(() => operation(...shapes[count++ % 2]!));
      last?.dispose();
      last = result;
    },
    async sample() {
      const result = tidy(() => operation(...shapes[0]!));
      const values = spread(await result.data("float32"));
      result.dispose();
      return values;
    },
    dispose() {
      last?.dispose();
      for (const views of shapes) for (const view of views) view.dispose();
      for (const input of inputs) input.dispose();
    },
  };
}

/** A weight matrix [outputs, inputs] with values within about ±1. */
export function randomWeight(
  outputs: number,
  inputs: number,
  format: WeightFormat,
  device: DeviceName,
  { seed = 3, scale = 1 }: { readonly seed?: number; readonly scale?: number } = {},
): Tensor | QuantizedTensor {
  const size = outputs * inputs;
  if (format === "float32") return tensor(floats(size, seed, scale), [outputs, inputs], { device });
  if (format === "float16") return tensor(halves(size, seed, scale), [outputs, inputs], { device });
  const groupSize = 32;
  const groups = [outputs, inputs / groupSize];
  return new QuantizedTensor({
    format,
    groupSize,
    shape: [outputs, inputs],
    values:
      format === "int8"
        ? tensor(signedBytes(size, seed), [outputs, inputs], { device })
        : tensor(nibblePairs(size / 2, seed), [outputs, inputs / 2], { device }),
    scales: full(groups, format === "int8" ? scale / 127 : (2 * scale) / 15, { device }),
    minimums: format === "uint4" ? full(groups, -scale, { device }) : undefined,
  });
}

function prepareAttention(task: Extract<GpuTask, { kind: "attention" }>, device: DeviceName): PreparedOperation {
  const { heads, queries, keys, headDim, gradient } = task;
  const input = (length: number, seed: number): Tensor =>
    tensor(floats(heads * length * headDim, seed), [1, heads, length, headDim], { device });
  const parts = [input(queries, 1), input(keys, 2), input(keys, 3)] as const;
  const causal = queries === keys;
  const attend = (): Tensor => scaledDotProductAttention(...parts, { causal });
  if (!gradient) return prepared(parts, () => [attend()]);
  const weight = input(queries, 4);
  const differentiate = valueAndGrad((given: readonly Tensor[]) =>
    sum(multiply(scaledDotProductAttention(given[0]!, given[1]!, given[2]!, { causal }), weight)),
  );
  return prepared([...parts, weight], () => {
    const [value, gradients] = differentiate(parts);
    value.dispose();
    return [...gradients];
  });
}

function prepareUpdate(size: number, device: DeviceName): PreparedOperation {
  const { beta1, beta2, ...settings } = adamW;
  const parameter = new Parameter(tensor(floats(size, 1), { device }));
  const gradient = tensor(floats(size, 2), { device });
  const optimizer = new AdamW([parameter], { ...settings, betas: [beta1, beta2] });
  return {
    run: () => optimizer.step([gradient]),
    async sample() {
      optimizer.step([gradient]);
      return spread(await parameter.data("float32"));
    },
    dispose() {
      optimizer.dispose();
      parameter.dispose();
      gradient.dispose();
    },
  };
}

function prepareScan({ batch, sequence, channels, state }: Extract<GpuTask, { kind: "scan" }>, device: DeviceName): PreparedOperation {
  const values = scanInputs(batch * sequence, channels, state);
  const inputs = {
    input: tensor(values.input, [batch, sequence, channels], { device }),
    delta: tensor(values.delta, [batch, sequence, channels], { device }),
    stateMatrix: tensor(values.stateMatrix, [channels, state], { device }),
    inputMatrix: tensor(values.inputMatrix, [batch, sequence, state], { device }),
    outputMatrix: tensor(values.outputMatrix, [batch, sequence, state], { device }),
    skip: tensor(values.skip, { device }),
  };
  return prepared(Object.values(inputs), () => {
    const { output, finalState } = selectiveScan(inputs);
    return [output, finalState];
  });
}

/** Makes a task ready. */
export function prepareOperation(task: OperationTask, device: DeviceName): PreparedOperation {
  switch (task.kind) {
    case "gemm": {
      const { size, weights } = task;
      const a = tensor(floats(size ** 2, 1), [size, size], { device });
      const b = randomWeight(size, size, weights, device);
      return prepared([a, b], () => [weights === "float32" ? matmul(a, b as Tensor) : linear(a, b)]);
    }
    case "elementwise":
      return preparedElementwise(
        task.size,
        device,
        {
          add: (a: Tensor, b: Tensor) => add(a, b),
          exp: (a: Tensor) => exp(a),
          chain: (a: Tensor, b: Tensor) => multiply(exp(add(multiply(a, b), a)), 0.5),
        }[task.operation],
      );
    case "rowWise": {
      const { rows, columns, operation } = task;
      const input = tensor(floats(rows * columns, 1), [rows, columns], { device });
      const weight = tensor(floats(columns, 2), { device });
      return prepared([input, weight], () => [operation === "softmax" ? softmax(input) : rmsNorm(input, { weight })]);
    }
    case "gemv": {
      const input = tensor(floats(task.inputs, 1), [1, task.inputs], { device });
      const weight = randomWeight(task.outputs, task.inputs, task.weights, device);
      return prepared([input, weight], () => [linear(input, weight)]);
    }
    case "attention":
      return prepareAttention(task, device);
    case "rfft2": {
      const { batch, rows, columns } = task;
      const input = tensor(floats(batch * rows * columns, 1), [batch, rows, columns], { device });
      return prepared([input], () => {
        const { real, imaginary } = rfft2(input);
        return [real, imaginary];
      });
    }
    case "scan":
      return prepareScan(task, device);
    case "adamW":
      return prepareUpdate(task.size, device);
  }
}

/** What the result should be, from the CPU; of large products and element-wise results some elements, computed in double precision. */
export async function expectedSample(task: OperationTask): Promise<Float32Array> {
  if (task.kind === "gemm" && task.size > 1024) return expectedProduct(task.size, task.weights);
  if (task.kind === "elementwise" && task.size > 2 ** 20) return expectedElements(task);
  const operation = prepareOperation(task, "cpu");
  const values = await operation.sample();
  operation.dispose();
  return values;
}

/** Where `spread` picks. */
const placeOf = (i: number, length: number): number => Math.floor((i * (length - 1)) / (sampledValues - 1));

function expectedElements({ operation, size }: Extract<GpuTask, { kind: "elementwise" }>): Float32Array {
  const [a, b] = [floats(size, 1), floats(size, 2)];
  return Float32Array.from({ length: sampledValues }, (_, i) => {
    const [x, y] = [a[placeOf(i, size)]!, b[placeOf(i, size)]!];
    return { add: x + y, exp: Math.exp(x), chain: Math.exp(x * y + x) * 0.5 }[operation];
  });
}

function expectedProduct(size: number, weights: "float32" | "float16"): Float32Array {
  const a = floats(size ** 2, 1);
  const isHalf = weights === "float16";
  const b = isHalf ? halves(size ** 2, 3) : floats(size ** 2, 3);
  return Float32Array.from({ length: sampledValues }, (_, i) => {
    const at = placeOf(i, size ** 2);
    const [row, column] = [Math.floor(at / size), at % size];
    let total = 0;
    for (let k = 0; k < size; k++) {
      total += a[row * size + k]! * (isHalf ? float16BitsToFloat32(b[column * size + k]!) : b[k * size + column]!);
    }
    return total;
  });
}
