import { afterAll, beforeAll, describe, it } from "vitest";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

describe("normalization kernels beside the reference", () => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  it.each(["layerNorm", "layerNormGradient", "rmsNorm", "rmsNormGradient"] as const)("%s", async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 60 });
  });
});
