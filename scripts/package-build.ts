/** One tsup configuration for all packages: the entries are read from the `exports` and `bin` of the package's package.json. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Options } from "tsup";

type ExportTarget = string | { readonly [condition: string]: ExportTarget };
interface Manifest {
  readonly name: string;
  readonly exports?: { readonly [subpath: string]: ExportTarget };
  readonly bin?: string | { readonly [command: string]: string };
}

/** A module that the package publishes: its name under `dist`, its source, and whether it is a command rather than a library. */
export interface PackageEntry {
  readonly name: string;
  readonly source: string;
  readonly command: boolean;
}

function builtFiles(target: ExportTarget): string[] {
  if (typeof target === "string") return target.endsWith(".js") ? [target] : [];
  return Object.values(target).flatMap(builtFiles);
}

/**
 * The entries of the package in `folder`: `dist/native.js` is built from `src/native.ts`, `src/native/index.ts` or
 * `src/backend/native/index.ts`. A declared entry without a source is reported and left out, so that the rest can be worked
 * on; `npm run check` (publint) and `npm run pack-test` fail for it.
 */
export function packageEntries(folder: string): PackageEntry[] {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  const normal = (file: string): string => file.replace(/^\.\//, "");
  const commands = (typeof manifest.bin === "string" ? [manifest.bin] : Object.values(manifest.bin ?? {})).map(normal);
  const built = new Set([...Object.values(manifest.exports ?? {}).flatMap(builtFiles).map(normal), ...commands]);
  return [...built].flatMap((file) => {
    const name = file.replace(/^dist\//, "").replace(/\.js$/, "");
    const candidates = [`src/${name}.ts`, `src/${name}/index.ts`, `src/backend/${name}/index.ts`];
    const source = candidates.find((candidate) => existsSync(join(folder, candidate)));
    if (source === undefined) {
      console.error(`${manifest.name} declares ${file} but has neither ${candidates.join(" nor ")}`);
      return [];
    }
    return [{ name, source, command: commands.includes(file) }];
  });
}

/**
 * The build of the package in the current folder: ESM for Node 22 and browsers alike, bundled declarations, one chunk graph
 * so that all subpaths share module state. `extra` overrides any option.
 */
export function packageBuild(extra: Options = {}): Options {
  const entries = packageEntries(process.cwd());
  const libraries = entries.filter(({ command }) => !command);
  return {
    entry: Object.fromEntries(entries.map(({ name, source }) => [name, source])),
    dts: { entry: Object.fromEntries(libraries.map(({ name, source }) => [name, source])) },
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
