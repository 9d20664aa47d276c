import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { laneBackend } from "../../testing/webgpu-backend.ts";
import type { WebGpuBackend } from "./backend.ts";

describe("constant tables", () => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
  });
  afterAll(() => backend.destroy());

  it("are computed once, and are no allocations", () => {
    const { runtime } = backend;
    const { allocations } = backend.memory();
    let computed = 0;
    const make = (): Float32Array => Float32Array.of(++computed);
    const table = runtime.constant("once", make);
    expect(runtime.constant("once", make)).toBe(table);
    expect(computed).toBe(1);
    expect(backend.memory().allocations).toBe(allocations);
  });

  it("are bounded: the least recently used go", async () => {
    const { runtime } = backend;
    const kept = runtime.constant("kept", () => Float32Array.of(1));
    for (let i = 0; i < 400; i++) {
      runtime.constant(`number ${i}`, () => Float32Array.of(i));
      expect(runtime.constant("kept", () => Float32Array.of(2))).toBe(kept);
      if (i % 100 === 0) await backend.synchronize();
    }
    expect(runtime.constants.usage.tables).toBeLessThanOrEqual(256);
    runtime.constant("large", () => new Float32Array(2 ** 24));
    expect(runtime.constants.usage).toEqual({ tables: 1, bytes: 2 ** 26 });
  });
});
