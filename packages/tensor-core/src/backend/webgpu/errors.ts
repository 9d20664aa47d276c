import { DeviceError, TensorError } from "../../errors.ts";

/** The GPU was lost: a driver reset, an unplugged card, `destroy()`. Its tensors are gone; `await webgpu()` makes a new device. */
export class DeviceLostError extends DeviceError {
  override name = "DeviceLostError";
}

/**
 * The GPU refused a command (a validation or internal error), so that what the command should have written does not exist. Thrown by reads
 * of exactly those tensors.
 */
export class GpuCommandError extends TensorError {
  override name = "GpuCommandError";
}

/** Loss of the device, in our type. */
export function deviceLost(reason: string, message: string): DeviceLostError {
  return new DeviceLostError(
    `the GPU device was lost (${reason}): ${message || "no reason given"}; its tensors are gone, call webgpu() again for a new device`,
  );
}
