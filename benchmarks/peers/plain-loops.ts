/** Loops over typed arrays as one would write them by hand, for what no library offers. */
import { adamW, sampleOf, scanInputs, uniform } from "../src/inputs.ts";
import type { Adapter, Prepared, Task } from "../src/workload.ts";

function scan(sequence: number, channels: number, state: number): Prepared {
  const { input, delta, stateMatrix, inputMatrix, outputMatrix, skip } = scanInputs(sequence, channels, state);
  const hidden = new Float32Array(channels * state);
  const output = new Float32Array(sequence * channels);
  return {
    run: () => {
      hidden.fill(0);
      for (let t = 0; t < sequence; t++) {
        for (let c = 0; c < channels; c++) {
          const step = delta[t * channels + c]!;
          const x = input[t * channels + c]!;
          let sum = skip[c]! * x;
          for (let s = 0; s < state; s++) {
            const h = Math.exp(step * stateMatrix[c * state + s]!) * hidden[c * state + s]! + step * inputMatrix[t * state + s]! * x;
            hidden[c * state + s] = h;
            sum += outputMatrix[t * state + s]! * h;
          }
          output[t * channels + c] = sum;
        }
      }
    },
    sample: () => sampleOf(output),
  };
}

function update(size: number): Prepared {
  const { learningRate, beta1, beta2, epsilon, weightDecay } = adamW;
  const parameter = uniform(size, 1);
  const gradient = uniform(size, 2);
  const first = new Float32Array(size);
  const second = new Float32Array(size);
  let step = 0;
  return {
    run: () => {
      step++;
      const correction1 = 1 - beta1 ** step;
      const correction2 = 1 - beta2 ** step;
      for (let i = 0; i < size; i++) {
        const g = gradient[i]!;
        const m = beta1 * first[i]! + (1 - beta1) * g;
        const v = beta2 * second[i]! + (1 - beta2) * g * g;
        first[i] = m;
        second[i] = v;
        const p = parameter[i]!;
        parameter[i] = p - learningRate * (m / correction1 / (Math.sqrt(v / correction2) + epsilon) + weightDecay * p);
      }
    },
    sample: () => sampleOf(parameter),
  };
}

function softmax(rows: number, columns: number): Prepared {
  const input = uniform(rows * columns, 1);
  const output = new Float32Array(rows * columns);
  return {
    run: () => {
      for (let start = 0; start < input.length; start += columns) {
        let largest = -Infinity;
        for (let i = start; i < start + columns; i++) if (input[i]! > largest) largest = input[i]!;
        let sum = 0;
        for (let i = start; i < start + columns; i++) sum += output[i] = Math.exp(input[i]! - largest);
        for (let i = start; i < start + columns; i++) output[i]! /= sum;
      }
    },
    sample: () => sampleOf(output),
  };
}

function norm(rows: number, columns: number, centered: boolean): Prepared {
  const input = uniform(rows * columns, 1);
  const weight = uniform(columns, 2);
  const bias = centered ? uniform(columns, 3) : new Float32Array(columns);
  const output = new Float32Array(rows * columns);
  return {
    run: () => {
      for (let start = 0; start < input.length; start += columns) {
        let mean = 0;
        if (centered) {
          for (let i = start; i < start + columns; i++) mean += input[i]!;
          mean /= columns;
        }
        let squares = 0;
        for (let i = start; i < start + columns; i++) squares += (input[i]! - mean) ** 2;
        const scale = 1 / Math.sqrt(squares / columns + 1e-5);
        for (let i = 0; i < columns; i++) output[start + i] = (input[start + i]! - mean) * scale * weight[i]! + bias[i]!;
      }
    },
    sample: () => sampleOf(output),
  };
}

function elementwise(operation: "exp" | "add", size: number): Prepared {
  const a = uniform(size, 1);
  const b = uniform(size, 2);
  const output = new Float32Array(size);
  const loops = {
    exp: () => {
      for (let i = 0; i < size; i++) output[i] = Math.exp(a[i]!);
    },
    add: () => {
      for (let i = 0; i < size; i++) output[i] = a[i]! + b[i]!;
    },
  };
  return { run: loops[operation], sample: () => sampleOf(output) };
}

async function prepare(task: Task): Promise<Prepared | undefined> {
  switch (task.kind) {
    case "scan":
      return scan(task.sequence, task.channels, task.state);
    case "adamW":
      return update(task.size);
    case "softmax":
      return softmax(task.rows, task.columns);
    case "layerNorm":
    case "rmsNorm":
      return norm(task.rows, task.columns, task.kind === "layerNorm");
    case "exp":
    case "add":
      return elementwise(task.kind, task.size);
    default:
      return undefined;
  }
}

export const adapter: Adapter = { open: async () => ({ version: process.versions.v8, prepare }) };
