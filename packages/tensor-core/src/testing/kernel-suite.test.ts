import { describe, expect, it } from "vitest";
import type { Backend, Kernels } from "../backend/backend.ts";
import { elementCount, load, store } from "../backend/reference/access.ts";
import { createReferenceBackend } from "../backend/reference/index.ts";
import { checkKernelAgainstReference, checkKernelsAgainstReference, kernelNames, KernelMismatch } from "./kernel-suite.ts";

/** The reference with some kernels replaced. */
function brokenBackend(replace: (kernels: Kernels) => Partial<Kernels>): Backend {
  const backend = createReferenceBackend();
  return { ...backend, kernels: { ...backend.kernels, ...replace(backend.kernels) } };
}

describe("checkKernelsAgainstReference", () => {
  it("has a test for every kernel", () => {
    expect([...kernelNames].sort()).toEqual(Object.keys(createReferenceBackend().kernels).sort());
  });

  it("finds the reference equal to itself", { timeout: 60_000 }, async () => {
    const backend = createReferenceBackend();
    expect(await checkKernelsAgainstReference(backend, { runs: 25, tolerance: 0, seed: 1 })).toEqual([]);
    expect(backend.memory()).toMatchObject({ allocatedBytes: 0, allocations: 0 });
  });

  it("finds a wrong value and shrinks the case", async () => {
    const backend = brokenBackend((kernels) => ({
      binary(parameters) {
        kernels.binary(parameters);
        if (parameters.operation === "add" && elementCount(parameters.output.shape) >= 3) {
          store(
            parameters.output,
            load(parameters.output).map((value, i) => (i === 2 ? value + 0.01 : value)),
          );
        }
      },
    }));
    const error = await checkKernelAgainstReference(backend, "binary", { runs: 400, seed: 7 }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KernelMismatch);
    expect((error as KernelMismatch).message).toMatch(/binary[^]*operation: "add"[^]*output: (float32|int32)\[3\]/);
  });

  it("finds a write past the end of the output", async () => {
    const backend = brokenBackend((kernels) => ({
      fill({ output, value }) {
        kernels.fill({ output: { ...output, shape: [elementCount(output.shape) + 1], strides: [1] }, value });
      },
    }));
    await expect(checkKernelAgainstReference(backend, "fill", { runs: 50, seed: 7 })).rejects.toThrow("outside the view");
  });

  it("finds a changed input", async () => {
    const backend = brokenBackend((kernels) => ({
      swiglu(parameters) {
        kernels.swiglu(parameters);
        store(
          parameters.gate,
          load(parameters.gate).map((value) => value + 1),
        );
      },
    }));
    await expect(checkKernelAgainstReference(backend, "swiglu", { runs: 50, seed: 7 })).rejects.toThrow("changed from");
  });

  it("reports a kernel that throws", async () => {
    const backend = brokenBackend(() => ({
      arange() {
        throw new Error("not today");
      },
    }));
    expect(
      (await checkKernelsAgainstReference(backend, { runs: 5, kernels: ["arange", "fill"] })).map((mismatch) => mismatch.kernel),
    ).toEqual(["arange"]);
  });
});
