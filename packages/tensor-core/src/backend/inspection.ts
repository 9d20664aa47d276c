import type { DeviceName, MemoryUsage } from "./backend.ts";
import { backendOf } from "./registry.ts";

/** What a device's heap holds now, and its peak. */
export function memory(device: DeviceName = "cpu"): MemoryUsage {
  return backendOf(device).memory();
}

/** Resolves when all work queued on a device is done; at once on the CPU. */
export function synchronize(device: DeviceName): Promise<void> {
  return backendOf(device).synchronize();
}
