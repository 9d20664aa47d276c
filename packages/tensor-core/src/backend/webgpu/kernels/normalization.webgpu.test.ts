import { afterAll, beforeAll, describe, it } from "vitest";
import { checkCaseAgainstReference, checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { referenceOutputs } from "../../../validation/run-kernel.ts";
import { outputSpec, tensorSpec, type TensorSpec } from "../../../validation/tensor-spec.ts";
import { normals, sprinkled, type Filler } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

const given = (shape: readonly number[], values: readonly number[]): TensorSpec => tensorSpec("float32", shape, (i) => values[i]!);

interface Parameters {
  readonly weight?: boolean;
  readonly bias?: boolean;
}

/** Both normalisations and their gradients at one size. */
async function checkAt(
  backend: WebGpuBackend,
  rows: number,
  columns: number,
  { weight = true, bias = true }: Parameters,
  values: Filler = normals(rows, 1, 2),
): Promise<void> {
  const common = {
    input: tensorSpec("float32", [rows, columns], values),
    weight: weight ? tensorSpec("float32", [columns], normals(2)) : undefined,
    epsilon: 1e-5,
    output: outputSpec("float32", [rows, columns]),
    rstd: outputSpec("float32", [rows]),
    rows,
    columns,
  };
  const layer = { ...common, bias: bias ? tensorSpec("float32", [columns], normals(3)) : undefined, mean: outputSpec("float32", [rows]) };
  await checkCaseAgainstReference(backend, "layerNorm", layer);
  await checkCaseAgainstReference(backend, "rmsNorm", common);
  const back = {
    gradient: tensorSpec("float32", [rows, columns], normals(4)),
    input: common.input,
    weight: common.weight,
    rows,
    columns,
    inputGradient: outputSpec("float32", [rows, columns]),
    weightGradient: weight ? outputSpec("float32", [columns]) : undefined,
  };
  const layerResults = referenceOutputs("layerNorm", layer);
  await checkCaseAgainstReference(
    backend,
    "layerNormGradient",
    {
      ...back,
      mean: given([rows], layerResults["mean"]!),
      rstd: given([rows], layerResults["rstd"]!),
      biasGradient: bias ? outputSpec("float32", [columns]) : undefined,
    },
    { tolerance: Math.max(1, rows / 300) },
  );
  const rstd = given([rows], referenceOutputs("rmsNorm", common)["rstd"]!);
  await checkCaseAgainstReference(backend, "rmsNormGradient", { ...back, rstd }, { tolerance: Math.max(1, rows / 300) });
}

// Only the reduction within a row differs by features, so the large sizes that are about the rest run on one path.
describe.each([
  ["with all features", []],
  ["with core WGSL", ["shader-f16", "subgroups"]],
] as const)("normalization kernels beside the reference, %s", (_, withoutFeatures) => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend(withoutFeatures);
  });
  afterAll(() => backend.destroy());
  const isCore = withoutFeatures.length > 0;

  it.each(["layerNorm", "layerNormGradient", "rmsNorm", "rmsNormGradient"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 12 });
  });

  const few = [
    [1030, 65],
    [140, 301],
  ] as const;
  const more = [
    // One workgroup; several; several that walk over many rows each.
    [20, 8],
    [300, 8],
    [5000, 4],
    // A row for a workgroup, one and more values a lane, and too many for registers.
    [70, 300],
    [1, 5000],
    [3, 9000],
    [2, 2051],
  ] as const;

  it.each(isCore ? [...few, ...more] : few)("[%i, %i] with weight and bias", async (rows, columns) => {
    await checkAt(backend, rows, columns, {});
  });

  it("rows with an outlier, and far from zero", async () => {
    const outliers: Filler = (i) => (i % 300 === 0 ? 1000 : normals(1)(i));
    const input = tensorSpec("float32", [4, 300], outliers);
    for (const values of [input, tensorSpec("float32", [4, 300], normals(1, 300, 1))]) {
      await checkCaseAgainstReference(backend, "layerNorm", {
        input: values,
        epsilon: 1e-5,
        output: outputSpec("float32", [4, 300]),
        mean: outputSpec("float32", [4]),
        rstd: outputSpec("float32", [4]),
        rows: 4,
        columns: 300,
      });
    }
  });

  it("a row with NaN leaves the others alone", async () => {
    const spec = {
      input: tensorSpec("float32", [30, 9], (i) => (i >= 9 && i < 18 ? NaN : sprinkled(1, normals(1), [1e-20])(i))),
      epsilon: 1e-5,
      output: outputSpec("float32", [30, 9]),
      rstd: outputSpec("float32", [30]),
      rows: 30,
      columns: 9,
    };
    await checkCaseAgainstReference(backend, "rmsNorm", spec);
    await checkCaseAgainstReference(backend, "layerNorm", { ...spec, mean: outputSpec("float32", [30]) });
  });
});

describe("normalization kernels beside the reference, with fewer parameters and columns", () => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  it.each([
    [70, 300],
    [3, 9000],
  ])("[%i, %i] with one of weight and bias, and none", async (rows, columns) => {
    await checkAt(backend, rows, columns, { bias: false });
    await checkAt(backend, rows, columns, { weight: false });
    await checkAt(backend, rows, columns, { weight: false, bias: false });
  });

  it("rows of 1 to 9 columns", async () => {
    for (let columns = 1; columns <= 9; columns++) await checkAt(backend, 35, columns, {}, normals(columns, 0, 2));
  });
});
