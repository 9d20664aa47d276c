import { pathToFileURL } from "node:url";
import { webgpu, type WebGpuDevice } from "@frugal/tensor-core/webgpu";
import { afterAll } from "vitest";

/** Part of what the adapter of each lane says of itself, so that a run on another adapter cannot pass. */
const adapters: Readonly<Record<string, RegExp>> = { lavapipe: /llvmpipe/, swiftshader: /swiftshader/i, system: /./ };

/** Without the extension, for whose zeros SwiftShader compiles a store for each word, Dawn writes a loop. */
const options: readonly string[] = ["backend=vulkan", "disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension"];

/** Opens the device "webgpu" on the adapter of the lane that `npm run test:webgpu` started this process for; closes it after the tests. */
export async function openLaneDevice(): Promise<WebGpuDevice> {
  const { FRUGAL_WEBGPU_LANE: lane, FRUGAL_WEBGPU_MODULE: path } = process.env;
  const expected = adapters[lane ?? ""];
  if (expected === undefined || path === undefined) throw new Error("start WebGPU tests by `npm run test:webgpu`");
  const { create } = (await import(/* @vite-ignore */ pathToFileURL(path).href)) as {
    create(options: readonly string[]): { requestAdapter(options?: object): Promise<unknown> };
  };
  const device = await webgpu({ gpu: create(lane === "system" ? [] : options) });
  const description = Object.values(device.adapter).join(" ");
  if (!expected.test(description)) throw new Error(`lane ${lane} got another adapter: ${description}`);
  afterAll(() => device.destroy());
  return device;
}
