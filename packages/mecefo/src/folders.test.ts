import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const source = import.meta.dirname;

/** The folders, lowest first: each may import from those before it, and from errors.ts and files.ts. */
const order = [
  "transport", "approximation", "grid", "job", "membership", "leader", "report", "collectives", "pipeline", "worker", "checkpoint", "simulator",
  "virtual-grid", "dashboard", "runtime", "chaos", "cli",
];

/** Folders that a folder's files import from, types included; its tests and their helpers may look anywhere. */
function importedBy(folder: string): string[] {
  const files = readdirSync(join(source, folder), { recursive: true, encoding: "utf8" });
  const found = files.filter((file) => /^(?!.*\.(test|testing)\.ts$).*\.ts$/.test(file)).flatMap((file) => {
    const text = readFileSync(join(source, folder, file), "utf8");
    return [...text.matchAll(/(?:from|import) ?\(?"(?:\.\.\/)+([a-z-]+)\//g)].map(([, name]) => name!);
  });
  // From a folder's own folders, "../" leads to the folder itself.
  return [...new Set(found)].filter((name) => order.includes(name) && name !== folder);
}

describe("folders", () => {
  it("are all in their order", () => {
    const folders = readdirSync(source, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name);
    expect(folders.toSorted()).toEqual(order.toSorted());
  });

  it.each(order)("%s imports from lower folders only", (folder) => {
    const imported = importedBy(folder);
    expect(imported.filter((name) => order.indexOf(name) > order.indexOf(folder))).toEqual([]);
    if (folder === "cli") expect(imported).toContain("runtime");
  });
});
