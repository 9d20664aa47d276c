/**
 * The WebGPU of a test lane. `npm run test:webgpu` starts each lane's process with the lane's Vulkan driver in the environment and
 * names the lane and the module that gives WebGPU to Node.
 */
import { pathToFileURL } from "node:url";
import { DeviceError } from "../errors.ts";

/** `null` validates shaders and calls but computes nothing; `system` is the machine's own hardware. */
export type WebGpuLaneName = "lavapipe" | "swiftshader" | "null" | "system";

interface Lane {
  readonly options: readonly string[];
  /** So that a run on another adapter than the one it is counted for cannot pass. */
  isExpected(info: GPUAdapterInfo): boolean;
}

/** SwiftShader turns the extension's zeros into a store for each word, and takes seconds to compile them; without it Dawn writes a loop. */
const withoutZeroExtension = "disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension";

const lanes: Readonly<Record<WebGpuLaneName, Lane>> = {
  lavapipe: { options: ["backend=vulkan"], isExpected: ({ device }) => device.startsWith("llvmpipe") },
  swiftshader: { options: ["backend=vulkan", withoutZeroExtension], isExpected: ({ architecture }) => architecture === "swiftshader" },
  null: { options: ["backend=null"], isExpected: ({ device }) => device === "null-backend" },
  system: { options: [], isExpected: ({ isFallbackAdapter }) => !isFallbackAdapter },
};

function readLaneName(): WebGpuLaneName | undefined {
  const name = process.env["FRUGAL_WEBGPU_LANE"];
  return name !== undefined && Object.hasOwn(lanes, name) ? (name as WebGpuLaneName) : undefined;
}

/** The lane this process was started for; undefined outside `npm run test:webgpu`. */
export const laneName: WebGpuLaneName | undefined = readLaneName();

interface DawnModule {
  create(options: readonly string[]): GPU;
}

let gpu: Promise<GPU> | undefined;

async function createGpu(): Promise<GPU> {
  const modulePath = process.env["FRUGAL_WEBGPU_MODULE"];
  if (laneName === undefined || modulePath === undefined) {
    throw new DeviceError(
      `FRUGAL_WEBGPU_LANE is ${process.env["FRUGAL_WEBGPU_LANE"]} and FRUGAL_WEBGPU_MODULE is ${modulePath}: ` +
        `start WebGPU tests by \`npm run test:webgpu -- ${Object.keys(lanes).join(" | ")}\``,
    );
  }
  const { create } = (await import(/* @vite-ignore */ pathToFileURL(modulePath).href)) as DawnModule;
  const { options, isExpected } = lanes[laneName];
  const created = create(options);
  const adapter = await created.requestAdapter();
  if (!adapter) throw new DeviceError(`lane ${laneName}: requestAdapter() gave none; install its driver (lavapipe: Mesa 25 or newer)`);
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  if (!isExpected(adapter.info)) {
    throw new DeviceError(
      `lane ${laneName} got another adapter: ${JSON.stringify({ vendor, architecture, device, description, isFallbackAdapter })}; ` +
        "look at VK_DRIVER_FILES and VK_ICD_FILENAMES",
    );
  }
  return created;
}

/**
 * The lane's GPU, one for each test file and kept as long as the process: Dawn's objects do not outlive it.
 * @throws DeviceError outside `npm run test:webgpu`, and when the adapter is missing or not the lane's
 */
export function laneGpu(): Promise<GPU> {
  gpu ??= createGpu();
  return gpu;
}
