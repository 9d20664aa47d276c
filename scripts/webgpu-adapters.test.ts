import { delimiter } from "node:path";
import { describe, expect, it } from "vitest";
import { findLavapipe, swiftShaderIn, type Machine } from "./webgpu-adapters.ts";

const driver = (version: string): string => JSON.stringify({ ICD: { api_version: version, library_path: "libvulkan_lvp.so" } });

/** A Linux machine that holds these files. */
function machineWith(files: Readonly<Record<string, string>>, overrides: Partial<Machine> = {}): Machine {
  return {
    platform: "linux",
    architecture: "x64",
    libraryPath: "",
    list: (folder) =>
      Object.keys(files).filter((path) => path.slice(0, path.lastIndexOf("/")) === folder).map((path) => path.slice(folder.length + 1)),
    read: (path) => files[path]!,
    ...overrides,
  };
}

const loader = { "/usr/lib/x86_64-linux-gnu/libvulkan.so.1": "" };

describe("findLavapipe", () => {
  it("makes the driver the only one, under the names of loaders old and new", () => {
    const file = "/usr/share/vulkan/icd.d/lvp_icd.json";
    expect(findLavapipe(machineWith({ [file]: driver("1.4.305"), ...loader }))).toEqual({ VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file });
  });

  it("takes the file of the machine's own architecture", () => {
    const files = {
      "/etc/vulkan/icd.d/lvp_icd.i686.json": driver("1.4.305"),
      "/etc/vulkan/icd.d/lvp_icd.aarch64.json": driver("1.4.305"),
      "/usr/lib/aarch64-linux-gnu/libvulkan.so.1": "",
    };
    expect(findLavapipe(machineWith(files, { architecture: "arm64" }))["VK_ICD_FILENAMES"]).toBe("/etc/vulkan/icd.d/lvp_icd.aarch64.json");
    expect(() => findLavapipe(machineWith(files))).toThrow("found no lvp_icd.json or lvp_icd.x86_64.json");
  });

  it("says what to install when there is no driver, no loader, or one of an older Mesa", () => {
    const file = "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json";
    expect(() => findLavapipe(machineWith(loader))).toThrow(/found no lvp_icd.*-t bookworm-backports mesa-vulkan-drivers libvulkan1/);
    expect(() => findLavapipe(machineWith({ [file]: driver("1.4.305") }))).toThrow(/no libvulkan\.so\.1: install Mesa 25/);
    expect(() => findLavapipe(machineWith({ [file]: driver("1.3.230"), ...loader }))).toThrow(/says 1\.3\.230: install Mesa 25/);
    expect(() => findLavapipe(machineWith({ [file]: "{}", ...loader }))).toThrow(/says unknown: install Mesa 25/);
    expect(() => findLavapipe(machineWith({}, { platform: "darwin" }))).toThrow("runs on Linux, not on darwin");
  });
});

describe("swiftShaderIn", () => {
  const folder = "/usr/lib/chromium";
  const file = `${folder}/vk_swiftshader_icd.json`;
  const shipped = { [file]: "", [`${folder}/libvk_swiftshader.so`]: "" };

  it("prefers the loader beside the driver and keeps the library path", () => {
    const machine = machineWith({ ...shipped, [`${folder}/libvulkan.so.1`]: "", ...loader }, { libraryPath: "/opt/lib" });
    const libraryPath = [folder, "/opt/lib"].join(delimiter);
    expect(swiftShaderIn(folder, machine)).toEqual({ VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file, LD_LIBRARY_PATH: libraryPath });
  });

  it("takes the system's loader when none is shipped", () => {
    expect(swiftShaderIn(folder, machineWith({ ...shipped, ...loader }))).toEqual({ VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file });
    const own = machineWith({ ...shipped, "/opt/lib/libvulkan.so.1": "" }, { libraryPath: "/opt/lib" });
    expect(swiftShaderIn(folder, own)).toEqual({ VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file });
  });

  it("finds nothing where driver or loader is missing", () => {
    expect(swiftShaderIn(folder, machineWith(shipped))).toBeUndefined();
    expect(swiftShaderIn(folder, machineWith({ [file]: "", ...loader }))).toBeUndefined();
    expect(swiftShaderIn(folder, machineWith(loader))).toBeUndefined();
  });
});
