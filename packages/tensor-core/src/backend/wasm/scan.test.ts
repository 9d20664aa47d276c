import { afterAll, describe, expect, it } from "vitest";
import { existsSync, readFileSync } from "node:fs";
import type { TensorView } from "../backend.ts";
import { createWasmRuntime } from "./runtime-instance.ts";
import { createScan } from "./scan.ts";

const runtime = createWasmRuntime();
const kernels = createScan(runtime);
afterAll(() => runtime.pool.stop());

type Arrays = Record<string, Float32Array | undefined>;

/** Deterministic numbers in [-scale, scale). */
function noise(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
}

/** Runs `use` with views of the inputs and of NaN-filled outputs, at odd element offsets; gives the outputs. */
function onDevice(inputs: Arrays, outputCounts: Record<string, number>, use: (views: Record<string, TensorView>) => void): Record<string,
  Float32Array> {
  const { heap } = runtime;
  const views: Record<string, TensorView> = {};
  const place = (name: string, count: number): void => {
    views[name] = { buffer: heap.allocate(count * 4 + 8), dtype: "float32", shape: [count], strides: [1], offset: 1 };
  };
  for (const [name, input] of Object.entries(inputs)) if (input) place(name, input.length);
  for (const [name, count] of Object.entries(outputCounts)) place(name, count);
  for (const [name, input] of Object.entries(inputs)) if (input) heap.float32.set(input, runtime.pointer(views[name]!) / 4);
  for (const [name, count] of Object.entries(outputCounts)) {
    const start = runtime.pointer(views[name]!) / 4;
    heap.float32.fill(NaN, start, start + count);
    heap.float32[start + count] = 12345;
  }
  use(views);
  const outputs: Record<string, Float32Array> = {};
  for (const [name, count] of Object.entries(outputCounts)) {
    const start = runtime.pointer(views[name]!) / 4;
    expect(heap.float32[start + count], `${name} was written past its end`).toBe(12345);
    outputs[name] = heap.float32.slice(start, start + count);
  }
  for (const view of Object.values(views)) heap.free(view.buffer as Parameters<typeof heap.free>[0]);
  return outputs;
}

/** Largest difference over the largest exact value (at least 1e-3); NaN counts as infinite. */
function relativeError(actual: ArrayLike<number>, exact: ArrayLike<number>): number {
  expect(actual.length).toBe(exact.length);
  let worst = 0;
  let size = 1e-3;
  for (let i = 0; i < exact.length; i++) {
    const error = Math.abs(actual[i]! - exact[i]!);
    worst = error <= worst ? worst : Number.isNaN(error) ? Infinity : error;
    size = Math.max(size, Math.abs(exact[i]!));
  }
  return worst / size;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

// — causal convolution —

interface ConvShape { readonly batch: number; readonly sequence: number; readonly channels: number; readonly width: number }
type F64 = Record<string, Float64Array | undefined>;

/** The convolution in double precision. */
function exactConv(a: F64, silu: boolean, { batch, sequence, channels, width }: ConvShape): Float64Array {
  const output = new Float64Array(batch * sequence * channels);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < sequence; t++) {
      for (let c = 0; c < channels; c++) {
        let sum = a.bias?.[c] ?? 0;
        for (let j = 0; j < width; j++) {
          const s = t - width + 1 + j;
          const before = (b * (width - 1) + s + width - 1) * channels + c;
          const x = s >= 0 ? a.input![(b * sequence + s) * channels + c]! : (a.initialState?.[before] ?? 0);
          sum += a.weight![c * width + j]! * x;
        }
        output[(b * sequence + t) * channels + c] = silu ? sum * sigmoid(sum) : sum;
      }
    }
  }
  return output;
}

function convInputs({ batch, sequence, channels, width }: ConvShape, everything: boolean): Arrays {
  return {
    input: noise(batch * sequence * channels, 1, 2), weight: noise(channels * width, 2),
    bias: everything ? noise(channels, 3) : undefined, initialState: everything ? noise(batch * (width - 1) * channels, 4, 2) : undefined,
  };
}

const toF64 = (arrays: Arrays): F64 => Object.fromEntries(Object.entries(arrays).map(([name, a]) => [name, a && Float64Array.from(a)]));

/** ∂ Σ weights · f / ∂ every input, by central differences in double precision. */
function finiteDifferences(inputs: Arrays, f: (inputs: F64) => number): Record<string, Float64Array> {
  const inputs64 = toF64(inputs);
  const result: Record<string, Float64Array> = {};
  for (const [name, values] of Object.entries(inputs64)) {
    if (!values) continue;
    result[name] = Float64Array.from(values, (value, i) => {
      values[i] = value + 1e-5;
      const up = f(inputs64);
      values[i] = value - 1e-5;
      const down = f(inputs64);
      values[i] = value;
      return (up - down) / 2e-5;
    });
  }
  return result;
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function runConv(inputs: Arrays, silu: boolean, shape: ConvShape): Float32Array {
  return onDevice(inputs, { output: inputs.input!.length }, (v) =>
    kernels.causalConv1d({ input: v.input!, weight: v.weight!, bias: v.bias, initialState: v.initialState, silu, output: v.output!,
      ...shape })).output!;
}

function runConvGradient(inputs: Arrays, gradient: Float32Array, silu: boolean, shape: ConvShape): Record<string, Float32Array> {
  const counts: Record<string, number> = {};
  for (const [name, a] of Object.entries(inputs)) if (a) counts[`${name}Gradient`] = a.length;
  return onDevice({ ...inputs, gradient }, counts, (v) =>
    kernels.causalConv1dGradient({
      gradient: v.gradient!, input: v.input!, weight: v.weight!, bias: v.bias, initialState: v.initialState, silu, ...shape,
      inputGradient: v.inputGradient!, weightGradient: v.weightGradient!, biasGradient: v.biasGradient,
      initialStateGradient: v.initialStateGradient,
    }));
}

describe("causalConv1d", () => {
  const shapes: ConvShape[] = [
    { batch: 2, sequence: 7, channels: 5, width: 4 }, { batch: 1, sequence: 130, channels: 33, width: 4 },
    { batch: 3, sequence: 3, channels: 16, width: 4 },
    { batch: 2, sequence: 65, channels: 20, width: 2 }, { batch: 1, sequence: 9, channels: 3, width: 1 },
    { batch: 2, sequence: 4, channels: 17, width: 7 },
    { batch: 1, sequence: 70, channels: 4, width: 80 },
  ];
  it.each(shapes)("agrees with double precision: %o", (shape) => {
    for (const everything of [false, true]) {
      for (const silu of [false, true]) {
        const inputs = convInputs(shape, everything);
        expect(relativeError(runConv(inputs, silu, shape), exactConv(toF64(inputs), silu, shape))).toBeLessThan(2e-6);
      }
    }
  });

  it.each([
    { batch: 2, sequence: 6, channels: 5, width: 4 }, { batch: 1, sequence: 70, channels: 3, width: 3 },
    { batch: 2, sequence: 2, channels: 18, width: 5 }, { batch: 2, sequence: 3, channels: 4, width: 1 },
  ])("has the gradients of finite differences: %o", (shape) => {
    for (const everything of [false, true]) {
      for (const silu of [false, true]) {
        const inputs = convInputs(shape, everything);
        const gradient = noise(inputs.input!.length, 9);
        const actual = runConvGradient(inputs, gradient, silu, shape);
        const exact = finiteDifferences(inputs, (a) => dot(exactConv(a, silu, shape), gradient));
        for (const [name, values] of Object.entries(exact)) expect(relativeError(actual[`${name}Gradient`]!, values),
          name).toBeLessThan(3e-6);
      }
    }
  });
});

// — selective scan —

interface ScanShape { readonly batch: number; readonly sequence: number; readonly channels: number; readonly stateSize: number }

/** The scan in double precision: outputs and final states. */
function exactScan(a: F64, softplus: boolean, { batch, sequence, channels, stateSize }: ScanShape): { output: Float64Array;
finalState: Float64Array } {
  const output = new Float64Array(batch * sequence * channels);
  const finalState = new Float64Array(batch * channels * stateSize);
  for (let b = 0; b < batch; b++) {
    for (let c = 0; c < channels; c++) {
      const h = Float64Array.from({ length: stateSize }, (_, n) => a.initialState?.[(b * channels + c) * stateSize + n] ?? 0);
      for (let t = 0; t < sequence; t++) {
        const at = (b * sequence + t) * channels + c;
        const d = softplus ? Math.log1p(Math.exp(a.delta![at]!)) : a.delta![at]!;
        let y = (a.skip?.[c] ?? 0) * a.input![at]!;
        for (let n = 0; n < stateSize; n++) {
          const matrices = (b * sequence + t) * stateSize + n;
          h[n] = Math.exp(d * a.stateMatrix![c * stateSize + n]!) * h[n]! + d * a.inputMatrix![matrices]! * a.input![at]!;
          y += a.outputMatrix![matrices]! * h[n]!;
        }
        output[at] = y;
      }
      finalState.set(h, (b * channels + c) * stateSize);
    }
  }
  return { output, finalState };
}

function scanInputs({ batch, sequence, channels, stateSize }: ScanShape, everything: boolean, softplus: boolean): Arrays {
  const rows = batch * sequence;
  return {
    input: noise(rows * channels, 1, 2),
    delta: softplus ? noise(rows * channels, 2, 3) : noise(rows * channels, 2, 0.5).map((v) => v + 0.6),
    stateMatrix: noise(channels * stateSize, 3).map((v) => -0.05 - 2 * Math.abs(v)),
    inputMatrix: noise(rows * stateSize, 4), outputMatrix: noise(rows * stateSize, 5),
    skip: everything ? noise(channels, 6) : undefined, initialState: everything ? noise(batch * channels * stateSize, 7) : undefined,
  };
}

function runScan(inputs: Arrays, deltaSoftplus: boolean, shape: ScanShape): Record<string, Float32Array> {
  const counts = { output: inputs.input!.length, finalState: shape.batch * shape.channels * shape.stateSize };
  return onDevice(inputs, counts, (v) =>
    kernels.selectiveScan({
      input: v.input!, delta: v.delta!, stateMatrix: v.stateMatrix!, inputMatrix: v.inputMatrix!, outputMatrix: v.outputMatrix!,
      skip: v.skip,
      initialState: v.initialState, deltaSoftplus, output: v.output!, finalState: v.finalState!, ...shape,
    }));
}

function runScanGradient(inputs: Arrays, gradients: Arrays, deltaSoftplus: boolean, shape: ScanShape): Record<string, Float32Array> {
  const counts: Record<string, number> = {};
  for (const [name, a] of Object.entries(inputs)) if (a) counts[`${name}Gradient`] = a.length;
  return onDevice({ ...inputs, ...gradients }, counts, (v) =>
    kernels.selectiveScanGradient({
      gradient: v.gradient!, finalStateGradient: v.finalStateGradient, input: v.input!, delta: v.delta!, stateMatrix: v.stateMatrix!,
      inputMatrix: v.inputMatrix!, outputMatrix: v.outputMatrix!, skip: v.skip, initialState: v.initialState, deltaSoftplus, ...shape,
      inputGradient: v.inputGradient!, deltaGradient: v.deltaGradient!, stateMatrixGradient: v.stateMatrixGradient!,
      inputMatrixGradient: v.inputMatrixGradient!, outputMatrixGradient: v.outputMatrixGradient!, skipGradient: v.skipGradient,
      initialStateGradient: v.initialStateGradient,
    }));
}

describe("selectiveScan", () => {
  const shapes: ScanShape[] = [
    { batch: 2, sequence: 9, channels: 5, stateSize: 4 }, { batch: 1, sequence: 200, channels: 33, stateSize: 16 },
    { batch: 3, sequence: 64, channels: 16, stateSize: 3 }, { batch: 2, sequence: 65, channels: 18, stateSize: 1 },
    { batch: 1, sequence: 1, channels: 40, stateSize: 7 },
  ];
  it.each(shapes)("agrees with double precision: %o", (shape) => {
    for (const everything of [false, true]) {
      for (const softplus of [false, true]) {
        const inputs = scanInputs(shape, everything, softplus);
        const actual = runScan(inputs, softplus, shape);
        const exact = exactScan(toF64(inputs), softplus, shape);
        expect(relativeError(actual.output!, exact.output)).toBeLessThan(3e-6);
        expect(relativeError(actual.finalState!, exact.finalState)).toBeLessThan(3e-6);
      }
    }
  });

  it.each([
    { batch: 2, sequence: 5, channels: 3, stateSize: 4 }, { batch: 1, sequence: 67, channels: 2, stateSize: 3 },
    { batch: 2, sequence: 3, channels: 19, stateSize: 2 }, { batch: 1, sequence: 2, channels: 150, stateSize: 1 },
  ])("has the gradients of finite differences: %o", (shape) => {
    for (const everything of [false, true]) {
      for (const softplus of [false, true]) {
        const inputs = scanInputs(shape, everything, softplus);
        const gradients: Arrays = {
          gradient: noise(inputs.input!.length, 8),
          finalStateGradient: everything ? noise(shape.batch * shape.channels * shape.stateSize, 9) : undefined,
        };
        const actual = runScanGradient(inputs, gradients, softplus, shape);
        const exact = finiteDifferences(inputs, (a) => {
          const { output, finalState } = exactScan(a, softplus, shape);
          return dot(output, gradients.gradient!) + (gradients.finalStateGradient ? dot(finalState, gradients.finalStateGradient) : 0);
        });
        for (const [name, values] of Object.entries(exact)) expect(relativeError(actual[`${name}Gradient`]!, values),
          name).toBeLessThan(5e-6);
      }
    }
  });

  it("carries the state: two halves give what the whole gives", () => {
    const shape = { batch: 1, sequence: 50, channels: 21, stateSize: 5 };
    const inputs = scanInputs(shape, true, true);
    const whole = runScan(inputs, true, shape);
    const part = (from: number, to: number, initialState: Float32Array): Record<string, Float32Array> => {
      const cut = (a: Float32Array, columns: number): Float32Array => a.slice(from * columns, to * columns);
      return runScan(
        {
          ...inputs, input: cut(inputs.input!, 21), delta: cut(inputs.delta!, 21), inputMatrix: cut(inputs.inputMatrix!, 5),
          outputMatrix: cut(inputs.outputMatrix!, 5), initialState,
        },
        true, { ...shape, sequence: to - from },
      );
    };
    const first = part(0, 23, inputs.initialState!);
    const second = part(23, 50, first.finalState!);
    expect([...first.output!, ...second.output!]).toEqual([...whole.output!]);
    expect(second.finalState).toEqual(whole.finalState);
  });

  it("treats fast decay as forgetting and keeps NaN", () => {
    const shape = { batch: 1, sequence: 3, channels: 2, stateSize: 1 };
    const inputs: Arrays = {
      input: Float32Array.of(1, 1, 2, 2, 3, 3), delta: Float32Array.of(1, 1, 1, 1, 1, 1), stateMatrix: Float32Array.of(-1e6, NaN),
      inputMatrix: Float32Array.of(1, 1, 1), outputMatrix: Float32Array.of(1, 1, 1),
    };
    const { output } = runScan(inputs, false, shape);
    expect([output![0], output![2], output![4]]).toEqual([1, 2, 3]);
    expect([output![1], output![3], output![5]]).toEqual([NaN, NaN, NaN]);
  });

  it("passes gradients through an empty sequence and an empty batch", () => {
    const shape = { batch: 1, sequence: 0, channels: 3, stateSize: 2 };
    const inputs = scanInputs(shape, true, true);
    expect(runScan(inputs, true, shape).finalState).toEqual(inputs.initialState);
    const finalStateGradient = noise(6, 1);
    const gradients = runScanGradient(inputs, { gradient: new Float32Array(0), finalStateGradient }, true, shape);
    expect(gradients.initialStateGradient).toEqual(finalStateGradient);
    expect(gradients.stateMatrixGradient).toEqual(new Float32Array(6));
    const none = { ...shape, batch: 0 };
    const empty = runScanGradient(scanInputs(none, true, true), { gradient: new Float32Array(0) }, true, none);
    expect(empty.stateMatrixGradient).toEqual(new Float32Array(6));
    expect(empty.skipGradient).toEqual(new Float32Array(3));
  });
});

describe("sequence kernels", () => {
  it("give the same bits for one and for several threads", () => {
    const shape = { batch: 2, sequence: 67, channels: 203, stateSize: 8 };
    const conv = { batch: 2, sequence: 67, channels: 203, width: 4 };
    const scanned = scanInputs(shape, true, true);
    const convolved = convInputs(conv, true);
    const gradient = noise(scanned.input!.length, 8);
    const run = (): unknown => [
      runScan(scanned, true, shape), runScanGradient(scanned, { gradient }, true, shape), runConv(convolved, true, conv),
      runConvGradient(convolved, gradient, true, conv),
    ];
    runtime.pool.setThreadCount(1);
    const alone = run();
    for (const threads of [2, 3]) {
      runtime.pool.setThreadCount(threads);
      expect(run()).toEqual(alone);
    }
    runtime.pool.setThreadCount(1);
  });

  it("free all scratch", () => {
    const shape = { batch: 1, sequence: 40, channels: 8, stateSize: 4 };
    const inputs = scanInputs(shape, true, true);
    const once = (): void => void runScanGradient(inputs, { gradient: noise(320, 1) }, true, shape);
    once();
    const before = runtime.heap.usage();
    once();
    expect(runtime.heap.usage().allocations).toBe(before.allocations);
  });
});

// — a whole Mamba-1 block computed elsewhere (PyTorch, double precision); the file belongs to the shared test data —

interface Stored { readonly shape: number[]; readonly data: number[] }
interface Golden {
  readonly d_inner: number; readonly d_state: number; readonly dt_rank: number; readonly d_conv: number; readonly d_model: number;
  readonly params: Record<string, Stored>; readonly u: Stored; readonly y: Stored; readonly last_state: Stored; readonly grad_seed: Stored;
  readonly grads_of_sum_y_times_seed: Record<string, Stored>;
}

const goldenFile = new URL("../../../../../../shared/data/mamba4net-golden/mamba1-block.json", import.meta.url);
const hasGolden = existsSync(goldenFile);
if (!hasGolden && process.env.CI) throw new Error(`${goldenFile.pathname} is required in CI`);
if (!hasGolden) console.warn(`skipped: no golden at ${goldenFile.pathname}`);

describe.skipIf(!hasGolden)("Mamba-1 block golden", () => {
  /** [rows, k] × [columns, k]ᵀ. */
  const linear = (x: ArrayLike<number>, w: Stored): Float32Array => {
    const [columns, k] = w.shape as [number, number];
    const rows = x.length / k;
    const result = new Float32Array(rows * columns);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        let sum = 0;
        for (let i = 0; i < k; i++) sum += x[r * k + i]! * w.data[c * k + i]!;
        result[r * columns + c] = sum;
      }
    }
    return result;
  };
  const columns = (x: Float32Array, width: number, from: number,
    to: number): Float32Array => x.filter((_, i) => i % width >= from && i % width < to);
  const float = (stored: Stored): Float32Array => Float32Array.from(stored.data);

  it("reproduces the block's output and last state, and the gradients of D, conv bias and conv weight", () => {
    const golden = JSON.parse(readFileSync(goldenFile, "utf8")) as Golden;
    const { params, d_inner: channels, d_state: stateSize, dt_rank: rank, d_conv: width } = golden;
    const [batch, sequence] = golden.u.shape as [number, number];
    const projected = linear(golden.u.data, params.in_proj!);
    const convolved = columns(projected, 2 * channels, 0, channels);
    const gate = columns(projected, 2 * channels, channels, 2 * channels);
    const convShape = { batch, sequence, channels, width };
    const convArrays: Arrays = { input: convolved, weight: float(params.conv_w!), bias: float(params.conv_b!) };
    const x = runConv(convArrays, true, convShape);
    const xDbl = linear(x, params.x_proj!);
    const total = rank + 2 * stateSize;
    const deltaBias = params.dt_proj_b!.data;
    const arrays: Arrays = {
      input: x, delta: linear(columns(xDbl, total, 0, rank), params.dt_proj_w!).map((v, i) => v + deltaBias[i % channels]!),
      stateMatrix: float(params.A_log!).map((v) => -Math.exp(v)), inputMatrix: columns(xDbl, total, rank, rank + stateSize),
      outputMatrix: columns(xDbl, total, rank + stateSize, total), skip: float(params.D!),
    };
    const shape = { batch, sequence, channels, stateSize };
    const { output, finalState } = runScan(arrays, true, shape);
    const silu = gate.map((v) => v * sigmoid(v));
    expect(relativeError(linear(output!.map((v, i) => v * silu[i]!), params.out_proj!), golden.y.data)).toBeLessThan(3e-6);
    expect(relativeError(finalState!, golden.last_state.data)).toBeLessThan(3e-6);

    // Backward: seed through out_proj and the gate to the scan, from the scan through its three projections to x, then through the
    // convolution.
    const transpose = (w: Stored): Stored => {
      const [r, c] = w.shape as [number, number];
      return { shape: [c, r], data: Array.from({ length: r * c }, (_, i) => w.data[(i % r) * c + Math.floor(i / r)]!) };
    };
    const beforeOut = linear(golden.grad_seed.data, transpose(params.out_proj!));
    const gradients = runScanGradient(arrays, { gradient: beforeOut.map((v, i) => v * silu[i]!) }, true, shape);
    const expected = golden.grads_of_sum_y_times_seed;
    expect(relativeError(gradients.skipGradient!, expected.D!.data)).toBeLessThan(1e-5);
    expect(
      relativeError(gradients.stateMatrixGradient!.map((v, i) => v * arrays.stateMatrix![i]!), expected.A_log!.data)).toBeLessThan(1e-5,
    );
    const lowRank = linear(gradients.deltaGradient!, transpose(params.dt_proj_w!));
    const joined = new Float32Array(batch * sequence * total);
    for (let r = 0; r < batch * sequence; r++) {
      joined.set(lowRank.subarray(r * rank, (r + 1) * rank), r * total);
      joined.set(gradients.inputMatrixGradient!.subarray(r * stateSize, (r + 1) * stateSize), r * total + rank);
      joined.set(gradients.outputMatrixGradient!.subarray(r * stateSize, (r + 1) * stateSize), r * total + rank + stateSize);
    }
    const throughProjection = linear(joined, transpose(params.x_proj!));
    const convGradients = runConvGradient(convArrays, gradients.inputGradient!.map((v, i) => v + throughProjection[i]!), true, convShape);
    expect(relativeError(convGradients.biasGradient!, expected.conv_b!.data)).toBeLessThan(1e-5);
    expect(relativeError(convGradients.weightGradient!, expected.conv_w!.data)).toBeLessThan(1e-5);
  });
});
