import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/**
 * Bytes of what an application that uses these names would ship: bundled for browsers with all dependencies, unused parts left out,
 * minified,
 * gzipped. Without names, everything in the main entry.
 */
export async function gzippedBundleSize(packageName: string, names?: readonly string[]): Promise<number> {
  const entry = fileURLToPath(import.meta.resolve(packageName));
  const used = names === undefined ? "* as used" : `{ ${names.join(", ")} }`;
  const { outputFiles } = await build({
    stdin: {
      contents: `import ${used} from ${JSON.stringify(entry)}; console.log(${names?.join(", ") ?? "used"});`,
      resolveDir: dirname(entry),
    },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2023",
    write: false,
    legalComments: "none",
  });
  return gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
}
