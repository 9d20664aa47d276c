/**
 * Loads the AssemblyScript compiler from `assembly/`, an npm project of its own (its optimizer weighs 100 MB, which only
 * kernel authors and CI need), and installs it there the first time.
 */
import { execSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The part of `assemblyscript/asc` that the kernel build uses. */
export interface AssemblyScript {
  main(
    arguments_: string[],
    io: {
      readFile(name: string, baseDirectory: string): Promise<string | null>;
      writeFile(name: string, contents: Uint8Array | string, baseDirectory: string): void;
      listFiles(folder: string, baseDirectory: string): string[];
    },
  ): Promise<{ error: Error | null; stderr: { toString(): string } }>;
}

const assemblyFolder = fileURLToPath(new URL("../assembly/", import.meta.url));

function resolveCompiler(): string | undefined {
  try {
    return createRequire(`${assemblyFolder}package.json`).resolve("assemblyscript/package.json");
  } catch {
    return undefined;
  }
}

/** The compiler, installed into `assembly/node_modules` when it is not there yet. Throws when that install fails. */
export async function loadAssemblyScript(): Promise<AssemblyScript> {
  let entry = resolveCompiler();
  if (entry === undefined) {
    console.log("installing AssemblyScript into packages/tensor-core/assembly");
    execSync("npm ci --no-audit --no-fund", { cwd: assemblyFolder, stdio: "inherit" });
    entry = resolveCompiler();
  }
  if (entry === undefined) throw new Error(`assemblyscript is missing from ${assemblyFolder}node_modules after npm ci`);
  const compiler = (await import(new URL("dist/asc.js", pathToFileURL(entry)).href)) as { default: AssemblyScript };
  return compiler.default;
}
