import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkCaseAgainstReference, checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { outputSpec, tensorSpec, type KernelSpec, type Layout } from "../../../validation/tensor-spec.ts";
import { choices, normals, sprinkled, type Filler } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

function softmaxSpec(
  shape: readonly number[],
  { scores = normals(5, 0, 3), maskLayout, logarithm = false }: { scores?: Filler; maskLayout?: Layout; logarithm?: boolean } = {},
): KernelSpec<"softmax"> {
  const columns = shape.at(-1)!;
  return {
    input: tensorSpec("float32", shape, scores),
    output: outputSpec("float32", shape),
    rows: shape.slice(0, -1).reduce((product, size) => product * size, 1),
    columns,
    scale: 0.5,
    mask: maskLayout && tensorSpec("float32", shape, choices(7, [0, 0, 1.5, -Infinity]), maskLayout),
    logarithm,
  };
}

// Only the reduction within a row differs by features, so the large sizes that are about the rest run on one path.
describe.each([
  ["with all features", []],
  ["with core WGSL", ["shader-f16", "subgroups"]],
] as const)("softmax kernels beside the reference, %s", (_, withoutFeatures) => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend(withoutFeatures);
  });
  afterAll(() => backend.destroy());
  const isCore = withoutFeatures.length > 0;

  it.each(["softmax", "softmaxGradient"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 20 });
  });

  const few = [
    [[2, 20001], { offset: 3 }],
    [[1030, 65], undefined],
  ] as const;
  const more = [
    [[1500, 1], undefined],
    [[1, 32000], undefined],
    [[70, 300], { offset: 1 }],
    // [batch, heads, queries, keys] with one mask for all heads, for all queries, and transposed.
    [[2, 3, 5, 300], { offset: 4, broadcast: 0b0010 }],
    [[2, 3, 5, 300], { offset: 0, broadcast: 0b0111 }],
    [[2, 3, 5, 30], { offset: 0, order: [3, 1, 0, 2] }],
  ] as const;

  it.each(isCore ? [...few, ...more] : few)("softmax of %j with mask %j", async (shape, maskLayout) => {
    await checkCaseAgainstReference(backend, "softmax", softmaxSpec(shape, { ...(maskLayout && { maskLayout }) }));
    await checkCaseAgainstReference(backend, "softmax", softmaxSpec(shape, { ...(maskLayout && { maskLayout }), logarithm: true }));
  });

  it("softmax of infinities and NaN, in rows of every length", async () => {
    for (const columns of isCore ? [1, 2, 3, 4, 5, 6, 7, 8, 9, 400, 20000] : [4, 400]) {
      const rows = columns > 100 ? 3 : 12;
      for (const rare of [[-Infinity], [-Infinity, Infinity], [NaN], [1e38, -1e38]]) {
        const scores = rare.length === 1 && rare[0] === -Infinity ? choices(columns, [-Infinity]) : sprinkled(3, normals(2), rare);
        for (const logarithm of [false, true]) {
          await checkCaseAgainstReference(backend, "softmax", softmaxSpec([rows, columns], { scores, logarithm }));
        }
      }
    }
  });

  it("masked elements get exactly nothing", async () => {
    const values = new Float32Array([1, -Infinity, 2, 3, -Infinity, -Infinity, -Infinity, -Infinity]);
    const view = () => ({ buffer: backend.allocate(32), dtype: "float32", shape: [2, 4], strides: [4, 1], offset: 0 }) as const;
    const input = view();
    const output = view();
    backend.write(input.buffer, 0, new Uint8Array(values.buffer));
    backend.kernels.softmax({ input, output, rows: 2, columns: 4, scale: 1, logarithm: false });
    const result = new Float32Array((await backend.read(output.buffer, 0, 32)).slice().buffer);
    expect([...result].map((value) => value === 0)).toEqual([false, true, false, false, true, true, true, true]);
    backend.free(input.buffer);
    backend.free(output.buffer);
  });

  it.each([
    [1500, 1],
    [2, 5000],
    [1030, 65],
  ])("softmaxGradient of [%i, %i]", async (rows, columns) => {
    for (const logarithm of [false, true]) {
      const noise = normals(3, 0, 0.5);
      const output: Filler = logarithm ? (i) => noise(i) - Math.log(columns) : (i) => Math.exp(noise(i)) / columns;
      await checkCaseAgainstReference(backend, "softmaxGradient", {
        gradient: tensorSpec("float32", [rows, columns], normals(1)),
        output: tensorSpec("float32", [rows, columns], output),
        result: outputSpec("float32", [rows, columns]),
        rows,
        columns,
        scale: 0.5,
        logarithm,
      });
    }
  });
});
