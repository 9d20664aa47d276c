import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";

/** Modules that a module takes in when it is loaded, its own files followed. */
function imports(path: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(path)) return seen;
  seen.add(path);
  const source = readFileSync(path, "utf8");
  for (const [, clause, name] of source.matchAll(/^(?:import|export)\s+([^;]*?from\s+)?"([^"]+)";/gms)) {
    if (/^type\s/.test(clause ?? "")) continue;
    if (name!.startsWith(".")) imports(join(dirname(path), name!), seen);
    else seen.add(name!);
  }
  return seen;
}

describe("the main entry", () => {
  it("loads in a browser: nothing of Node, no socket library, no server", () => {
    const packages = [...imports(join(import.meta.dirname, "index.ts"))].filter((name) => !name.startsWith("/"));
    expect(packages.sort()).toEqual([
      "@frugal/language-model", "@frugal/tensor-core", "@frugal/tensor-core/linalg", "@frugal/tensor-core/node", "zod",
    ]);
  });
});
