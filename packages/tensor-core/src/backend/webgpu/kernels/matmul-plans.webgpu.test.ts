/**
 * The kernels for real GPUs, which the rules choose on no software adapter: each is called by a plan of its own. Shaders compile slowly
 * here, so every case adds one or two pipelines.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReferenceBackend } from "../../reference/index.ts";
import type { KernelArguments, QuantizedView, TensorView } from "../../backend.ts";
import type { Dtype } from "../../../tensor/dtype.ts";
import { contiguousStrides } from "../../../tensor/shape.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import { runKernel, type BufferContents } from "../../../validation/run-kernel.ts";
import { outputSpec, tensorSpec, type QuantizedSpec, type TensorSpec } from "../../../validation/tensor-spec.ts";
import type { KernelSpec } from "../../../validation/tensor-spec.ts";
import { integers, normals, uniforms } from "../../../validation/values.ts";
import type { WebGpuBackend } from "../backend.ts";
import { assembleShader, type KernelLaunch } from "../program.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { chooseMatmul, planTiles, shapeOf, type MatmulPlan } from "./matmul/choose.ts";
import type { MatrixVectorPlan } from "./matmul/matrix-vector.ts";
import { tileNames, type TileName } from "./matmul/tiles.ts";
import { machineOf, runMatmul } from "./matmul.ts";

type Call = KernelSpec<"matmul">;
type Planner = NonNullable<Parameters<typeof runMatmul>[2]>;

const columnsFirst = { offset: 0, order: [1, 0] };

function call(a: TensorSpec, b: TensorSpec | QuantizedSpec, rest: Partial<Call> = {}): Call {
  const n = b.shape["format" in b ? 0 : b.shape.length - 1]!;
  const shape = [...a.shape.slice(0, -1), n];
  const output = rest.accumulate ? tensorSpec("float32", shape, normals(7)) : outputSpec("float32", shape, { offset: 0 });
  return { a, b, output, ...rest };
}

function quantized(format: "int8" | "uint4", outputs: number, inputs: number, groupSize: number, minimums: boolean, offset = 0): QuantizedSpec {
  const groups = [outputs, inputs / groupSize];
  return {
    format,
    shape: [outputs, inputs],
    groupSize,
    values:
      format === "int8"
        ? tensorSpec("int8", [outputs, inputs], integers(1, -128, 127), { offset })
        : tensorSpec("uint8", [outputs, inputs / 2], integers(1, 0, 255), { offset }),
    scales: tensorSpec("float32", groups, uniforms(2, 0.001, 0.02), { offset: 1 }),
    minimums: minimums ? tensorSpec("float32", groups, uniforms(3, -0.2, 0), { offset: 2 }) : undefined,
  };
}

describe("matmul by plan", () => {
  const reference = createReferenceBackend();
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  async function resultOf(spec: Call, plan: Planner): Promise<readonly number[]> {
    const matmul = (parameters: KernelArguments["matmul"]): void => runMatmul(backend.runtime, parameters, plan);
    const contents = await runKernel({ ...backend, kernels: { ...backend.kernels, matmul } }, "matmul", spec);
    return contents.get("output")!.values.slice(0, spec.output.shape.reduce((product, size) => product * size, 1));
  }

  /** Runs the kernel by a plan, and checks everything in every buffer against the reference. */
  async function expectRight(spec: Call, plan: Planner): Promise<MatmulPlan> {
    let chosen: MatmulPlan | undefined;
    const planned: WebGpuBackend = {
      ...backend,
      kernels: {
        ...backend.kernels,
        matmul: (parameters: KernelArguments["matmul"]) =>
          runMatmul(backend.runtime, parameters, (problem, layout) => (chosen = plan(problem, layout))),
      },
    };
    const expected = await runKernel(reference, "matmul", spec);
    const actual = await runKernel(planned, "matmul", spec);
    expect(worstError(expected, actual)).toBeLessThan(3e-7 * (10 + spec.a.shape.at(-1)!));
    return chosen!;
  }

  /** The plan for a GPU. */
  const usual: Planner = (problem, layout) =>
    chooseMatmul(shapeOf(problem), layout, { ...machineOf(backend.runtime), isSoftware: false, subgroups: true });
  /** The same without subgroups. */
  const core: Planner = (problem, layout) =>
    chooseMatmul(shapeOf(problem), layout, { ...machineOf(backend.runtime), isSoftware: false, subgroups: false });
  const tiled =
    (tile: TileName, splits?: number): Planner =>
    (problem) => ({ ...planTiles(tile, shapeOf(problem)), ...(splits === undefined ? {} : { splits }) });

  describe("tiles", () => {
    it("of 32 × 32, rows by rows, with edges everywhere", async () => {
      await expectRight(call(tensorSpec("float32", [67, 70], normals(1), { offset: 1 }), tensorSpec("float32", [70, 33], normals(2))), tiled("32x32x32"));
    });

    it("of 32 × 32 along the tile axes, with bias and activation", async () => {
      const a = tensorSpec("float32", [44, 45], normals(1), columnsFirst);
      const b = tensorSpec("float32", [45, 68], normals(2), { offset: 4 });
      const bias = tensorSpec("float32", [68], normals(3), { offset: 3 });
      await expectRight(call(a, b, { bias, activation: "gelu" }), tiled("32x32x32"));
      await expectRight(call(a, b, { bias, activation: "silu" }), tiled("32x32x32"));
    });

    it("of 32 × 32 in broadcast batches, accumulating, with split k", async () => {
      const a = tensorSpec("float32", [3, 2, 36, 96], normals(1), { offset: 0, broadcast: 1 });
      const b = tensorSpec("float32", [3, 2, 96, 40], normals(2), { offset: 8, order: [0, 1, 3, 2] });
      await expectRight(call(a, b, { accumulate: true }), tiled("32x32x32"));
      await expectRight(call(a, b, { accumulate: true }), tiled("32x32x32", 3));
    });

    it("of 64 × 64 in two shapes, along k", async () => {
      const spec = call(tensorSpec("float32", [130, 68], normals(1)), tensorSpec("float32", [68, 72], normals(2), columnsFirst));
      await expectRight(spec, tiled("64x64x16"));
      await expectRight(spec, tiled("64x64x32", 2));
    });

    it("of float16, int8 and uint4", async () => {
      await expectRight(call(tensorSpec("float32", [33, 52], normals(1)), tensorSpec("float16", [52, 36], normals(2), { offset: 4 })), tiled("32x32x32"));
      await expectRight(call(tensorSpec("float32", [33, 64], normals(1)), quantized("int8", 65, 64, 8, true, 4)), tiled("32x32x32"));
      await expectRight(call(tensorSpec("float32", [33, 72], normals(1)), quantized("uint4", 35, 72, 24, false, 4)), tiled("32x32x32"));
    });

    it("of 128 × 128, with two buffers where there is memory for them", async () => {
      const spec = call(tensorSpec("float32", [130, 100], normals(1)), tensorSpec("float32", [100, 132], normals(2)));
      await expectRight(spec, tiled(backend.runtime.limits.workgroupMemory < 32_768 ? "128x128x16" : "128x128x16-double"));
    });
  });

  it("is valid WGSL in every variant", async () => {
    const { device, features, limits } = backend.runtime;
    const launches = new Map<string, KernelLaunch>();
    const recorder = {
      device,
      features,
      limits,
      launch: (launch: KernelLaunch) => void launches.set(`${launch.name} ${launch.variant}`, launch),
      temporary: (dtype: Dtype, shape: readonly number[]) => view(dtype, shape),
      release: () => {},
    } as unknown as WebGpuRuntime;
    for (const { a, b } of layoutCases()) {
      for (const activation of ["relu", undefined] as const) {
        const output = view("float32", [a.shape[0]!, b.shape["format" in b ? 0 : 1]!]);
        for (const tile of tileNames) runMatmul(recorder, { a, b, output, activation }, tiled(tile, 1));
        for (const plan of [usual, core]) {
          runMatmul(recorder, { a: { ...a, shape: [3, a.shape[1]!] }, b, output: { ...output, shape: [3, output.shape[1]!] }, activation }, plan);
        }
        for (const rows of [1, 4] as const) runMatmul(recorder, { a, b, output, activation }, () => ({ kind: "direct", rows, splits: 1 }));
      }
    }
    expect(launches.size).toBeGreaterThan(300);
    const problems = await Promise.all(
      [...launches].map(async ([name, launch]) => {
        const { messages } = await device.createShaderModule({ code: assembleShader(launch, new Map()) }).getCompilationInfo();
        return messages.map(({ type, message }) => `${name}: ${type}: ${message}`);
      }),
    );
    expect(problems.flat()).toEqual([]);
  });

  describe("few vectors", () => {
    it("by rows of b, split along k", async () => {
      const b = tensorSpec("float32", [4100, 37], normals(2), columnsFirst);
      const plan = await expectRight(call(tensorSpec("float32", [1, 4100], normals(1)), b, { bias: tensorSpec("float32", [37], normals(4)) }), usual);
      expect(plan).toMatchObject({ kind: "matrixVector", orientation: "rows", matrix: "b", subgroups: true });
      expect(plan.splits).toBeGreaterThan(1);
      await expectRight(call(tensorSpec("float32", [1, 4100], normals(1)), b), core);
      await expectRight(call(tensorSpec("float32", [1, 52], normals(1)), tensorSpec("float32", [52, 5], normals(2), columnsFirst)), usual);
    });

    it("without subgroups, in every width", async () => {
      for (const k of [16, 52, 250, 1000]) {
        const b = tensorSpec("float32", [k, 21], normals(2), columnsFirst);
        expect(await expectRight(call(tensorSpec("float32", [1, k], normals(1)), b), core)).toMatchObject({ subgroups: false });
        expect(await expectRight(call(tensorSpec("float32", [1, k], normals(1)), b), usual)).toMatchObject({ subgroups: true });
      }
      const plain = await laneBackend(["subgroups"]);
      expect(machineOf(plain.runtime).subgroups).toBe(false);
      plain.destroy();
    });

    it("of 9 to 16 rows, 8 at a time", async () => {
      const a = tensorSpec("float32", [13, 300], normals(1), { offset: 4 });
      const bias = tensorSpec("float32", [44], normals(3));
      const byRows = call(a, tensorSpec("float32", [300, 44], normals(2), columnsFirst), { bias, activation: "silu" });
      expect(await expectRight(byRows, usual)).toMatchObject({ matrix: "b", orientation: "rows", vectors: 8, vectorBlocks: 2 });
      const byColumns = call(a, tensorSpec("float32", [300, 44], normals(2), { offset: 4 }), { bias });
      expect(await expectRight(byColumns, usual)).toMatchObject({ orientation: "columns", vectorBlocks: 2 });
    });

    it("by columns of b, in batches", async () => {
      const a = tensorSpec("float32", [2, 3, 1030], normals(1), { offset: 2 });
      const b = tensorSpec("float32", [2, 1030, 132], normals(2), { offset: 4 });
      const plan = await expectRight(call(a, b), usual);
      expect(plan).toMatchObject({ kind: "matrixVector", orientation: "columns", vectors: 4 });
    });

    it("by rows of a where b has few columns", async () => {
      const bias = tensorSpec("float32", [2], normals(3));
      const spec = call(tensorSpec("float32", [70, 260], normals(1)), tensorSpec("float32", [260, 2], normals(2)), { bias, activation: "relu" });
      expect(await expectRight(spec, usual)).toMatchObject({ kind: "matrixVector", matrix: "a", orientation: "rows" });
    });

    it("by rows of a where a quantised b has few columns", async () => {
      const spec = call(tensorSpec("float32", [37, 96], normals(1)), quantized("uint4", 3, 96, 24, true));
      expect(await expectRight(spec, usual)).toMatchObject({ kind: "matrixVector", matrix: "a", vectors: 4 });
    });

    it("of float16", async () => {
      const b = tensorSpec("float16", [1032, 66], normals(2), { ...columnsFirst, offset: 4 });
      expect(await expectRight(call(tensorSpec("float32", [2, 1032], normals(1)), b), usual)).toMatchObject({ orientation: "rows" });
    });

    it("of float16 with every kind of number, exactly", async () => {
      const values = [2 ** -24, -1023 * 2 ** -24, 2 ** -14, 65504, -1.5, 0, Infinity, -Infinity, NaN];
      const b = tensorSpec("float16", [1, 9], (i) => values[i]!);
      const one = tensorSpec("float32", [1, 1], () => 1);
      expect(await resultOf(call(one, b), usual)).toEqual(values);
      expect(await resultOf(call(one, b), () => ({ kind: "direct", rows: 1, splits: 1 }))).toEqual(values);
      const rows = tensorSpec("float16", [8, 9], (i) => (i < 9 ? values[i]! : 0), { ...columnsFirst, offset: 0 });
      const unit = tensorSpec("float32", [1, 8], (i) => (i === 0 ? 1 : 0));
      expect(await resultOf(call(unit, rows), usual)).toEqual(values);
    });

    it.each([
      ["int8", 64, true],
      ["int8", 32, false],
      ["uint4", 32, true],
    ] as const)("of %s in groups of %i, 16 bytes at a time", async (format, groupSize, minimums) => {
      const spec = call(tensorSpec("float32", [1, 1536], normals(1)), quantized(format, 39, 1536, groupSize, minimums, format === "int8" ? 16 : 32));
      const plan = (await expectRight(spec, usual)) as MatrixVectorPlan;
      expect(plan.wide).toBe(true);
    });

    it("of uint4 in groups that 16 bytes straddle", async () => {
      const plan = await expectRight(call(tensorSpec("float32", [1, 240], normals(1)), quantized("uint4", 10, 240, 24, true)), usual);
      expect(plan).toMatchObject({ wide: false });
    });
  });
});

function view(dtype: Dtype, shape: readonly number[], strides: readonly number[] = contiguousStrides(shape)): TensorView {
  return { buffer: { byteLength: 0 }, dtype, shape, strides, offset: 0 };
}

/** A product for each pair of layouts that shaders tell apart. */
function layoutCases(): { readonly a: TensorView; readonly b: TensorView | QuantizedView }[] {
  const dense = (dtype: Dtype): TensorView[] => [view(dtype, [32, 32]), view(dtype, [32, 32], [1, 32]), view(dtype, [32, 31])];
  const weights = (["int8", "uint4"] as const).flatMap((format) =>
    [0, 1].flatMap((offset) =>
      [undefined, view("float32", [32, 4])].map(
        (minimums): QuantizedView => ({
          format,
          shape: [32, 32],
          groupSize: 8,
          values: { ...view(format === "int8" ? "int8" : "uint8", [32, format === "int8" ? 32 : 16]), offset },
          scales: view("float32", [32, 4]),
          minimums,
        }),
      ),
    ),
  );
  return dense("float32").flatMap((a) => [...dense("float32"), ...dense("float16"), ...weights].map((b) => ({ a, b })));
}

function worstError(expected: BufferContents, actual: BufferContents): number {
  let worst = 0;
  for (const [path, { values }] of expected) {
    const found = actual.get(path)!.values;
    values.forEach((value, i) => {
      const error = Object.is(value, found[i]) ? 0 : Math.abs(found[i]! - value) / (1 + Math.abs(value) * 30);
      worst = Math.max(worst, Number.isNaN(error) ? Infinity : error);
    });
  }
  return worst;
}
