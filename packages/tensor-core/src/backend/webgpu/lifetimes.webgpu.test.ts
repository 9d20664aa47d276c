import { execFile } from "node:child_process";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { memory, tensor } from "../../index.ts";
import { laneBackend } from "../../testing/webgpu-backend.ts";
import { laneGpu, laneName } from "../../testing/webgpu-lane.ts";
import { bindGroupCacheSize } from "./command-queue.ts";
import { webgpu } from "./webgpu.ts";

const megabyte = 2 ** 20;

/** Memory of the process, after what is unreachable has gone. */
async function residentBytes(): Promise<number> {
  // Native objects go after the collection that finds them.
  for (let i = 0; i < 3; i++) {
    (globalThis as { gc?: () => void }).gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return process.memoryUsage().rss;
}

describe("opening and closing", () => {
  it("a hundred times leaves nothing", async () => {
    const gpu = await laneGpu();
    const cycle = async (i: number): Promise<void> => {
      const device = await webgpu({ gpu });
      using x = tensor([i, 2, 3], { device: "webgpu" });
      using y = x.add(1);
      // Not read: memory that commands still use.
      using z = y.multiply(y);
      expect(z.shape).toEqual([3]);
      expect((await y.data())[0]).toBe(i + 1);
      expect(memory("webgpu").allocations).toBeGreaterThan(0);
      x.dispose();
      y.dispose();
      z.dispose();
      expect(memory("webgpu")).toMatchObject({ allocatedBytes: 0, allocations: 0 });
      device.destroy();
      await device.lost;
    };
    for (let i = 0; i < 20; i++) await cycle(i);
    const before = await residentBytes();
    for (let i = 0; i < 100; i++) await cycle(i);
    const growth = (await residentBytes()) - before;
    expect(growth / megabyte).toBeLessThan(100);
  });
});

describe("ten thousand small operations", () => {
  it("grow nothing beyond its bounds", async () => {
    const backend = await laneBackend();
    const { runtime, staging } = backend;
    const buffers = Array.from({ length: 4 }, () => backend.allocate(64));
    backend.write(buffers[0]!, 0, new Uint8Array(new Float32Array(16).fill(1).buffer));
    const view = (i: number) => ({ buffer: buffers[i % 4]!, dtype: "float32" as const, shape: [16], strides: [1], offset: 0 });
    const before = backend.memory();
    for (let i = 0; i < 10_000; i++) {
      const temporary = { ...view(i), buffer: backend.allocate(64) };
      backend.kernels.binaryScalar({ operation: "add", a: view(i), scalar: 1, reversed: false, output: temporary });
      // Fused chains would be few launches.
      runtime.deferred?.flush();
      backend.kernels.binaryScalar({ operation: "multiply", a: temporary, scalar: 1, reversed: false, output: view(i + 1) });
      runtime.deferred?.flush();
      backend.free(temporary.buffer);
      if (i % 100 === 0) await backend.read(buffers[0]!, 0, 64);
    }
    const values = new Float32Array((await backend.read(buffers[0]!, 0, 64)).buffer);
    expect([...values]).toEqual(Array(16).fill(10_001));
    expect(runtime.queue.statistics.launches).toBe(20_000);
    expect(backend.memory().allocations).toBe(before.allocations);
    // One temporary at a time, and it is the same one.
    expect(backend.memory().reservedBytes).toBeLessThanOrEqual(before.reservedBytes + 2 * 256);
    expect(runtime.queue.statistics.bindGroups).toBeLessThan(40);
    expect(runtime.pipelines.statistics.compiled).toBeLessThan(4);
    expect(staging.idle.buffers).toBe(1);
    backend.destroy();
  });

  it("with ever new buffers keep no more than the cache's number of bind groups", async () => {
    const backend = await laneBackend();
    const held = Array.from({ length: 300 }, () => backend.allocate(16));
    const view = (i: number) => ({ buffer: held[i]!, dtype: "float32" as const, shape: [4], strides: [1], offset: 0 });
    for (let i = 0; i < bindGroupCacheSize + 1000; i++) {
      const [a, b] = [i % 300, (i + 1 + Math.floor(i / 300)) % 300];
      backend.kernels.binaryScalar({ operation: "add", a: view(a), scalar: 1, reversed: false, output: view(b) });
      runtime(backend).deferred?.flush();
    }
    await backend.synchronize();
    expect(runtime(backend).queue.statistics.bindGroups).toBeGreaterThan(bindGroupCacheSize);
    expect(runtime(backend).queue.bindGroupsKept).toBeLessThanOrEqual(bindGroupCacheSize);
    backend.destroy();
  });

  it("read at once keep few staging buffers", async () => {
    const backend = await laneBackend();
    const buffer = backend.allocate(64);
    const reads = Array.from({ length: 1000 }, () => backend.read(buffer, 0, 64));
    await Promise.all(reads);
    expect(backend.staging.idle.buffers).toBeLessThanOrEqual(256);
    backend.destroy();
  });

  const runtime = (backend: Awaited<ReturnType<typeof laneBackend>>) => backend.runtime;
});

describe("a program", () => {
  const here = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const module = JSON.stringify(pathToFileURL(process.env["FRUGAL_WEBGPU_MODULE"]!).href);
  const start = `
    const { create } = await import(${module});
    await import(${here("../../index.ts")});
    const { tensor } = await import(${here("../../index.ts")});
    const { webgpu } = await import(${here("./webgpu.ts")});
    const gpu = create(${JSON.stringify(laneName === "null" ? ["backend=null"] : ["backend=vulkan"])});
    const device = await webgpu({ gpu });
    const x = tensor([1, 2, 3], { device: "webgpu" });`;

  it.each([
    ["that is done", `console.log("done", (await x.add(1).data())[2]);`, 0],
    ["with a read still pending", `void x.add(1).data(); console.log("done", 4);`, 0],
    ["with work nobody waits for", `x.exp().add(1); console.log("done", 4);`, 0],
    ["that destroys the device under a read", `x.data().catch(() => undefined); device.destroy(); console.log("done", 4);`, 0],
    ["that throws", `void x.add(1).data(); console.log("done", 4); throw new Error("on purpose");`, 1],
    ["that exits", `void x.add(1).data(); console.log("done", 4); process.exit(3);`, 3],
  ])("%s ends by itself", async (_, rest, code) => {
    const run = promisify(execFile)(process.execPath, ["--input-type=module", "-e", start + rest], { timeout: 60_000 });
    const result = await run.then(
      ({ stdout }) => ({ code: 0, stdout }),
      (error: { code: number | null; stdout: string }) => ({ code: error.code, stdout: error.stdout }),
    );
    expect(result).toEqual({ code, stdout: "done 4\n" });
  });
});
