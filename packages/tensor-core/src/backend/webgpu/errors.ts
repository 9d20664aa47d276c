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
