import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL(".", import.meta.url));

/** Bundles the pages of contenders into a temporary folder, which it returns. */
export async function bundlePages(names: readonly string[]): Promise<string> {
  const output = mkdtempSync(join(tmpdir(), "frugal-bench-pages-"));
  await build({
    absWorkingDir: folder,
    entryPoints: Object.fromEntries(names.map((name) => [name, `pages/${name}.ts`])),
    outdir: output,
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2023",
    define: { "process.env.NODE_ENV": '"production"' },
    external: ["node:*"],
    logLevel: "error",
  });
  return output;
}
