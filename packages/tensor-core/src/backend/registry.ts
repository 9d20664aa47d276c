import { DeviceError } from "../errors.ts";
import type { Backend, DeviceName } from "./backend.ts";

const factories = new Map<DeviceName, () => Backend>();
const backends = new Map<DeviceName, Backend>();

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
      throw new DeviceError(`device "${String(name)}" is not available; use one of ${known}`);
    }
    backend = factory();
    backends.set(name, backend);
  }
  return backend;
}
