import { afterAll, beforeAll, describe, it } from "vitest";
import { checkCaseAgainstReference, checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { referenceOutputs } from "../../../validation/run-kernel.ts";
import { outputSpec, tensorSpec, type KernelSpec } from "../../../validation/tensor-spec.ts";
import { choices, integers, normals, sprinkled, type Filler } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

function lossSpec(rows: number, columns: number, labelSmoothing: number, logits: Filler, targets?: Filler): KernelSpec<"crossEntropy"> {
  return {
    logits: tensorSpec("float32", [rows, columns], logits),
    targets: tensorSpec("int32", [rows], targets ?? sprinkled(rows, integers(columns, 0, columns - 1), [-100])),
    losses: outputSpec("float32", [rows]),
    logSumExp: outputSpec("float32", [rows]),
    rows,
    columns,
    ignoreIndex: -100,
    labelSmoothing,
  };
}

function gradientSpec(forward: KernelSpec<"crossEntropy">): KernelSpec<"crossEntropyGradient"> {
  const { logits, targets, rows, columns, ignoreIndex, labelSmoothing } = forward;
  const totals = referenceOutputs("crossEntropy", forward)["logSumExp"]!;
  return {
    gradient: tensorSpec("float32", [rows], normals(9)),
    logits,
    targets,
    logSumExp: tensorSpec("float32", [rows], (i) => totals[i]!),
    result: outputSpec("float32", [rows, columns]),
    rows,
    columns,
    ignoreIndex,
    labelSmoothing,
  };
}

// Only the reduction within a row differs by features, so the large sizes that are about the rest run on one path.
describe.each([
  ["with all features", []],
  ["with core WGSL", ["shader-f16", "subgroups"]],
] as const)("loss kernels beside the reference, %s", (_, withoutFeatures) => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend(withoutFeatures);
  });
  afterAll(() => backend.destroy());
  const isCore = withoutFeatures.length > 0;

  it.each(["crossEntropy", "crossEntropyGradient"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 20 });
  });

  const few = [
    [2, 20001],
    [1030, 65],
  ] as const;

  it.each(isCore ? [...few, [300, 5] as const, [1, 32000] as const, [70, 300] as const] : few)("logits [%i, %i]", async (rows, columns) => {
    for (const labelSmoothing of [0, 0.1]) {
      const forward = lossSpec(rows, columns, labelSmoothing, normals(3, 0, 2));
      await checkCaseAgainstReference(backend, "crossEntropy", forward);
      await checkCaseAgainstReference(backend, "crossEntropyGradient", gradientSpec(forward));
    }
  });

  it("infinite logits, NaN, and targets that are no column", async () => {
    for (const columns of isCore ? [3, 300, 20000] : [3]) {
      const fillers = [
        choices(1, [-Infinity]),
        sprinkled(2, normals(2), [-Infinity]),
        sprinkled(3, normals(2), [Infinity]),
        sprinkled(4, normals(2), [NaN]),
      ];
      for (const logits of fillers) {
        const targets = (i: number): number => [0, columns - 1, columns, -1, -100][i]!;
        for (const labelSmoothing of [0, 0.1]) {
          const forward = lossSpec(5, columns, labelSmoothing, logits, targets);
          await checkCaseAgainstReference(backend, "crossEntropy", forward);
          await checkCaseAgainstReference(backend, "crossEntropyGradient", gradientSpec(forward));
        }
      }
    }
  });
});
