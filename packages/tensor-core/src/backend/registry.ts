import { DeviceError } from "../errors.ts";
import type { Backend, DeviceName, KernelArguments, KernelName } from "./backend.ts";

const factories = new Map<DeviceName, () => Backend>();
const backends = new Map<DeviceName, Backend>();

/** Devices that have to be asked for. */
const entryPoints: ReadonlyMap<string, string> = new Map([
  ["reference", 'import "@frugal/tensor-core/reference" first'],
  ["webgpu", 'await webgpu() from "@frugal/tensor-core/webgpu" first'],
]);

/** Makes a device known; its backend is built on first use. Called by this package's entry points. */
export function registerBackend(name: DeviceName, factory: () => Backend): void {
  factories.set(name, factory);
}

/** The backend behind a device name. @throws DeviceError when the device is not available here */
export function backendOf(name: DeviceName): Backend {
  let backend = backends.get(name);
  if (backend === undefined) {
    const factory = factories.get(name);
    if (factory === undefined) {
      const known = [...factories.keys()].map((key) => `"${key}"`).join(", ");
      const help = entryPoints.get(name) ?? `use one of ${known}`;
      throw new DeviceError(`device "${String(name)}" is not available; ${help}`);
    }
    backend = factory();
    backends.set(name, backend);
  }
  return backend;
}

/**
 * Puts a finished backend behind a device name, for devices that take time to open; undefined takes it away. Tensors keep the backend they
 * were made on.
 */
export function installBackend(name: DeviceName, backend: Backend | undefined): void {
  if (backend === undefined) backends.delete(name);
  else backends.set(name, backend);
}

/** Whether a device has been used, so that it has memory and kernels. */
export function isBackendBuilt(name: DeviceName): boolean {
  return backends.has(name);
}

/** Makes a kernel from the one that it replaces, which it may call for arguments that it does not take itself. */
export type KernelOverride<Name extends KernelName> = (
  original: (parameters: KernelArguments[Name]) => void,
  backend: Backend,
) => (parameters: KernelArguments[Name]) => void;

/**
 * Replaces a kernel of a device, for all operations from now on. Returns a function that puts the replaced one back; undo overrides of one
 * kernel in reverse order.
 *
 * The new kernel must keep to the contract in `KernelArguments`: tests of operations hold it to that.
 * @throws DeviceError when the device is not available
 */
export function overrideKernel<Name extends KernelName>(device: DeviceName, name: Name, override: KernelOverride<Name>): () => void {
  const backend = backendOf(device);
  const kernels = backend.kernels as { [Key in Name]: (parameters: KernelArguments[Key]) => void };
  const original = kernels[name];
  kernels[name] = override(original, backend);
  return () => {
    kernels[name] = original;
  };
}
