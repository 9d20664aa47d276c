import { describe, expect, it } from "vitest";
import type { TensorView } from "../backend/backend.ts";
import { backendOf } from "../backend/registry.ts";
import type { WasmBackend } from "../backend/wasm/backend.ts";
import { baselineKernels } from "../backend/wasm/kernels/baseline.wasm.ts";
import { relaxedKernels } from "../backend/wasm/kernels/relaxed.wasm.ts";
import { createMatmul } from "../backend/wasm/matmul.ts";
import type { WasmRuntime } from "../backend/wasm/runtime.ts";
import { createWasmRuntime } from "../backend/wasm/runtime-instance.ts";
import { DeviceError, tensor } from "../index.ts";
import { decide } from "./decision.ts";
import { enableRelaxedKernels } from "./index.ts";

/**
 * A product of matrices with a build of the kernels, as bits: the two builds round differently where the processor fuses multiply and add.
 */
function fingerprint(runtime: WasmRuntime): string {
  const size = 40;
  const matrix = (): TensorView => ({
    buffer: runtime.heap.allocate(4 * size * size),
    dtype: "float32",
    shape: [size, size],
    strides: [size, 1],
    offset: 0,
  });
  const [a, output] = [matrix(), matrix()];
  const start = runtime.pointer(a) / 4;
  for (let i = 0; i < size * size; i++) runtime.heap.float32[start + i] = Math.sin(i);
  createMatmul(runtime).matmul({ a, b: a, output });
  const from = runtime.pointer(output) / 4;
  return [...runtime.heap.int32.subarray(from, from + size * size)].join();
}

describe("decide", () => {
  it("wants validity first, then speed", () => {
    expect(decide(false, () => expect.fail("must not be tried"))).toEqual({
      enabled: false,
      reason: expect.stringContaining("does not have WebAssembly relaxed SIMD"),
    });
    expect(decide(true, () => 0.5)).toEqual({ enabled: false, reason: expect.stringContaining("0.50 times"), speedup: 0.5 });
    expect(decide(true, () => 1.01).enabled).toBe(false);
    expect(decide(true, () => 1.2)).toEqual({ enabled: true, reason: expect.stringContaining("1.20 times"), speedup: 1.2 });
  });
});

describe("enableRelaxedKernels", () => {
  it("gives the device the kernels that it says, and only before the device is used", () => {
    const { enabled, speedup, reason } = enableRelaxedKernels();
    expect(reason).not.toBe("");
    if (enabled) expect(speedup).toBeGreaterThan(1);
    using x = tensor([1, 2]);
    expect([...x.multiply(2).dataSync()]).toEqual([2, 4]);
    const used = fingerprint((backendOf("cpu") as WasmBackend).runtime);
    const [baseline, relaxed] = [baselineKernels, relaxedKernels].map((kernels) => fingerprint(createWasmRuntime(kernels)));
    // Where the processor does not fuse multiply and add, both builds round alike.
    expect(used).toBe(enabled ? relaxed : baseline);
    expect(() => enableRelaxedKernels()).toThrow(DeviceError);
    expect(() => enableRelaxedKernels()).toThrow(/before the first tensor/);
  });
});
