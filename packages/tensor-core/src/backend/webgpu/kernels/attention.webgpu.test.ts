import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contiguousStrides, sizeOf } from "../../../tensor/shape.ts";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { runKernel } from "../../../validation/run-kernel.ts";
import { outputSpec, tensorSpec, type KernelSpec, type TensorSpec } from "../../../validation/tensor-spec.ts";
import { choices, normals, type Filler } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import { laneName } from "../../../testing/webgpu-lane.ts";
import type { Backend, DeviceBuffer, TensorView } from "../../backend.ts";
import { createWasmBackend } from "../../wasm/backend.ts";
import type { WebGpuBackend } from "../backend.ts";

const cpu = createWasmBackend();
let backend: WebGpuBackend;
beforeAll(async () => {
  backend = await laneBackend();
});
afterAll(() => {
  backend.destroy();
});

interface Problem {
  readonly batch?: number;
  readonly keyHeads?: number;
  readonly group?: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  readonly causal?: boolean;
  readonly queryOffset?: number;
  readonly mask?: "full" | "padding";
  /** [batch, length, heads, headDim] in memory. */
  readonly headsInside?: boolean;
}

function forwardSpec(problem: Problem): KernelSpec<"attention"> {
  const { batch = 1, keyHeads = 2, group = 1, queries, keys, headDim, headsInside = true } = problem;
  const layout = headsInside ? { offset: 0, order: [0, 2, 1, 3] } : { offset: 0 };
  const queryShape = [batch, keyHeads * group, queries, headDim];
  const keyShape = [batch, keyHeads, keys, headDim];
  const scoreShape = [batch, keyHeads * group, queries, keys];
  const maskLayout = problem.mask === "padding" ? { offset: 1, broadcast: 0b0110 } : { offset: 0 };
  return {
    query: tensorSpec("float32", queryShape, normals(1), layout),
    key: tensorSpec("float32", keyShape, normals(2), layout),
    value: tensorSpec("float32", keyShape, normals(3), layout),
    output: outputSpec("float32", queryShape, layout),
    logSumExp: outputSpec("float32", queryShape.slice(0, 3)),
    mask: problem.mask && tensorSpec("float32", scoreShape, choices(4, [0, 0, 0.5, -Infinity]), maskLayout),
    scale: 1 / Math.sqrt(headDim),
    causal: problem.causal ?? false,
    queryOffset: problem.queryOffset ?? 0,
  };
}

/** Largest difference of an output from the WASM kernels'; guard elements count too. */
async function compare<Name extends "attention" | "attentionGradient">(
  name: Name,
  spec: KernelSpec<Name>,
  device: Backend = backend,
): Promise<number> {
  const expected = await runKernel(cpu, name, spec);
  const actual = await runKernel(device, name, spec);
  let largest = 0;
  for (const [path, { values }] of expected) {
    values.forEach((value, i) => {
      const other = actual.get(path)!.values[i]!;
      if (Object.is(value, other) || value === other) return;
      const difference = Math.abs(value - other);
      largest = Math.max(largest, Number.isNaN(difference) ? Infinity : difference);
    });
  }
  return largest;
}

async function backwardSpec(spec: KernelSpec<"attention">): Promise<KernelSpec<"attentionGradient">> {
  const results = await runKernel(cpu, "attention", spec);
  const filled = (name: "output" | "logSumExp"): TensorSpec => ({ ...spec[name], storage: results.get(name)!.values });
  const like = (tensor: TensorSpec): TensorSpec => ({ ...tensor, storage: tensor.storage.map(() => NaN) });
  const { output, logSumExp: _, ...inputs } = spec;
  return {
    ...inputs,
    gradient: tensorSpec("float32", output.shape, normals(5), { offset: 4, order: [0, 2, 1, 3] }),
    output: filled("output"),
    logSumExp: filled("logSumExp"),
    queryGradient: like(spec.query),
    keyGradient: like(spec.key),
    valueGradient: like(spec.value),
  };
}

describe("attention kernels beside the reference", () => {
  it.each(["attention", "attentionGradient"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 40 });
  });
});

describe("attention of larger shapes beside the WASM kernels", () => {
  it.each<[string, Problem]>([
    ["one token, keys in splits", { group: 4, queries: 1, keys: 700, headDim: 64, causal: true, queryOffset: 650 }],
    ["two tokens of one head each", { batch: 3, queries: 2, keys: 65, headDim: 48, causal: true, queryOffset: 40 }],
    ["one token after an empty cache", { queries: 1, keys: 1, headDim: 64, causal: true }],
    ["one token, eight query heads a key head, 128 columns", { group: 8, queries: 1, keys: 200, headDim: 128 }],
    ["a few tokens in two blocks of rows, masked", { group: 5, queries: 2, keys: 200, headDim: 80, mask: "full" }],
    ["scalars: head dimension 3", { queries: 1, keys: 200, headDim: 3 }],
    ["one token of 256 columns", { queries: 1, keys: 130, headDim: 256 }],
    ["prefill", { queries: 70, keys: 70, headDim: 64, causal: true, headsInside: false }],
    ["a late prefill, keys in splits", { keyHeads: 1, queries: 33, keys: 700, headDim: 64, causal: true, queryOffset: 600 }],
    ["grouped heads and a padding mask", { batch: 2, group: 3, queries: 33, keys: 65, headDim: 48, mask: "padding" }],
    ["head dimension 80", { queries: 70, keys: 65, headDim: 80, causal: true }],
    ["head dimension 256", { keyHeads: 1, queries: 20, keys: 40, headDim: 256, causal: true, queryOffset: 20 }],
    ["head dimension past a tile", { keyHeads: 1, queries: 20, keys: 40, headDim: 300 }],
    ["rows that see nothing, more queries than keys", { keyHeads: 1, queries: 150, keys: 65, headDim: 64, causal: true, queryOffset: -20 }],
    ["no keys", { queries: 20, keys: 0, headDim: 64 }],
  ])("%s", async (_, problem) => {
    expect(await compare("attention", forwardSpec(problem))).toBeLessThan(4e-6);
  });

  it.each<[string, Problem]>([
    ["causal, one head each", { queries: 70, keys: 70, headDim: 64, causal: true }],
    ["grouped heads, masked", { batch: 2, group: 3, queries: 33, keys: 65, headDim: 48, mask: "full" }],
    ["one query, many keys", { group: 2, queries: 1, keys: 200, headDim: 64, causal: true, queryOffset: 150 }],
    ["128 columns", { keyHeads: 1, queries: 33, keys: 65, headDim: 128 }],
    ["more than 128 columns", { keyHeads: 1, queries: 33, keys: 40, headDim: 160, causal: true, queryOffset: 7 }],
    ["rows that see nothing", { keyHeads: 1, group: 2, queries: 100, keys: 65, headDim: 64, causal: true, queryOffset: -40 }],
    ["no keys", { queries: 5, keys: 0, headDim: 64 }],
    ["no queries", { queries: 0, keys: 5, headDim: 64 }],
  ])("gradients: %s", async (_, problem) => {
    expect(await compare("attentionGradient", await backwardSpec(forwardSpec(problem)))).toBeLessThan(1e-5);
  });

  it("never lets keys show that a causal query must not see, not even NaN", async () => {
    for (const queries of [3, 70]) {
      const spec = forwardSpec({ keyHeads: 1, queries, keys: queries, headDim: 64, causal: true, headsInside: false });
      const clean = (await runKernel(backend, "attention", spec)).get("output")!.values;
      const last = (queries - 1) * 64;
      const spoil = (tensor: TensorSpec): TensorSpec => ({
        ...tensor,
        storage: tensor.storage.map((value, i) => (i >= last ? NaN : value)),
      });
      const spoilt = await runKernel(backend, "attention", { ...spec, key: spoil(spec.key), value: spoil(spec.value) });
      const values = spoilt.get("output")!.values;
      expect(values.slice(0, last)).toEqual(clean.slice(0, last));
      expect(values.slice(last, last + 64).every(Number.isNaN)).toBe(true);
    }
  });

  it("writes the same bits twice", async () => {
    const spec = await backwardSpec(forwardSpec({ group: 2, queries: 33, keys: 65, headDim: 48, causal: true, queryOffset: 32 }));
    const [first, second] = [await runKernel(backend, "attentionGradient", spec), await runKernel(backend, "attentionGradient", spec)];
    expect(second).toEqual(first);
  });
});

/** Loops unrolled, which lavapipe takes tens of seconds to compile, the gradients minutes: these belong to the other lanes. */
describe.each(laneName === "lavapipe" ? [] : ["hardware"])("attention as on %s", () => {
  let hardware: WebGpuBackend;
  let baseline: WebGpuBackend;
  beforeAll(async () => {
    hardware = await laneBackend([], { isSoftware: false });
    baseline = await laneBackend([], { isSoftware: false, baselineLimits: true });
  });
  afterAll(() => {
    hardware.destroy();
    baseline.destroy();
  });

  const prefill: Problem = { keyHeads: 1, group: 2, queries: 40, keys: 70, headDim: 48, causal: true, queryOffset: 30, mask: "padding" };

  it.each<[string, Problem]>([
    ["one token, keys in splits", { keyHeads: 1, queries: 1, keys: 300, headDim: 64, causal: true, queryOffset: 290 }],
    ["prefill", prefill],
    ["five rows of 128 columns", { keyHeads: 1, group: 5, queries: 1, keys: 130, headDim: 128 }],
    ["prefill of 64 columns", { queries: 40, keys: 40, headDim: 64, causal: true }],
    ["prefill of scalars, less than a piece", { queries: 40, keys: 40, headDim: 21 }],
    ["prefill of 80 columns", { keyHeads: 1, queries: 70, keys: 65, headDim: 80 }],
  ])("%s", async (_, problem) => {
    expect(await compare("attention", forwardSpec(problem), hardware)).toBeLessThan(4e-6);
  });

  it("prefill, rows not held in 16 KiB", async () => {
    expect(await compare("attention", forwardSpec(prefill), baseline)).toBeLessThan(4e-6);
  });

  it.each<[string, Problem]>([
    ["causal, grouped, masked", prefill],
    ["128 columns", { keyHeads: 1, queries: 20, keys: 33, headDim: 128 }],
  ])("gradients: %s", async (_, problem) => {
    expect(await compare("attentionGradient", await backwardSpec(forwardSpec(problem)), hardware)).toBeLessThan(1e-5);
  });
});

describe("query, key and value as views of one buffer", () => {
  const [batch, length, heads, headDim] = [2, 40, 3, 48];
  const shape = [batch, heads, length, headDim];

  /** Part 0, 1 or 2 of [batch, length, 3, heads, headDim]. */
  const part = (buffer: DeviceBuffer, index: number): TensorView => ({
    buffer,
    dtype: "float32",
    shape,
    strides: [length * 3 * heads * headDim, headDim, 3 * heads * headDim, 1],
    offset: index * heads * headDim,
  });

  async function run(device: Backend): Promise<Float32Array[]> {
    const buffers: DeviceBuffer[] = [];
    const make = (dimensions: readonly number[], fill: Filler): TensorView => {
      const count = sizeOf(dimensions);
      const buffer = device.allocate(4 * count);
      buffers.push(buffer);
      device.write(buffer, 0, new Uint8Array(Float32Array.from({ length: count }, (_, i) => fill(i)).buffer));
      return { buffer, dtype: "float32", shape: dimensions, strides: contiguousStrides(dimensions), offset: 0 };
    };
    const fusedShape = [batch, length, 3, heads, headDim];
    const fused = make(fusedShape, normals(1)).buffer;
    const gradients = make(fusedShape, () => NaN).buffer;
    const output = make(shape, () => NaN);
    const logSumExp = make(shape.slice(0, 3), () => NaN);
    const inputs = {
      query: part(fused, 0),
      key: part(fused, 1),
      value: part(fused, 2),
      output,
      logSumExp,
      scale: 0.2,
      causal: true,
      queryOffset: 0,
    };
    device.kernels.attention(inputs);
    device.kernels.attentionGradient({
      ...inputs,
      gradient: make(shape, normals(2)),
      queryGradient: part(gradients, 0),
      keyGradient: part(gradients, 1),
      valueGradient: part(gradients, 2),
    });
    const read = async (buffer: DeviceBuffer): Promise<Float32Array> =>
      new Float32Array((await device.read(buffer, 0, buffer.byteLength)).slice().buffer);
    const results = [await read(output.buffer), await read(gradients)];
    for (const buffer of buffers) device.free(buffer);
    return results;
  }

  it("gives the results of the WASM kernels", async () => {
    const expected = await run(cpu);
    const actual = await run(backend);
    expected.forEach((values, i) => {
      const largest = values.reduce((maximum, value, place) => Math.max(maximum, Math.abs(value - actual[i]![place]!)), 0);
      expect(largest).toBeLessThan(1e-5);
      expect(actual[i]!.some(Number.isNaN)).toBe(false);
    });
  });
});
