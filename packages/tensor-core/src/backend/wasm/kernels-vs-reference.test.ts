import { describe, expect, it } from "vitest";
import { checkKernelAgainstReference, kernelNames } from "../../testing/kernel-suite.ts";
import { createWasmBackend } from "./backend.ts";
import { relaxedKernels } from "./kernels/relaxed.wasm.ts";
import { createWasmRuntime } from "./runtime-instance.ts";

describe("WebAssembly kernels beside the reference", () => {
  const backend = createWasmBackend();

  it.each(kernelNames)("%s", { timeout: 60_000 }, async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 80 });
  });
});

describe("WebAssembly kernels give the same bits for any number of threads", () => {
  const alone = createWasmBackend();
  alone.runtime.pool.setThreadCount(1);
  const together = createWasmBackend();
  together.runtime.pool.setThreadCount(3);

  it.each(kernelNames)("%s", { timeout: 60_000 }, async (name) => {
    await checkKernelAgainstReference(together, name, { runs: 40, against: alone, tolerance: 0 });
  });
});

// Node 22 and later, Chrome 114, Firefox 146; elsewhere the relaxed build is never loaded.
describe("relaxed kernels beside the reference", () => {
  const backend = createWasmBackend(createWasmRuntime(relaxedKernels));

  it.each(kernelNames)("%s", { timeout: 60_000 }, async (name) => {
    await checkKernelAgainstReference(backend, name, { runs: 25 });
  });
});

describe("the WebAssembly heap", () => {
  it("holds nothing more after kernels have run again", async () => {
    const backend = createWasmBackend();
    // Plans, tables and thread scratch stay; a second round of the same cases must find them there.
    for (const name of kernelNames) await checkKernelAgainstReference(backend, name, { runs: 10, seed: 5 });
    const before = backend.memory();
    for (const name of kernelNames) await checkKernelAgainstReference(backend, name, { runs: 10, seed: 5 });
    expect(backend.memory()).toMatchObject({ allocatedBytes: before.allocatedBytes, allocations: before.allocations });
  });
});
