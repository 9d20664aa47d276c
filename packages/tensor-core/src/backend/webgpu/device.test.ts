import { describe, expect, it } from "vitest";
import { DeviceError } from "../../errors.ts";
import { createNodeGpu, openDevice } from "./device.ts";

const adapter = (requestDevice: (descriptor: unknown) => Promise<unknown>): unknown => ({
  features: new Set(["shader-f16", "timestamp-query"]),
  limits: { maxBufferSize: 1000 },
  info: { vendor: "maker", architecture: "", description: "card" },
  requestDevice,
});

describe("openDevice", () => {
  it("says what to install where there is no adapter", async () => {
    const opened = openDevice({ gpu: { requestAdapter: () => Promise.resolve(null) } });
    await expect(opened).rejects.toThrow(DeviceError);
    await expect(opened).rejects.toThrow(/no adapter.*(driver|hardware acceleration)/);
  });

  it("passes on why an adapter or a device is refused", async () => {
    const failing = openDevice({ gpu: { requestAdapter: () => Promise.reject(new Error("blocked")) } });
    await expect(failing).rejects.toThrow(DeviceError);
    await expect(failing).rejects.toThrow(/blocked/);
    const refusing = openDevice({ gpu: { requestAdapter: () => Promise.resolve(adapter(() => Promise.reject(new Error("in use")))) } });
    await expect(refusing).rejects.toThrow(DeviceError);
    await expect(refusing).rejects.toThrow(/maker card.*in use/);
  });

  it("asks for useful features but those left out, and for the adapter's limits", async () => {
    let asked: unknown;
    const gpu = {
      requestAdapter: () =>
        Promise.resolve(
          adapter((descriptor) => {
            asked = descriptor;
            return Promise.resolve({ features: new Set() });
          }),
        ),
    };
    await openDevice({ gpu, withoutFeatures: ["shader-f16", "subgroups"] });
    expect(asked).toMatchObject({ requiredFeatures: ["timestamp-query"], requiredLimits: { maxBufferSize: 1000 } });
  });

  it("opens adapters that say nothing of themselves, as older browsers' do", async () => {
    const silent = { ...(adapter(() => Promise.resolve({ features: new Set() })) as object), info: undefined };
    const { info, subgroups } = await openDevice({ gpu: { requestAdapter: () => Promise.resolve(silent) } });
    expect(info).toEqual({});
    expect(subgroups).toBe(false);
  });

  it("refuses names of features that it does not know", async () => {
    await expect(openDevice({ withoutFeatures: ["f16"] })).rejects.toThrow(/"f16" is not one of shader-f16, /);
  });
});

describe("the package for Node", () => {
  it("is asked for by name where it is missing", async () => {
    const name = "webgpu-that-is-not-installed";
    const created = createNodeGpu(() => import(/* @vite-ignore */ name));
    await expect(created).rejects.toThrow(DeviceError);
    await expect(created).rejects.toThrow(/npm install webgpu/);
  });

  it("may fail to load, or be another one", async () => {
    await expect(createNodeGpu(() => Promise.reject(new Error("wrong ELF class")))).rejects.toThrow(/wrong ELF class.*npm install webgpu/);
    await expect(createNodeGpu(() => Promise.resolve({}))).rejects.toThrow(/no create\(\)/);
  });
});
