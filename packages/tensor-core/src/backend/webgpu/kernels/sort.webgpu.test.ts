import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReferenceBackend } from "../../reference/index.ts";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { tiedValues } from "../../../validation/cases/reduce.ts";
import { runKernel } from "../../../validation/run-kernel.ts";
import { outputSpec, tensorSpec, type KernelSpec } from "../../../validation/tensor-spec.ts";
import { normals, type Filler } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

describe("sorting beside the reference", () => {
  const reference = createReferenceBackend();
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  it("sort", () => checkKernelAgainstReference(backend, "sort", { runs: 40 }));
  it("topK", () => checkKernelAgainstReference(backend, "topK", { runs: 40 }));

  /** Names of the outputs that differ from the reference in any bit but those of NaN. */
  async function differences<Name extends "sort" | "topK">(name: Name, spec: KernelSpec<Name>): Promise<readonly string[]> {
    const [actual, expected] = await Promise.all([runKernel(backend, name, spec), runKernel(reference, name, spec)]);
    return ["values", "indices"].filter((output) => {
      const values = actual.get(output)!.values;
      return expected.get(output)!.values.some((value, i) => !Object.is(value, values[i]));
    });
  }

  function sortSpec(
    rows: number,
    columns: number,
    descending: boolean,
    fill: Filler,
    dtype: "float32" | "int32" = "float32",
  ): KernelSpec<"sort"> {
    const shape = [rows, columns];
    const outputs = { values: outputSpec(dtype, shape), indices: outputSpec("int32", shape) };
    return { input: tensorSpec(dtype, shape, fill), ...outputs, rows, columns, descending };
  }

  function topSpec(rows: number, columns: number, k: number, largest: boolean, fill: Filler): KernelSpec<"topK"> {
    const outputs = { values: outputSpec("float32", [rows, k], { offset: 3 }), indices: outputSpec("int32", [rows, k], { offset: 1 }) };
    return { input: tensorSpec("float32", [rows, columns], fill, { offset: 1 }), ...outputs, rows, columns, k, largest };
  }

  it.each([
    [3, 1],
    [3, 2],
    [3, 3],
    [2, 1000],
    [257, 17],
    [2, 2048],
    [2, 2049],
    [2, 5000],
    [1, 20_000],
  ])("sorts [%i, %i], with ties, zeros of both signs and NaN", async (rows, columns) => {
    // Seeds whose values hold NaN and ties.
    expect(await differences("sort", sortSpec(rows, columns, false, tiedValues("float32", 1)))).toEqual([]);
    expect(await differences("sort", sortSpec(rows, columns, true, tiedValues("float32", 4)))).toEqual([]);
    expect(await differences("sort", sortSpec(rows, columns, true, tiedValues("int32", 1), "int32"))).toEqual([]);
    expect(await differences("sort", sortSpec(rows, columns, false, normals(2)))).toEqual([]);
  });

  it.each([
    [1, 32_000, 1],
    [2, 32_000, 40],
    [1, 12_000, 1000],
    [2, 6000, 1500],
    [1, 9000, 9000],
  ])("selects of [%i, %i] the first %i", async (rows, columns, k) => {
    expect(await differences("topK", topSpec(rows, columns, k, true, normals(3)))).toEqual([]);
    expect(await differences("topK", topSpec(rows, columns, k, false, tiedValues("float32", 1)))).toEqual([]);
    expect(await differences("topK", topSpec(rows, columns, k, true, tiedValues("float32", 4)))).toEqual([]);
    // Few numbers among NaN: the selection has to take NaN too.
    expect(await differences("topK", topSpec(rows, columns, k, true, (i) => (i % 5000 === 77 ? i : NaN)))).toEqual([]);
  });
});
