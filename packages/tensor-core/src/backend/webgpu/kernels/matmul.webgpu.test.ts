import { afterAll, beforeAll, describe, it } from "vitest";
import { checkKernelAgainstReference } from "../../../testing/kernel-suite.ts";
import { laneBackend } from "../../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "../backend.ts";

describe("matmul beside the reference", () => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  it("on generated cases", async () => {
    await checkKernelAgainstReference(backend, "matmul", { runs: 60 });
  });
});
