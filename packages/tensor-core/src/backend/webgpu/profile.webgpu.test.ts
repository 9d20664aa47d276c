import { afterEach, describe, expect, it } from "vitest";
import { DeviceError, tensor } from "../../index.ts";
import { laneGpu } from "../../testing/webgpu-lane.ts";
import { webgpu, type WebGpuDevice } from "./webgpu.ts";

describe("profile()", () => {
  let device: WebGpuDevice;
  afterEach(() => device.destroy());

  it("times each kernel and gives the result", async () => {
    device = await webgpu({ gpu: await laneGpu() });
    using x = tensor(
      Array.from({ length: 5000 }, (_, i) => i % 10),
      { device: "webgpu" },
    );
    using earlier = x.add(1);
    const launches = device.statistics().launches;
    const { result, profile } = await device.profile(async () => {
      using y = x.multiply(2);
      using z = y.sum();
      const data = await z.data();
      for (let i = 0; i < 100; i++) {
        using w = x.add(earlier);
        await w.data();
      }
      return data[0];
    });
    expect(result).toBe(45_000);
    // The addition before is not part of it.
    expect(profile.launches).toBe(device.statistics().launches - launches - 1);
    expect(profile.launches).toBeGreaterThanOrEqual(102);
    expect(profile).toMatchObject({ untimed: 0, unreliable: 0 });
    expect(profile.kernels.reduce((sum, row) => sum + row.launches, 0)).toBe(profile.launches);
    expect(profile.kernels.reduce((sum, row) => sum + row.share, 0)).toBeCloseTo(1);
    expect(profile.kernels.find((row) => row.launches === 100)!.label).toMatch(/add/);
    expect(profile.gpuMicroseconds).toBeGreaterThan(0);
    expect(profile.gpuMicroseconds).toBeLessThan(profile.wallMicroseconds + 2 * profile.resolutionMicroseconds * profile.submissions);
    expect(profile.toTable()).toContain("elementwise");

    const { traceEvents } = profile.toChromeTrace();
    expect(traceEvents.filter(({ cat }) => cat === "gpu").length).toBe(profile.launches);
    expect(traceEvents.filter(({ name }) => name === "submit").length).toBe(profile.submissions);
    expect([...(await earlier.data())].slice(0, 3)).toEqual([1, 2, 3]);
  });

  it("takes more launches than one set of queries holds", async () => {
    device = await webgpu({ gpu: await laneGpu() });
    using x = tensor([1, 2, 3], { device: "webgpu" });
    const { profile } = await device.profile(() => {
      for (let i = 0; i < 300; i++) {
        using y = x.sum();
        expect(y.shape).toEqual([]);
      }
    });
    expect(profile).toMatchObject({ launches: 300, untimed: 0, unreliable: 0 });
    expect(profile.submissions).toBeGreaterThanOrEqual(300 / 64);
    const after = device.statistics();
    using y = x.sum();
    expect((await y.data())[0]).toBe(6);
    expect(device.statistics().launches).toBe(after.launches + 1);
  });

  it("passes errors on, and leaves the device as it was", async () => {
    device = await webgpu({ gpu: await laneGpu() });
    using x = tensor([1, 2, 3], { device: "webgpu" });
    let y: typeof x | undefined;
    const failing = device.profile(() => {
      y = x.add(1);
      throw new RangeError("on purpose");
    });
    await expect(failing).rejects.toThrow(RangeError);
    expect([...(await y!.data())]).toEqual([2, 3, 4]);
    y!.dispose();
    const outer = device.profile(() => device.profile(() => 1));
    await expect(outer).rejects.toThrow(/running already/);
    expect((await device.profile(() => 2)).result).toBe(2);
  });

  it("says what is missing without timestamps", async () => {
    device = await webgpu({ gpu: await laneGpu(), withoutFeatures: ["timestamp-query"] });
    await expect(device.profile(() => 1)).rejects.toThrow(DeviceError);
    await expect(device.profile(() => 1)).rejects.toThrow(/timestamp-query.*chrome:\/\/flags/);
  });
});
