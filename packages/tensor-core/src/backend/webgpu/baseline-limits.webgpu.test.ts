/**
 * The adapters at hand have more memory and invocations a workgroup than WebGPU promises, and are given kernels of their own because they
 * compute on the CPU. Dawn's null adapter computes nothing but validates everything: here it has the kernels that graphics cards get, at
 * the limits that every adapter has.
 */
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { kernelNames, kernelTests } from "../../validation/kernel-tests.ts";
import { sampleCase, type Arbitrary } from "../../validation/arbitrary.ts";
import { layOutCase } from "../../validation/run-kernel.ts";
import type { KernelSpec } from "../../validation/tensor-spec.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./backend.ts";
import { openDevice } from "./device.ts";

const casesPerKernel = 40;

describe.each([
  { title: "core WGSL", withoutFeatures: ["shader-f16", "subgroups", "timestamp-query"], subgroups: false },
  { title: "all features", withoutFeatures: [], subgroups: true },
])("at baseline limits with $title", ({ withoutFeatures, subgroups }) => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    const { create } = (await import(/* @vite-ignore */ pathToFileURL(process.env["FRUGAL_WEBGPU_MODULE"]!).href)) as {
      create(options: readonly string[]): { requestAdapter(options?: object): Promise<unknown> };
    };
    const { device } = await openDevice({ gpu: create(["backend=null"]), withoutFeatures, baselineLimits: true });
    backend = createWebGpuBackend(device, { isSoftware: false, subgroups });
  });
  afterAll(() => backend.destroy());

  it("has no more than that", () => {
    expect(backend.runtime.limits).toEqual({ workgroupMemory: 16_384, workgroupInvocations: 256 });
  });

  it.each(kernelNames)("%s gives valid shaders and commands", async (name) => {
    const before = backend.runtime.queue.statistics.launches;
    for (let index = 0; index < casesPerKernel; index++) {
      const spec = sampleCase(kernelTests[name].cases as Arbitrary<object>, 1, index) as KernelSpec<"fill">;
      const { parameters, free } = layOutCase(backend, spec);
      backend.kernels[name as "fill"](parameters);
      // What nobody reads any more is not launched.
      void backend.runtime.submit();
      free();
    }
    // Rejects with the first thing that the implementation refused.
    await backend.synchronize();
    expect(backend.runtime.queue.statistics.launches).toBeGreaterThan(before);
  });
});
