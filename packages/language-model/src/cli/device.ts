import type { DeviceName } from "@frugal/tensor-core";
import { Option } from "commander";
import { note } from "./terminal.ts";

/** Where a command's model lives. */
export type CommandDevice = Extract<DeviceName, "cpu" | "webgpu">;

const devices: readonly CommandDevice[] = ["cpu", "webgpu"];

/** `--device`. */
export function deviceOption(): Option {
  return new Option("--device <device>", 'where the model runs; "webgpu" needs the package webgpu and a driver').choices(devices).default("cpu");
}

/** Opens the device a command was told to use. @throws DeviceError that says what to install, where there is no adapter */
export async function openDevice(device: CommandDevice, silent: boolean): Promise<CommandDevice> {
  if (device === "cpu") return device;
  // Loaded only when asked for: no other command needs the kernels.
  const { webgpu } = await import("@frugal/tensor-core/webgpu");
  const { adapter } = await webgpu();
  if (!silent) note(`on ${adapter.description || adapter.device || adapter.vendor}`);
  return device;
}
