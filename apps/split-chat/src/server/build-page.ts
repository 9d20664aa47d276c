import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import type { ServedFile } from "./served-file.ts";

const pageFolder = new URL("../page/", import.meta.url);

const TYPES: { readonly [extension: string]: string } = {
  ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
  ".map": "application/json", ".svg": "image/svg+xml",
};

/** Bytes in memory as something to serve. */
export function memoryFile(content: Uint8Array, contentType: string): ServedFile {
  return { content, contentType, byteLength: content.byteLength, tag: createHash("sha256").update(content).digest("base64url") };
}

/** Bundles the page: what to answer under each path. The tokenizer's vocabulary becomes a file of its own. */
export async function buildPage(): Promise<Map<string, ServedFile>> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("main.ts", pageFolder))],
    bundle: true, splitting: true, format: "esm", target: "es2022", platform: "browser", minify: true, write: false,
    outdir: fileURLToPath(pageFolder), entryNames: "[name]", chunkNames: "[name]-[hash]", sourcemap: "linked", logLevel: "warning",
  });
  const files = new Map<string, ServedFile>();
  for (const { path, contents } of outputFiles) {
    const name = path.replaceAll("\\", "/").split("/").at(-1)!;
    files.set(`/${name}`, memoryFile(contents, TYPES[extname(name)]!));
  }
  for (const name of ["index.html", "style.css", "icon.svg"]) {
    files.set(name === "index.html" ? "/" : `/${name}`, memoryFile(await readFile(new URL(name, pageFolder)), TYPES[extname(name)]!));
  }
  return files;
}
