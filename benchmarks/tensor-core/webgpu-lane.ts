import { pathToFileURL } from "node:url";

/** As each lane's adapter describes itself, so that a run on another one does not count. */
const adapters: Readonly<Record<string, RegExp>> = { lavapipe: /llvmpipe/i, swiftshader: /swiftshader/i };

/** Kept as long as the process: Dawn's objects do not outlive it. */
let gpu: GPU | undefined;

/** The GPU of the lane that this process was started for. @throws Error when the adapter is missing or another one */
export async function laneGpu(): Promise<GPU> {
  const { FRUGAL_WEBGPU_LANE: lane = "", FRUGAL_WEBGPU_MODULE: path } = process.env;
  if (path === undefined || adapters[lane] === undefined) throw new Error("start this by npm run verify -- tensor-core");
  const { create } = (await import(pathToFileURL(path).href)) as { create(options: readonly string[]): GPU };
  gpu = create(["backend=vulkan"]);
  const adapter = await gpu.requestAdapter();
  const { device = "none", architecture = "", description = "" } = adapter?.info ?? {};
  if (!adapters[lane].test(`${device} ${architecture} ${description}`))
    throw new Error(`lane ${lane} got the adapter ${device} ${architecture}`);
  return gpu;
}
