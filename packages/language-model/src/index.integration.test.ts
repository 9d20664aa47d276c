import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";

/** The modules that a built file imports statically, its own chunks included. */
async function staticImports(path: string, seen: Map<string, string[]> = new Map()): Promise<Map<string, string[]>> {
  if (seen.has(path)) return seen;
  const text = await readFile(path, "utf8");
  const specifiers = [...text.matchAll(/^(?:import|export)\b[^;]*?["']([^"']+)["'];?$/gm)].map((match) => match[1]!);
  seen.set(path, specifiers);
  for (const specifier of specifiers) if (specifier.startsWith(".")) await staticImports(join(dirname(path), specifier), seen);
  return seen;
}

it("is built without static imports of Node's modules, so that browsers can load it", async () => {
  const dist = join(import.meta.dirname, "..", "dist");
  const imports = [...(await staticImports(join(dist, "index.js"))).values()].flat();
  expect(imports).toContain("@frugal/tensor-core");
  expect(imports.filter((specifier) => specifier.startsWith("node:") || ["commander", "cli-progress"].includes(specifier))).toEqual([]);
  // The command does need them: the pattern finds such imports where they are.
  const command = [...(await staticImports(join(dist, "cli.js"))).values()].flat();
  expect(command).toEqual(expect.arrayContaining(["node:fs", "commander", "cli-progress"]));
});
