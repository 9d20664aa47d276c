/** GPUs that tests can make fail. */
import { laneGpu } from "./webgpu-lane.ts";

/** A GPU, and the devices that it gave: they are lost when a test destroys them. */
export interface ObservedGpu {
  readonly gpu: { requestAdapter(options?: object): Promise<unknown> };
  readonly devices: readonly GPUDevice[];
}

/** The lane's GPU, observed. */
export async function observedGpu(): Promise<ObservedGpu> {
  const gpu = await laneGpu();
  const devices: GPUDevice[] = [];
  const requestAdapter = async (options?: object): Promise<unknown> => {
    const adapter = (await gpu.requestAdapter(options))!;
    const requestDevice = async (descriptor: GPUDeviceDescriptor): Promise<GPUDevice> => {
      const device = await adapter.requestDevice(descriptor);
      devices.push(device);
      return device;
    };
    return { features: adapter.features, limits: adapter.limits, info: adapter.info, requestDevice };
  };
  return { gpu: { requestAdapter }, devices };
}

/** A device without memory for buffers that `refuses` names, as a driver would say it: an invalid buffer, and an error in the scope. */
export function refusingDevice(device: GPUDevice, refuses: (descriptor: GPUBufferDescriptor) => boolean): GPUDevice {
  const scopes: { readonly filter: GPUErrorFilter; error: GPUError | undefined }[] = [];
  const replaced = {
    pushErrorScope(filter: GPUErrorFilter): void {
      scopes.push({ filter, error: undefined });
      device.pushErrorScope(filter);
    },
    async popErrorScope(): Promise<GPUError | null> {
      const scope = scopes.pop();
      const error = await device.popErrorScope();
      return scope?.error ?? error;
    },
    createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer {
      if (!refuses(descriptor)) return device.createBuffer(descriptor);
      const scope = scopes.findLast(({ filter }) => filter === "out-of-memory");
      if (scope !== undefined) scope.error ??= { message: `no ${descriptor.size} bytes` } as GPUError;
      device.pushErrorScope("validation");
      // Mappable for reading and writing at once: no such buffer exists.
      const invalid = device.createBuffer({ ...descriptor, usage: 3 });
      void device.popErrorScope();
      return invalid;
    },
  };
  return new Proxy(device, {
    get(target, name) {
      if (Object.hasOwn(replaced, name)) return replaced[name as keyof typeof replaced];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
}
