import { createHash } from "node:crypto";
import { join } from "node:path";
import type { CommandDevice } from "../command-line/arguments.ts";
import { modelCacheFolder } from "../weights/download/cache-folder.ts";
import { note } from "../command-line/terminal.ts";

/** An open device. */
export interface OpenDevice {
  /** Keeps what later runs of the same command start quicker with. */
  remember(): Promise<void>;
}

const nothingToRemember: OpenDevice = { remember: () => Promise.resolve() };

/**
 * Opens the device a command was told to use. Shaders that earlier runs on this adapter used are compiled ahead, in parallel.
 * @param task what the command does with which model: runs of one task use the same shaders
 * @throws DeviceError that says what to install, where there is no adapter
 */
export async function openDevice(device: CommandDevice, task: string, silent: boolean): Promise<OpenDevice> {
  if (device === "cpu") return nothingToRemember;
  // Loaded only when asked for: no other command needs the kernels.
  const { loadPipelines, savePipelines, webgpu } = await import("@frugal/tensor-core/webgpu");
  const gpu = await webgpu();
  const { adapter } = gpu;
  const say = (text: string): void => {
    if (!silent) note(text);
  };
  const name = adapter.description || adapter.device || adapter.vendor || "an adapter without a name";
  say(`on ${name}${adapter.isSoftware ? ", which computes on the CPU: --device cpu is faster" : ""}`);
  const digest = createHash("sha256").update(`${name}\n${task}`).digest("hex").slice(0, 16);
  const path = join(await modelCacheFolder(), "webgpu-pipelines", `${digest}.json`);
  const warm = await loadPipelines(gpu, path);
  if (warm.status === "ignored") say(`shaders are compiled anew: ${warm.reason}`);
  return {
    async remember() {
      try {
        await savePipelines(gpu, path);
      } catch (error) {
        say(`shaders are not kept for later runs: ${error instanceof Error ? error.message : String(error)}`);
      }
    },
  };
}
