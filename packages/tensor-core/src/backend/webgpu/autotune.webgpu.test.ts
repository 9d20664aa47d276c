import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeviceError } from "../../errors.ts";
import { laneBackend } from "../../testing/webgpu-backend.ts";
import { adapterName, applyTuning, autotune, parseTuning } from "./autotune.ts";
import type { WebGpuBackend } from "./backend.ts";
import { possibleTiles } from "./kernels/matmul/choose.ts";
import { tunedTilesOf } from "./kernels/matmul/tuned-tiles.ts";

describe("autotune", () => {
  let backend: WebGpuBackend;
  beforeAll(async () => {
    backend = await laneBackend();
    // Small workgroups only: the large tiles take these adapters seconds to compile.
    Object.assign(backend.runtime, { limits: { workgroupInvocations: 64, workgroupMemory: 8192 } });
  });
  afterAll(() => backend.destroy());

  it("measures every tile that the adapter can run and uses the fastest", async () => {
    const { tuning, measurements } = await autotune(backend, { formats: ["float32"], shapes: { small: [40, 64, 40] }, repetitions: 3 });
    const possible = possibleTiles(backend.runtime.limits);
    expect(possible.length).toBeGreaterThan(1);
    expect(measurements.map(({ tile }) => tile)).toEqual(possible);
    for (const { milliseconds } of measurements) expect(milliseconds).toBeGreaterThan(0);
    const fastest = Math.min(...measurements.map(({ milliseconds }) => milliseconds));
    expect(measurements.find(({ milliseconds }) => milliseconds === fastest)!.tile).toBe(tuning.tiles.float32!.small);
    expect(tunedTilesOf(backend.runtime)).toEqual(tuning.tiles);
    expect(parseTuning(JSON.parse(JSON.stringify(tuning)))).toEqual(tuning);
    expect(backend.memory().allocations).toBe(0);
    expect(backend.runtime.queue.timer).toBeUndefined();
  });

  it("refuses the table of another adapter and forgets on request", () => {
    expect(() => applyTuning(backend, { version: 1, adapter: "other", tiles: {} })).toThrow(DeviceError);
    applyTuning(backend, { version: 1, adapter: adapterName(backend.runtime), tiles: { int8: {} } });
    expect(tunedTilesOf(backend.runtime)).toEqual({ int8: {} });
    applyTuning(backend, undefined);
    expect(tunedTilesOf(backend.runtime)).toBeUndefined();
  });
});
