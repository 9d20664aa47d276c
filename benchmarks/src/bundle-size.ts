import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** Bytes of a package's main entry as an application would ship it: bundled with its dependencies, minified, gzipped. */
export async function gzippedBundleSize(packageName: string, external: readonly string[]): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(import.meta.resolve(packageName))],
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2023",
    write: false,
    external: ["node:*", ...external],
    legalComments: "none",
  });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}
