import { afterAll, beforeAll, describe, it } from "vitest";
import { checkCaseAgainstReference, checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { outputSpec, tensorSpec } from "../../../validation/tensor-spec.ts";
import { normals, sprinkled, uniforms } from "../../../validation/values.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

describe("feed-forward kernels beside the reference", () => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  it.each(["swiglu", "swigluGradient", "rotaryEmbedding"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 60 });
  });

  it.each([[1003], [1004]])("gates of every size, %i values", async (count) => {
    const rare = [Infinity, -Infinity, NaN, 1e30, -1e30, 88, -88, 110, -110];
    const gate = tensorSpec("float32", [count], sprinkled(1, normals(1, 0, 10), rare));
    const up = tensorSpec("float32", [count], normals(2));
    await checkCaseAgainstReference(backend, "swiglu", { gate, up, output: outputSpec("float32", [count]) });
    await checkCaseAgainstReference(backend, "swigluGradient", {
      gradient: tensorSpec("float32", [count], normals(3)),
      gate,
      up,
      gateGradient: outputSpec("float32", [count]),
      upGradient: outputSpec("float32", [count]),
    });
  });

  it.each(["half", "interleaved"] as const)("positions outside the table give NaN, layout %s", async (layout) => {
    for (const [headDim, pairs] of [
      [64, 32],
      [64, 24],
      [65, 32],
    ] as const) {
      const positions = [0, 11, 3, -1, 12, 2000000000, 5, 7, 1];
      await checkCaseAgainstReference(backend, "rotaryEmbedding", {
        input: tensorSpec("float32", [2, 9, 4, headDim], normals(1)),
        output: outputSpec("float32", [2, 9, 4, headDim]),
        cosine: tensorSpec("float32", [12, pairs], uniforms(2, -1, 1)),
        sine: tensorSpec("float32", [12, pairs], uniforms(3, -1, 1)),
        positions: tensorSpec("int32", [9], (i) => positions[i]!),
        positionOffset: 0,
        layout,
        inverse: false,
      });
    }
  });
});
