import { afterEach, describe, expect, it } from "vitest";
import { DeviceError, memory, tensor, TensorError } from "../../index.ts";
import { DeviceLostError } from "./errors.ts";
import { loadPipelines, savePipelines } from "./pipeline-storage.ts";
import { webgpu, type WebGpuDevice } from "./webgpu.ts";

let device: WebGpuDevice | undefined;
afterEach(() => device?.destroy());

/** Runs `body` with another `navigator.gpu`. */
async function withGpu(gpu: unknown, body: () => Promise<void>): Promise<void> {
  Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  try {
    await body();
  } finally {
    // The browser's own is on the prototype.
    Reflect.deleteProperty(navigator, "gpu");
  }
}

/** The page's WebGPU, and the devices that it gave: they are lost when a test destroys them. */
function observedPageGpu(): { gpu: { requestAdapter(options?: object): Promise<unknown> }; devices: GPUDevice[] } {
  const devices: GPUDevice[] = [];
  const requestAdapter = async (options?: object): Promise<unknown> => {
    const adapter = (await navigator.gpu.requestAdapter(options))!;
    const requestDevice = async (descriptor: GPUDeviceDescriptor): Promise<GPUDevice> => {
      const opened = await adapter.requestDevice(descriptor);
      devices.push(opened);
      return opened;
    };
    return { features: adapter.features, limits: adapter.limits, info: adapter.info, requestDevice };
  };
  return { gpu: { requestAdapter }, devices };
}

describe("the page's WebGPU", () => {
  it("is found by itself, once for all callers, and says what it is", async () => {
    const [first, second] = await Promise.all([webgpu(), webgpu()]);
    device = first;
    expect(second).toBe(first);
    expect(Object.values(first.adapter).join("")).not.toBe("");
    using x = tensor([1, 2, 3], { device: "webgpu" });
    using y = x.multiply(x);
    expect([...(await y.data())]).toEqual([1, 4, 9]);
    expect(first.statistics()).toMatchObject({ launches: 1, pipelinesCompiled: 1 });
  });

  it("opens and closes again and again, and leaves nothing", async () => {
    for (let i = 0; i < 20; i++) {
      device = await webgpu();
      const x = tensor([i, 2, 3], { device: "webgpu" });
      const y = x.add(1);
      expect([...(await y.data())]).toEqual([i + 1, 3, 4]);
      x.dispose();
      y.dispose();
      expect(memory("webgpu")).toMatchObject({ allocatedBytes: 0, allocations: 0 });
      device.destroy();
      await device.lost;
    }
  });

  it("warms up from records of an earlier device, and keeps files to Node", async () => {
    const work = async (): Promise<number[]> => {
      using x = tensor([1, 2, 3], { device: "webgpu" });
      using y = x.exp();
      using z = y.sum();
      return [...(await z.data())];
    };
    device = await webgpu();
    const results = await work();
    const records = device.pipelines();
    expect(records.length).toBeGreaterThan(0);
    await expect(savePipelines(device, "pipelines.json")).rejects.toThrow(TensorError);
    await expect(loadPipelines(device, "pipelines.json")).rejects.toThrow(TensorError);
    device.destroy();

    device = await webgpu();
    expect(await device.warmUp(JSON.parse(JSON.stringify(records)))).toEqual({ compiled: records.length, failed: 0 });
    expect(await work()).toEqual(results);
    expect(device.statistics()).toMatchObject({ pipelinesCompiled: records.length, compileMilliseconds: 0 });
  });
});

describe("in the page, a lost device", () => {
  it("fails pending reads and later operations with a typed error, and nothing else", async () => {
    const { gpu, devices } = observedPageGpu();
    device = await webgpu({ gpu });
    using onCpu = tensor([1, 2, 3]);
    const x = tensor([1, 2, 3], { device: "webgpu" });
    const y = x.add(1);
    expect([...(await y.data())]).toEqual([2, 3, 4]);
    const pending = [y.data(), x.multiply(y).data(), x.data()];
    devices[0]!.destroy();
    for (const { status, reason } of (await Promise.allSettled(pending)) as { status: string; reason?: unknown }[]) {
      // A copy that was done in time may still arrive.
      if (status === "rejected") expect(reason).toBeInstanceOf(DeviceLostError);
    }
    expect(await device.lost).toBeInstanceOf(DeviceLostError);
    await expect(y.data()).rejects.toThrow(/webgpu\(\)/);
    expect(() => y.add(1)).toThrow(DeviceLostError);
    expect(() => tensor([1], { device: "webgpu" })).toThrow(DeviceLostError);
    x.dispose();
    y.dispose();
    {
      using sum = onCpu.add(1);
      expect([...sum.dataSync()]).toEqual([2, 3, 4]);
    }
    onCpu.dispose();

    device = await webgpu({ gpu });
    expect(devices.length).toBe(2);
    using again = tensor([5], { device: "webgpu" });
    using more = again.add(1);
    expect([...(await more.data())]).toEqual([6]);
  });

  it("by destroy() is the same, also in the middle of a batch", async () => {
    device = await webgpu();
    const x = tensor([1, 2, 3], { device: "webgpu" });
    const y = x.exp();
    const reading = y.data();
    device.destroy();
    device.destroy();
    await expect(reading).rejects.toThrow(DeviceLostError);
    await expect(x.data()).rejects.toThrow(DeviceLostError);
    expect(() => x.add(1)).toThrow(DeviceLostError);
    x.dispose();
    y.dispose();
  });
});

describe("a page without WebGPU", () => {
  it("is told which browsers have it and how to switch it on", () =>
    withGpu(undefined, async () => {
      await expect(webgpu()).rejects.toThrow(DeviceError);
      await expect(webgpu()).rejects.toThrow(/no WebGPU \(navigator\.gpu\).*--enable-unsafe-webgpu/);
      expect(() => tensor([1], { device: "webgpu" })).toThrow(DeviceError);
    }));

  it("is told the same where there is no adapter, or it gives no device", () =>
    withGpu({ requestAdapter: async () => null }, async () => {
      await expect(webgpu()).rejects.toThrow(/no adapter here; switch on hardware acceleration/);
      const adapter = {
        features: new Set(),
        limits: {},
        info: { vendor: "test", architecture: "", description: "" },
        requestDevice: () => Promise.reject(new Error("busy")),
      };
      await expect(webgpu({ gpu: { requestAdapter: async () => adapter } })).rejects.toThrow(/\(test\) gives no device: busy; switch on/);
    }));
});
