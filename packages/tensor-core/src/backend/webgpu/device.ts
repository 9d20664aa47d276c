import { DeviceError } from "../../errors.ts";
import { hasOrderedSubgroups } from "./subgroup-probe.ts";

/** How to choose and open an adapter. */
export interface DeviceRequest {
  /**
   * The WebGPU implementation; default: `navigator.gpu` in browsers, in Node the package `webgpu` (an optional peer dependency of this
   * one). Anything with the `requestAdapter` of the WebGPU standard.
   */
  readonly gpu?: { requestAdapter(options?: object): Promise<unknown> } | undefined;
  /** Which adapter, where there are several; default "high-performance". */
  readonly powerPreference?: "high-performance" | "low-power" | undefined;
  /** Leave these features unused although the adapter has them, to run as others will. */
  readonly withoutFeatures?: readonly string[] | undefined;
  /** Ask for no more than every adapter has (256 invocations, 16 KiB a workgroup), to run as others will. */
  readonly baselineLimits?: boolean | undefined;
}

/** Features that kernels make use of. */
const usefulFeatures: readonly string[] = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"];

/** Limits that are asked for as high as the adapter goes. */
const usefulLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
] as const;

/** An adapter as it was chosen. */
export interface OpenedDevice {
  readonly device: GPUDevice;
  /** What the adapter says of itself; browsers may keep any of it to themselves. */
  readonly info: Partial<GPUAdapterInfo>;
  /** Whether subgroups lie as kernels take them to. */
  readonly subgroups: boolean;
}

/** Finds an adapter and opens a device on it. @throws DeviceError that says what to install or switch on */
export async function openDevice(request: DeviceRequest = {}): Promise<OpenedDevice> {
  const excluded = new Set(request.withoutFeatures);
  for (const name of excluded) {
    if (!usefulFeatures.includes(name)) {
      throw new DeviceError(`withoutFeatures: "${name}" is not one of ${usefulFeatures.join(", ")}`);
    }
  }
  const gpu = (request.gpu ?? (await defaultGpu())) as GPU;
  usedGpus.add(gpu);
  const powerPreference = request.powerPreference ?? "high-performance";
  const adapter = await gpu.requestAdapter({ powerPreference }).catch((cause: unknown) => {
    throw new DeviceError(`WebGPU failed to look for an adapter: ${messageOf(cause)}; ${adapterHelp()}`, { cause });
  });
  if (!adapter) throw new DeviceError(`WebGPU finds no adapter here; ${adapterHelp()}`);
  const requiredFeatures = usefulFeatures.filter((name) => adapter.features.has(name) && !excluded.has(name)) as GPUFeatureName[];
  const requiredLimits: Record<string, number> = {};
  if (!request.baselineLimits) for (const name of usefulLimits) requiredLimits[name] = adapter.limits[name];
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits }).catch((cause: unknown) => {
    const { vendor, architecture, description } = infoOf(adapter);
    const name = [vendor, architecture, description].filter(Boolean).join(" ") || "without a name";
    throw new DeviceError(`the WebGPU adapter (${name}) gives no device: ${messageOf(cause)}; ${adapterHelp()}`, { cause });
  });
  if (isNode()) destroyAtExit(device);
  languages.set(device, gpu.wgslLanguageFeatures as ReadonlySet<string> | undefined);
  return { device, info: infoOf(adapter), subgroups: await hasOrderedSubgroups(device) };
}

/** Browsers of the first years of WebGPU do not tell. */
const infoOf = (adapter: GPUAdapter): Partial<GPUAdapterInfo> => (adapter.info as GPUAdapterInfo | undefined) ?? {};

/** Devices that are open in this Node process; undefined until the first. */
let openDevices: Set<GPUDevice> | undefined;

/** Dawn 0.6.2 may crash in the driver when a process ends amid work that nobody waits for, as after an uncaught exception. */
function destroyAtExit(device: GPUDevice): void {
  if (openDevices === undefined) {
    const devices = (openDevices = new Set());
    process.once("exit", () => {
      for (const open of devices) open.destroy();
    });
  }
  const devices = openDevices;
  devices.add(device);
  void device.lost?.then(() => devices.delete(device));
}

/** What WGSL can do where a device comes from. */
const languages = new WeakMap<GPUDevice, ReadonlySet<string> | undefined>();

/** Whether shaders of a device that `openDevice` gave can use a WGSL language feature (`wgslLanguageFeatures`); false where it is not told. */
export function hasLanguageFeature(device: GPUDevice, name: string): boolean {
  return languages.get(device)?.has(name) ?? false;
}

/**
 * Never let go: in Node (Dawn 0.6.2), work that is under way when the garbage collector takes the GPU object crashes the process, and a
 * program that only keeps the device has nothing else that holds it.
 */
const usedGpus = new Set<GPU>();

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/** Whether this is Node, with files. */
export const isNode = (): boolean => typeof globalThis.process?.versions?.node === "string";

/** Kept here and not on `globalThis`: other programs must not find a GPU there that stops with this module. */
let nodeGpu: GPU | undefined;

async function defaultGpu(): Promise<GPU> {
  const browserGpu = globalThis.navigator?.gpu as GPU | undefined;
  if (browserGpu !== undefined) return browserGpu;
  if (!isNode()) {
    throw new DeviceError(
      "this browser has no WebGPU (navigator.gpu): use Chrome or Edge 113+, Safari 26+ or Firefox 141+ on a page over https or from " +
        "localhost; on Linux Chrome needs --enable-unsafe-webgpu or --enable-features=Vulkan",
    );
  }
  // A name that bundlers cannot follow: the package is native and for Node alone.
  const name = "webgpu";
  nodeGpu ??= await createNodeGpu(() => import(/* @vite-ignore */ name));
  return nodeGpu;
}

/** WebGPU from the package for Node. @throws DeviceError that says how to install it */
export async function createNodeGpu(importPackage: () => Promise<unknown>): Promise<GPU> {
  let module: { create(options: readonly string[]): GPU };
  try {
    module = (await importPackage()) as typeof module;
  } catch (cause) {
    const isMissing = (cause as { code?: unknown } | null)?.code === "ERR_MODULE_NOT_FOUND";
    throw new DeviceError(
      isMissing
        ? 'WebGPU in Node needs the package "webgpu" 0.6.2 or later beside this one: npm install webgpu'
        : `the package "webgpu" does not load here: ${messageOf(cause)}; install 0.6.2 or later for this platform: npm install webgpu`,
      { cause },
    );
  }
  if (typeof module.create !== "function") {
    throw new DeviceError('the package "webgpu" has no create(): this one needs Dawn\'s, 0.6.2 or later: npm install webgpu');
  }
  // Browsers round timestamps so that pages cannot spy on each other; a program of its own wants them as they are.
  return module.create(["disable-dawn-features=timestamp_quantization"]);
}

function adapterHelp(): string {
  if (!isNode()) return "switch on hardware acceleration in the browser's settings, or start Chrome with --enable-unsafe-webgpu";
  if (process.platform === "linux") {
    return (
      "install a Vulkan driver of the card (NVIDIA: the driver with libvulkan1; AMD and Intel: mesa-vulkan-drivers), or Mesa 25+ for " +
      "the software adapter lavapipe (Debian 12: mesa-vulkan-drivers from bookworm-backports); VK_ICD_FILENAMES chooses one of several"
    );
  }
  return "install the graphics driver of the card's vendor (Direct3D 12 on Windows, Metal on macOS)";
}
