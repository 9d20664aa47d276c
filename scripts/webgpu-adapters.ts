/**
 * What the lanes of the WebGPU tests run on: Dawn for Node, installed into `scripts/webgpu` when first asked for, and the Vulkan
 * driver of each lane. A lane is a name and an environment; the loader reads `LD_LIBRARY_PATH` when a process starts, so a
 * lane's tests need a process of their own.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { npmHasChromium, unpackChromiumFromNpm } from "./chromium.ts";
import { installProject } from "./install-project.ts";

/**
 * `lavapipe`: Mesa's driver, with f16 and subgroups. `swiftshader`: Chromium's, without f16. `null`: Dawn's backend that validates
 * and computes nothing. `system`: whatever adapter the machine offers, for real hardware.
 */
export const laneNames = ["lavapipe", "swiftshader", "null", "system"] as const;
/** One of {@link laneNames}. */
export type LaneName = (typeof laneNames)[number];

/** Dawn's `index.js`, and what must be in the environment of a process before it starts. */
export interface WebGpuLane {
  readonly modulePath: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** What finding a driver reads of a machine; tests pass one of their own. */
export interface Machine {
  readonly platform: string;
  /** As Node names it: x64, arm64. */
  readonly architecture: string;
  readonly libraryPath: string;
  /** The names in a folder, none when it does not exist. */
  list(folder: string): readonly string[];
  read(path: string): string;
}

/** The machine this runs on. */
const thisMachine: Machine = {
  platform: process.platform,
  architecture: process.arch,
  libraryPath: process.env["LD_LIBRARY_PATH"] ?? "",
  list: (folder) => (existsSync(folder) ? readdirSync(folder) : []),
  read: (path) => readFileSync(path, "utf8"),
};

const vulkanLoader = "libvulkan.so.1";
const driverFolders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
const chromiumFolders = ["/usr/lib/chromium", "/usr/lib64/chromium-browser", "/usr/lib/chromium-browser", "/opt/google/chrome"];

/** Architectures as the names of drivers and library folders spell them. */
const architectures: Readonly<Record<string, string>> = { x64: "x86_64", arm64: "aarch64" };

function hasSystemLoader(machine: Machine): boolean {
  const architecture = architectures[machine.architecture] ?? machine.architecture;
  const standard = [`/usr/lib/${architecture}-linux-gnu`, "/usr/lib64", "/usr/lib", "/usr/local/lib"];
  const extra = machine.libraryPath.split(delimiter).filter(Boolean);
  return [...standard, ...extra].some((folder) => machine.list(folder).includes(vulkanLoader));
}

/** Makes one driver the only one: newer loaders read the first variable in preference, older ones know the second alone. */
function onlyDriver(file: string): Record<string, string> {
  return { VK_DRIVER_FILES: file, VK_ICD_FILENAMES: file };
}

const installMesa =
  "install Mesa 25 or newer and the Vulkan loader: apt-get install mesa-vulkan-drivers libvulkan1 " +
  "(on Debian 12 from its backports: apt-get install -t bookworm-backports mesa-vulkan-drivers libvulkan1)";

/**
 * The environment that gives Mesa's lavapipe. Throws an error that says what to install when the driver or the Vulkan loader is
 * missing, or the driver is too old: Dawn finds no adapter on Mesa 22; 25 is the first release known to work, and the first
 * whose lavapipe says Vulkan 1.4.
 */
export function findLavapipe(machine: Machine = thisMachine): Record<string, string> {
  if (machine.platform !== "linux") throw new Error(`the lavapipe lane runs on Linux, not on ${machine.platform}`);
  const names = ["lvp_icd.json", `lvp_icd.${architectures[machine.architecture] ?? machine.architecture}.json`];
  const file = driverFolders
    .flatMap((folder) => machine.list(folder).filter((name) => names.includes(name)).map((name) => `${folder}/${name}`))
    .at(0);
  if (!file) throw new Error(`the lavapipe lane found no ${names.join(" or ")} in ${driverFolders.join(", ")}: ${installMesa}`);
  const { ICD: driver } = JSON.parse(machine.read(file)) as { ICD?: { api_version?: string } };
  const version = driver?.api_version ?? "unknown";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (!(major > 1 || (major === 1 && minor >= 4))) {
    throw new Error(`the lavapipe lane needs a driver of Vulkan 1.4, and ${file} says ${version}: ${installMesa}`);
  }
  if (!hasSystemLoader(machine)) throw new Error(`the lavapipe lane found ${file} but no ${vulkanLoader}: ${installMesa}`);
  return onlyDriver(file);
}

/** The environment that gives the SwiftShader in a folder, or nothing when it or a Vulkan loader for it is missing. */
export function swiftShaderIn(folder: string, machine: Machine = thisMachine): Record<string, string> | undefined {
  const names = machine.list(folder);
  if (!names.includes("vk_swiftshader_icd.json") || !names.includes("libvk_swiftshader.so")) return undefined;
  const driver = onlyDriver(`${folder}/vk_swiftshader_icd.json`);
  // The loader that was shipped with the driver, where there is one: the system may have none.
  if (names.includes(vulkanLoader)) {
    return { ...driver, LD_LIBRARY_PATH: [folder, machine.libraryPath].filter(Boolean).join(delimiter) };
  }
  return hasSystemLoader(machine) ? driver : undefined;
}

async function findSwiftShader(): Promise<Record<string, string>> {
  if (process.platform !== "linux") throw new Error(`the swiftshader lane runs on Linux, not on ${process.platform}`);
  for (const folder of chromiumFolders) {
    const environment = swiftShaderIn(folder);
    if (environment) return environment;
  }
  if (npmHasChromium) {
    const environment = swiftShaderIn(await unpackChromiumFromNpm());
    if (environment) return environment;
  }
  const searched = chromiumFolders.join(", ");
  throw new Error(`the swiftshader lane found no driver in ${searched}: install Chromium (apt-get install chromium libvulkan1)`);
}

/** Installs Dawn for Node when needed and finds the lane's driver. Throws an error that says what to install. */
export async function prepareLane(name: LaneName): Promise<WebGpuLane> {
  const environment = name === "lavapipe" ? findLavapipe() : name === "swiftshader" ? await findSwiftShader() : {};
  const project = fileURLToPath(new URL("webgpu/", import.meta.url));
  installProject(project, "installing webgpu into scripts/webgpu (132 MB, once)");
  return { modulePath: join(project, "node_modules/webgpu/index.js"), environment };
}
