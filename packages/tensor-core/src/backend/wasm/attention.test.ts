import { afterAll, describe, expect, it } from "vitest";
import fc from "fast-check";
import { ExactBuffer } from "../reference/memory.ts";
import { attentionKernels } from "../reference/attention.ts";
import type { TensorView } from "../backend.ts";
import { createAttention } from "./attention.ts";
import { relaxedKernels } from "./kernels/relaxed.wasm.ts";
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
const kernels = createAttention(runtime);
afterAll(() => runtime.pool.stop());

interface Problem {
  readonly batch: number;
  readonly group: number;
  readonly keyHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  readonly causal: boolean;
  readonly queryOffset: number;
  /** [batch, heads, sequence, headDim] in that order, or [batch, sequence, heads, headDim] with gaps between tokens. */
  readonly headsInside: boolean;
  readonly mask: "none" | "padding" | "full" | "strided";
}

/** Strides of [batch, heads, sequence, headDim]. */
function stridesOf({ headsInside }: Problem, heads: number, sequence: number, headDim: number): number[] {
  if (!headsInside) return [heads * sequence * headDim, sequence * headDim, headDim, 1];
  const step = heads * headDim + 3;
  return [sequence * step, headDim, step, 1];
}

function maskOf({ mask, batch, keyHeads, group, queries, keys }: Problem): Argument | undefined {
  const shape = [batch, keyHeads * group, queries, keys];
  const bias = (count: number): Float32Array => noise(count, 99).map((value) => (value > 1 ? -Infinity : value));
  switch (mask) {
    case "none":
      return undefined;
    case "padding":
      return { ...valuesTensor([batch * keys], bias(batch * keys)), shape, strides: [keys, 0, 0, 1] };
    case "full":
      return valuesTensor(shape, bias(shape.reduce((product, size) => product * size, 1)));
    case "strided":
      return { ...valuesTensor([queries * keys * 2], bias(queries * keys * 2)), shape, strides: [0, 0, 2, 2 * queries] };
  }
}

function forwardArguments(problem: Problem, seed = 1): Arguments<"attention"> {
  const { batch, group, keyHeads, queries, keys, headDim, causal, queryOffset } = problem;
  const heads = group * keyHeads;
  const queryShape = [batch, heads, queries, headDim];
  const keyShape = [batch, keyHeads, keys, headDim];
  const queryStrides = stridesOf(problem, heads, queries, headDim);
  const keyStrides = stridesOf(problem, keyHeads, keys, headDim);
  return {
    query: randomTensor(queryShape, seed, { strides: queryStrides }),
    key: randomTensor(keyShape, seed + 1, { strides: keyStrides }),
    value: randomTensor(keyShape, seed + 2, { strides: keyStrides }),
    output: outputTensor(queryShape, queryStrides),
    logSumExp: outputTensor([batch, heads, queries]),
    mask: maskOf(problem),
    scale: 1 / Math.sqrt(headDim),
    causal,
    queryOffset,
  };
}

function backwardArguments(forward: Arguments<"attention">, results: Storages<"attention">): Arguments<"attentionGradient"> {
  const { query, key, value, output, logSumExp } = forward;
  return {
    ...forward,
    gradient: randomTensor(output.shape, 17, { strides: output.strides }),
    output: { ...output, storage: results.output },
    logSumExp: { ...logSumExp, storage: results.logSumExp },
    queryGradient: outputTensor(query.shape, query.strides),
    keyGradient: outputTensor(key.shape, key.strides),
    valueGradient: outputTensor(value.shape, value.strides),
  };
}

function expectForwardAndBackward(problem: Problem): void {
  const forward = forwardArguments(problem);
  const actual = runOnWasm(runtime, kernels, "attention", forward);
  const expected = runOnReference("attention", forward);
  expect(largestError(actual.output, expected.output)).toBeLessThan(3e-6);
  expect(largestError(actual.logSumExp, expected.logSumExp)).toBeLessThan(3e-6);
  const backward = backwardArguments(forward, expected);
  const gradients = runOnWasm(runtime, kernels, "attentionGradient", backward);
  const expectedGradients = runOnReference("attentionGradient", backward);
  for (const name of ["queryGradient", "keyGradient", "valueGradient"] as const) {
    expect(largestError(gradients[name], expectedGradients[name]), name).toBeLessThan(1e-5);
  }
}

const base: Problem = {
  batch: 1,
  group: 1,
  keyHeads: 2,
  queries: 65,
  keys: 130,
  headDim: 48,
  causal: false,
  queryOffset: 0,
  headsInside: false,
  mask: "none",
};

describe("attention on WebAssembly", () => {
  it.each<[string, Partial<Problem>]>([
    ["several blocks of keys and rows", {}],
    ["causal prefill", { queries: 130, causal: true, headsInside: true }],
    ["causal with a cache before the queries", { queries: 33, causal: true, queryOffset: 97 }],
    ["causal with more queries than keys", { queries: 150, keys: 70, causal: true, queryOffset: -20 }],
    ["grouped-query attention, two batches", { batch: 2, group: 3, queries: 23, causal: true, queryOffset: 107, headsInside: true }],
    ["decoding one token", { queries: 1, causal: true, queryOffset: 129, group: 4 }],
    ["decoding with a large group", { queries: 1, causal: true, queryOffset: 129, group: 16 }],
    ["a padding mask", { batch: 2, mask: "padding" }],
    ["a full mask and causality", { mask: "full", causal: true, queryOffset: 65 }],
    ["a mask with strides", { mask: "strided", group: 2 }],
    ["head dimension 128", { headDim: 128, queries: 20 }],
    ["head dimension 1", { headDim: 1 }],
    ["no keys", { keys: 0 }],
    ["chunks of keys in backward", { keys: 700, queries: 9, keyHeads: 1 }],
  ])("agrees with the reference: %s", (_, change) => expectForwardAndBackward({ ...base, ...change }));

  it("agrees with the reference for any shape", () => {
    fc.assert(
      fc.property(
        fc.record({
          batch: fc.integer({ min: 1, max: 2 }),
          group: fc.integer({ min: 1, max: 3 }),
          keyHeads: fc.integer({ min: 1, max: 2 }),
          queries: fc.integer({ min: 0, max: 70 }),
          keys: fc.integer({ min: 0, max: 140 }),
          headDim: fc.integer({ min: 1, max: 37 }),
          causal: fc.boolean(),
          queryOffset: fc.integer({ min: -10, max: 80 }),
          headsInside: fc.boolean(),
          mask: fc.constantFrom("none", "padding", "full", "strided"),
        }),
        expectForwardAndBackward,
      ),
      { numRuns: 60, seed: 7 },
    );
  });

  it("gives zeros and -Infinity to queries that see nothing, in both kernels", () => {
    for (const queries of [3, 40]) {
      const forward = forwardArguments({ ...base, queries, causal: true, queryOffset: -2 });
      const { output, logSumExp } = runOnWasm(runtime, kernels, "attention", forward);
      expect(Array.from(output.subarray(1, 1 + 2 * base.headDim))).toEqual(new Array(2 * base.headDim).fill(0));
      expect(output[1 + 2 * base.headDim]).not.toBe(0);
      expect(Array.from(logSumExp.subarray(1, 3))).toEqual([-Infinity, -Infinity]);
    }
  });

  it("never lets keys show that a causal query must not see, not even NaN", () => {
    for (const queries of [3, 70]) {
      const forward = forwardArguments({ ...base, keyHeads: 1, queries, keys: queries, causal: true });
      const clean = runOnWasm(runtime, kernels, "attention", forward).output;
      const spoil = (tensor: Argument): Argument => {
        const storage = tensor.storage.slice() as Float32Array;
        storage.fill(NaN, tensor.offset + (queries - 1) * base.headDim);
        return { ...tensor, storage };
      };
      const spoilt = runOnWasm(runtime, kernels, "attention", { ...forward, key: spoil(forward.key), value: spoil(forward.value) }).output;
      const last = forward.output.offset + (queries - 1) * base.headDim;
      expect(spoilt.subarray(0, last)).toEqual(clean.subarray(0, last));
      expect(spoilt.subarray(last, last + base.headDim).every(Number.isNaN)).toBe(true);
    }
  });

  it("writes the same bits for any number of threads, forward and backward", () => {
    const problem: Problem = {
      ...base,
      batch: 2,
      group: 2,
      keyHeads: 1,
      queries: 150,
      keys: 300,
      causal: true,
      queryOffset: 150,
      mask: "full",
    };
    const forward = forwardArguments(problem);
    const runs = [1, 2, 3, 8].map((threads) => {
      runtime.pool.setThreadCount(threads);
      const results = runOnWasm(runtime, kernels, "attention", forward);
      return { results, gradients: runOnWasm(runtime, kernels, "attentionGradient", backwardArguments(forward, results)) };
    });
    runtime.pool.setThreadCount(2);
    for (const run of runs.slice(1)) expect(run).toEqual(runs[0]);
  });

  it("has the gradients that finite differences in float64 give", () => {
    const problem: Problem = {
      ...base,
      group: 2,
      keyHeads: 1,
      queries: 6,
      keys: 9,
      headDim: 5,
      causal: true,
      queryOffset: 2,
      mask: "padding",
    };
    const forward = forwardArguments(problem);
    const backward = backwardArguments(forward, runOnReference("attention", forward));
    const gradients = runOnWasm(runtime, kernels, "attentionGradient", backward);
    const exact = (tensor: Argument): TensorView & { buffer: ExactBuffer } => ({
      buffer: new ExactBuffer(Float64Array.from(tensor.storage)),
      dtype: "float32",
      shape: tensor.shape,
      strides: tensor.strides,
      offset: tensor.offset,
    });
    const views = { query: exact(forward.query), key: exact(forward.key), value: exact(forward.value) };
    const output = exact(forward.output);
    const loss = (): number => {
      attentionKernels.attention({
        ...views,
        output,
        logSumExp: exact(forward.logSumExp),
        mask: exact(forward.mask!),
        scale: forward.scale,
        causal: true,
        queryOffset: 2,
      });
      const weights = backward.gradient.storage;
      return output.buffer.values.reduce((sum, value, i) => sum + (value === -777 ? 0 : value * weights[i]!), 0);
    };
    for (const [name, gradient] of [
      ["query", "queryGradient"],
      ["key", "keyGradient"],
      ["value", "valueGradient"],
    ] as const) {
      const { values } = views[name].buffer;
      const numeric = gradients[gradient].map((written, i) => {
        if (written === -777) return written;
        const before = values[i]!;
        values[i] = before + 1e-5;
        const above = loss();
        values[i] = before - 1e-5;
        const below = loss();
        values[i] = before;
        return (above - below) / 2e-5;
      });
      expect(largestError(gradients[gradient], numeric), name).toBeLessThan(1e-5);
    }
  });

  it("gives nearly the same with the relaxed build", () => {
    const relaxed = createWasmRuntime(relaxedKernels);
    relaxed.pool.setThreadCount(1);
    const forward = forwardArguments({ ...base, causal: true, queryOffset: 65 });
    const actual = runOnWasm(relaxed, createAttention(relaxed), "attention", forward);
    expect(largestError(actual.output, runOnReference("attention", forward).output)).toBeLessThan(3e-6);
  });
});
