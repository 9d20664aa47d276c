/** One tsup configuration for all packages: the entries are read from the `exports` map of the package's package.json. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Options } from "tsup";

type ExportTarget = string | { readonly [condition: string]: ExportTarget };
interface Manifest {
  readonly name: string;
  readonly exports?: { readonly [subpath: string]: ExportTarget };
  readonly bin?: string | { readonly [command: string]: string };
}

function builtFiles(target: ExportTarget): string[] {
  if (typeof target === "string") return target.endsWith(".js") ? [target] : [];
  return Object.values(target).flatMap(builtFiles);
}

/** `dist/native.js` is built from `src/native.ts`, or from `src/native/index.ts` where the subpath is a folder. */
function sourceOf(builtFile: string, folder: string, packageName: string): [entry: string, source: string] {
  const entry = builtFile.replace(/^\.\//, "").replace(/^dist\//, "").replace(/\.js$/, "");
  const candidates = [`src/${entry}.ts`, `src/${entry}/index.ts`];
  const source = candidates.find((candidate) => existsSync(join(folder, candidate)));
  if (source === undefined) throw new Error(`${packageName}: ${builtFile} is declared but neither ${candidates.join(" nor ")} exists`);
  return [entry, source];
}

/**
 * The build of the package in the current folder: ESM for Node 22 and browsers alike, bundled declarations, one chunk graph
 * so that all subpaths share module state. `extra` overrides any option.
 */
export function packageBuild(extra: Options = {}): Options {
  const folder = process.cwd();
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  const commands = typeof manifest.bin === "string" ? [manifest.bin] : Object.values(manifest.bin ?? {});
  const built = new Set([...Object.values(manifest.exports ?? {}).flatMap(builtFiles), ...commands]);
  const isCommand = (file: string): boolean => commands.includes(file);
  const entries = [...built].map((file) => [...sourceOf(file, folder, manifest.name), isCommand(file)] as const);
  return {
    entry: Object.fromEntries(entries.map(([entry, source]) => [entry, source])),
    // Commands are run, not imported: they need no declarations.
    dts: { entry: Object.fromEntries(entries.filter(([, , command]) => !command).map(([entry, source]) => [entry, source])) },
    format: ["esm"],
    platform: "neutral",
    target: "es2023",
    splitting: true,
    sourcemap: true,
    clean: true,
    treeshake: false,
    // The neutral platform knows no built-in modules; keep the prefix, which tells bundlers and other runtimes what they are.
    removeNodeProtocol: false,
    external: [/^node:/],
    ...extra,
  };
}
