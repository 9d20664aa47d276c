import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tensor } from "../../index.ts";
import { laneGpu } from "../../testing/webgpu-lane.ts";
import { loadPipelines, savePipelines } from "./pipeline-storage.ts";
import { webgpu, type WebGpuDevice } from "./webgpu.ts";

async function work(): Promise<number[]> {
  using x = tensor([1, 2, 3], { device: "webgpu" });
  using y = x.multiply(x);
  using z = y.sum();
  return [...(await y.data()), ...(await z.data())];
}

describe("a second run with saved pipelines", () => {
  let folder: string;
  let device: WebGpuDevice | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "warm-up-"));
  });
  afterAll(async () => {
    device?.destroy();
    await rm(folder, { recursive: true });
  });

  it("compiles nothing on demand", async () => {
    const path = join(folder, "pipelines.json");
    const gpu = await laneGpu();
    device = await webgpu({ gpu });
    expect(await loadPipelines(device, path)).toEqual({ status: "absent" });
    const results = await work();
    const { pipelinesCompiled } = device.statistics();
    expect(pipelinesCompiled).toBeGreaterThan(1);
    expect(await savePipelines(device, path)).toEqual({ saved: pipelinesCompiled, leftOut: 0 });
    device.destroy();

    device = await webgpu({ gpu });
    expect(await loadPipelines(device, path)).toEqual({ status: "loaded", compiled: pipelinesCompiled, failed: 0 });
    expect(await work()).toEqual(results);
    expect(device.statistics()).toMatchObject({ pipelinesCompiled, compileMilliseconds: 0 });
    // What was used can be saved again.
    expect(device.pipelines().length).toBe(pipelinesCompiled);
    device.destroy();

    device = await webgpu({ gpu });
    await writeFile(path, "{");
    expect(await loadPipelines(device, path)).toMatchObject({ status: "ignored" });
    expect(await work()).toEqual(results);
  });
});
