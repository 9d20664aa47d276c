import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Backend, KernelArguments } from "../../backend.ts";
import { createReferenceBackend } from "../../reference/index.ts";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { runKernel } from "../../../validation/run-kernel.ts";
import { outputSpec } from "../../../validation/tensor-spec.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

type Settings = Partial<Pick<KernelArguments["random"], "key" | "counter" | "parameters">> & { readonly offset?: number };

describe("random numbers beside the reference", () => {
  const reference = createReferenceBackend();
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  async function draw(
    on: Backend,
    distribution: KernelArguments["random"]["distribution"],
    count: number,
    { key = [0xdeadbeef, 42], counter = 5, parameters = [0, 1], offset = 0 }: Settings = {},
  ): Promise<readonly number[]> {
    const output = outputSpec(distribution === "bits" ? "int32" : "float32", [count], { offset });
    const contents = await runKernel(on, "random", { distribution, key, counter, parameters, output });
    return contents.get("output")!.values;
  }

  it("passes the kernel suite", async () => {
    await checkKernelAgainstReference(backend, "random", { runs: 60 });
  });

  it("gives the known answer of Random123", async () => {
    const words = await draw(backend, "bits", 2, { key: [0, 0], counter: 0 });
    expect(words.slice(0, 2).map((word) => (word >>> 0).toString(16))).toEqual(["6b200159", "99ba4efe"]);
  });

  it.each([0, 2 ** 32 - 1, 2 ** 32 - 600, 7 * 2 ** 32 - 2, 2 ** 45 + 7])("gives the reference's bits from counter %d", async (counter) => {
    for (const [count, offset] of [[1, 3], [2, 0], [3001, 1]] as const) {
      expect(await draw(backend, "bits", count, { counter, offset })).toEqual(await draw(reference, "bits", count, { counter, offset }));
    }
  });

  it.each([
    [0, 1],
    [-1, 1],
    [-3, 5],
    [2, 0.5],
    [-0.1, 0.7],
    [-1 / Math.sqrt(3), 1 / Math.sqrt(3)],
    [1e-3, 1e10],
    [-1e30, 3e30],
    [1e-30, 3e-30],
    [1, 1 + 2 ** -20 / 3],
    [-2.5e-20, 1],
    [7, 7],
    [0, 0],
    [-3.4e38, 3.4e38],
    [3, -9.7],
  ] as const)("gives the reference's uniform numbers from %d to %d, bit for bit", async (low, high) => {
    const settings = { parameters: [low, high] as const, counter: 2 ** 32 - 700 };
    expect(await draw(backend, "uniform", 20_001, settings)).toEqual(await draw(reference, "uniform", 20_001, settings));
  });

  it("gives normal numbers close to the reference's, tails included", async () => {
    for (const parameters of [[0, 1], [1, 2], [-7, 0.01]] as const) {
      const expected = await draw(reference, "normal", 100_001, { parameters });
      const actual = await draw(backend, "normal", 100_001, { parameters });
      const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i]!)), 0);
      expect(worst).toBeLessThan(1.5e-6 * (Math.abs(parameters[0]) + parameters[1]));
    }
  });
});
