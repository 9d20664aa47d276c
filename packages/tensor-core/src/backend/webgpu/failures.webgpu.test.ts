import { afterEach, describe, expect, it } from "vitest";
import { OutOfMemoryError, tensor } from "../../index.ts";
import { laneBackend } from "../../testing/webgpu-backend.ts";
import { observedGpu, refusingDevice } from "../../testing/webgpu-devices.ts";
import { laneGpu, laneName } from "../../testing/webgpu-lane.ts";
import type { DeviceBuffer } from "../backend.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./backend.ts";
import type { WebGpuBuffer } from "./buffers.ts";
import { openDevice } from "./device.ts";
import { DeviceLostError, GpuCommandError } from "./errors.ts";
import { entryPoint, f32 } from "./program.ts";
import { webgpu, type WebGpuDevice } from "./webgpu.ts";

const ones = (length: number): Uint8Array => new Uint8Array(new Float32Array(length).fill(1).buffer);

async function valuesOf(backend: WebGpuBackend, buffer: DeviceBuffer): Promise<number[]> {
  return [...new Float32Array((await backend.read(buffer, 0, buffer.byteLength)).buffer)];
}

/** output = input * factor, by a text of our own. */
function scale(backend: WebGpuBackend, input: DeviceBuffer, output: DeviceBuffer, factor: number, broken = false): void {
  const [source, target] = [input as WebGpuBuffer, output as WebGpuBuffer];
  backend.runtime.launch({
    name: broken ? "broken" : "scale",
    bindings: {
      input: { buffer: source, access: "read", type: "f32", offset: 0 },
      output: { buffer: target, access: "write", type: "f32", offset: 0 },
    },
    uniforms: { factor: f32(factor) },
    workgroups: [1],
    code: () => {
      const value = broken ? "undeclaredName" : "input[index]";
      return entryPoint(64, `if (index < arrayLength(&output)) { output[index] = ${value} * uniforms.factor; }`);
    },
  });
}

function filled(backend: WebGpuBackend, length = 4): DeviceBuffer {
  const buffer = backend.allocate(4 * length);
  backend.write(buffer, 0, ones(length));
  return buffer;
}

describe("the loss of the device", () => {
  let device: WebGpuDevice | undefined;
  afterEach(() => device?.destroy());

  it("reaches pending reads and later operations, and nothing else", async () => {
    const { gpu, devices } = await observedGpu();
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
    await expect(y.data()).rejects.toThrow(DeviceLostError);
    await expect(y.data()).rejects.toThrow(/webgpu\(\)/);
    expect(() => y.add(1)).toThrow(DeviceLostError);
    expect(() => x.sum()).toThrow(DeviceLostError);
    expect(() => tensor([1], { device: "webgpu" })).toThrow(DeviceLostError);
    await expect(device.warmUp([])).rejects.toThrow(DeviceLostError);
    x.dispose();
    y.dispose();
    expect([...onCpu.add(1).dataSync()]).toEqual([2, 3, 4]);

    device = await webgpu({ gpu });
    expect(devices.length).toBe(2);
    using again = tensor([5], { device: "webgpu" });
    using more = again.add(1);
    expect([...(await more.data())]).toEqual([6]);
  });

  it("by destroy() is the same, also in the middle of a batch", async () => {
    device = await webgpu({ gpu: await laneGpu() });
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

  it("rejects what waits for the queue", async () => {
    const { gpu, devices } = await observedGpu();
    const { device: raw } = await openDevice({ gpu });
    const backend = createWebGpuBackend(raw);
    const x = filled(backend);
    const waiting = backend.synchronize();
    devices[0]!.destroy();
    await Promise.allSettled([waiting]);
    await backend.lost;
    await expect(backend.synchronize()).rejects.toThrow(DeviceLostError);
    expect(() => backend.write(x, 0, ones(4))).toThrow(DeviceLostError);
    backend.free(x);
    expect(backend.memory()).toMatchObject({ allocatedBytes: 0, allocations: 0 });
  });

  it("lets two callers open one device at the same time", async () => {
    const gpu = await laneGpu();
    const opening = webgpu({ gpu });
    const [first, second] = await Promise.all([opening, webgpu()]);
    device = first;
    expect(second).toBe(first);
    await expect(webgpu({ gpu })).rejects.toThrow(/open already/);
  });
});

describe("a kernel that does not compile", () => {
  let backend: WebGpuBackend;
  afterEach(() => backend.destroy());

  it("fails what it writes and what was computed from that, with the compiler's words", async () => {
    backend = await laneBackend();
    const x = filled(backend);
    const [before, broken, derived] = [backend.allocate(16), backend.allocate(16), backend.allocate(16)];
    const [after, independent] = [backend.allocate(16), backend.allocate(16)];
    scale(backend, x, before, 2);
    scale(backend, x, broken, 2, true);
    scale(backend, x, after, 3);
    scale(backend, broken, derived, 3);
    scale(backend, before, independent, 5);
    const read = (buffer: DeviceBuffer): Promise<number[]> => valuesOf(backend, buffer);
    await expect(read(broken)).rejects.toThrow(GpuCommandError);
    await expect(read(broken)).rejects.toThrow(/kernel "broken" does not compile.*undeclaredName/s);
    await expect(read(derived)).rejects.toThrow(/undeclaredName/);
    expect(await Promise.all([x, before, after, independent].map(read))).toEqual([1, 2, 3, 10].map((value) => Array(4).fill(value)));

    // Known to be broken by now: not even recorded, and others of the batch are safe.
    scale(backend, x, independent, 7);
    scale(backend, x, after, 1, true);
    await expect(read(after)).rejects.toThrow(/undeclaredName/);
    expect(await read(independent)).toEqual([7, 7, 7, 7]);

    // The tensor is good again once it is filled again.
    backend.write(broken, 0, ones(4));
    expect(await read(broken)).toEqual([1, 1, 1, 1]);
    // Each error was told to somebody.
    await backend.synchronize();
  });

  it("is told to who waits for the queue, once, if nobody read the result", async () => {
    backend = await laneBackend();
    const [x, y] = [filled(backend), backend.allocate(16)];
    scale(backend, x, y, 2, true);
    await expect(backend.synchronize()).rejects.toThrow(/undeclaredName/);
    await backend.synchronize();
  });

  it("counts as failed in a warm-up and leaves the batch alone", async () => {
    backend = await laneBackend();
    const [x, y] = [filled(backend), backend.allocate(16)];
    scale(backend, x, y, 2);
    const records = [
      { label: "broken", shader: "fn main(", layout: "rw" },
      { label: "no layout", shader: "", layout: "rwrwrwrwrw" },
    ];
    const warming = backend.runtime.pipelines.warmUp([...records, ...backend.runtime.pipelines.records()]);
    expect(await valuesOf(backend, y)).toEqual([2, 2, 2, 2]);
    expect(await warming).toEqual({ compiled: 0, failed: 2 });
    await backend.synchronize();
  });
});

describe("an invalid command", () => {
  it("fails its batch, and nothing of the batches before or after", async () => {
    const backend = await laneBackend();
    const x = filled(backend);
    const [before, failing, after] = [backend.allocate(16), backend.allocate(16), backend.allocate(16)];
    scale(backend, x, before, 2);
    void backend.runtime.submit();
    backend.runtime.copyBytes(x as WebGpuBuffer, 0, failing as WebGpuBuffer, 2 ** 20, 16);
    void backend.runtime.submit();
    scale(backend, x, after, 3);
    const results = await Promise.allSettled([before, failing, after].map((buffer) => valuesOf(backend, buffer)));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((results[1] as PromiseRejectedResult).reason).toBeInstanceOf(GpuCommandError);
    backend.destroy();
  });

  it("outside all batches is told to the next who reads or waits", async () => {
    const backend = await laneBackend();
    const x = filled(backend);
    expect(await valuesOf(backend, x)).toEqual([1, 1, 1, 1]);
    backend.runtime.device.createBuffer({ size: 16, usage: 3 });
    const arrived = new Promise((resolve) => setTimeout(resolve, 100));
    await arrived;
    await expect(valuesOf(backend, x)).rejects.toThrow(GpuCommandError);
    expect(await valuesOf(backend, x)).toEqual([1, 1, 1, 1]);
    backend.runtime.device.createBuffer({ size: 16, usage: 3 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await expect(backend.synchronize()).rejects.toThrow(GpuCommandError);
    await backend.synchronize();
    backend.destroy();
  });
});

describe("memory that runs out", () => {
  it("is said at once for more than one buffer holds", async () => {
    const backend = await laneBackend();
    const { maxBufferSize, maxStorageBufferBindingSize } = backend.runtime.device.limits;
    expect(() => backend.allocate(Math.min(maxBufferSize, maxStorageBufferBindingSize) + 1)).toThrow(OutOfMemoryError);
    expect(() => backend.allocate(2 ** 50)).toThrow(/split the tensor/);
    expect(backend.memory().allocations).toBe(0);
    backend.destroy();
  });

  it("fails the tensor that got none and what was computed from it; trying again works", async () => {
    let isFull = false;
    const { device } = await openDevice({ gpu: await laneGpu() });
    const backend = createWebGpuBackend(refusingDevice(device, ({ size }) => isFull && size === 2 ** 24));
    const x = filled(backend);
    const idle = backend.allocate(2 ** 20);
    backend.free(idle);
    const before = backend.allocate(16);
    scale(backend, x, before, 2);
    isFull = true;
    const large = backend.allocate(2 ** 24);
    const derived = backend.allocate(16);
    scale(backend, large, derived, 2);
    await expect(valuesOf(backend, derived)).rejects.toThrow(OutOfMemoryError);
    await expect(backend.read(large, 0, 16)).rejects.toThrow(/no 16777216 bytes.*free tensors/);
    expect(await valuesOf(backend, before)).toEqual([2, 2, 2, 2]);
    // What was kept for reuse went back to the driver.
    expect(backend.memory().reservedBytes).toBeLessThan(2 ** 24 + 2 ** 20);
    backend.free(large);
    isFull = false;
    const again = backend.allocate(2 ** 24);
    backend.write(again, 0, ones(4));
    expect((await backend.read(again, 0, 4)).length).toBe(4);
    await backend.synchronize();
    for (const buffer of [x, before, derived, again]) backend.free(buffer);
    expect(backend.memory()).toMatchObject({ allocatedBytes: 0, allocations: 0 });
    backend.destroy();
  });

  it("fails a read that gets no memory to land in, and no other", async () => {
    let isFull = false;
    const { device } = await openDevice({ gpu: await laneGpu() });
    const backend = createWebGpuBackend(refusingDevice(device, ({ usage }) => isFull && (usage & 1) !== 0));
    const [x, large] = [filled(backend), backend.allocate(2 ** 24)];
    const y = backend.allocate(16);
    scale(backend, x, y, 2);
    isFull = true;
    await expect(backend.read(large, 0, 2 ** 24)).rejects.toThrow(OutOfMemoryError);
    isFull = false;
    expect(await valuesOf(backend, y)).toEqual([2, 2, 2, 2]);
    backend.destroy();
  });

  it("is believed to a real driver, where it gives one buffer less than it promises", async () => {
    const backend = await laneBackend();
    const x = filled(backend);
    const { maxBufferSize, maxStorageBufferBindingSize } = backend.runtime.device.limits;
    const large = backend.allocate(Math.min(maxBufferSize, maxStorageBufferBindingSize));
    const reading = backend.read(large, 0, 16).then(
      () => undefined,
      (error: unknown) => error,
    );
    const isRefused = laneName === "swiftshader";
    expect((await reading) instanceof OutOfMemoryError).toBe(isRefused);
    expect(await valuesOf(backend, x)).toEqual([1, 1, 1, 1]);
    await backend.synchronize();
    backend.destroy();
  });
});
