/**
 * The lockfile must work on every platform and behind any mirror: each optional dependency of each locked package has an entry
 * (npm drops the other platforms' when a registry lacks their newest release, and `npm ci` then refuses the file), and no
 * registry host is named.
 */
import { existsSync, readFileSync } from "node:fs";
import { repositoryRoot } from "./workspaces.ts";

/** One entry of `packages` in a package-lock.json. */
export interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

function isLocked(packages: Readonly<Record<string, LockEntry>>, from: string, name: string): boolean {
  // Node's resolution: the dependency may sit beside the dependent or in any node_modules above it.
  for (let folder = from; ; folder = folder.slice(0, Math.max(folder.lastIndexOf("/node_modules/"), 0))) {
    const entry = packages[folder === "" ? `node_modules/${name}` : `${folder}/node_modules/${name}`];
    if (entry) return entry.version !== undefined;
    if (folder === "") return false;
  }
}

/** What is wrong with a parsed lockfile, one line a finding. */
export function findLockfileProblems(packages: Readonly<Record<string, LockEntry>>): string[] {
  return Object.entries(packages).flatMap(([path, entry]) => [
    ...Object.keys(entry.optionalDependencies ?? {})
      .filter((name) => !isLocked(packages, path, name))
      .map((name) => `${path || "the root"}${entry.version ? `@${entry.version}` : ""}: optional dependency ${name} has no entry`),
    ...(/^(git\+)?(https?|ssh):/.test(entry.resolved ?? "") ? [`${path}: names a host, ${entry.resolved}`] : []),
  ]);
}

/** Checks the lockfiles of the repository. */
export function checkLockfiles(): string[] {
  const folders = ["", "benchmarks/", "scripts/browser/", "scripts/webgpu/", "packages/tensor-core/assembly/"];
  const files = folders.map((folder) => `${folder}package-lock.json`);
  return files.filter((file) => existsSync(`${repositoryRoot}/${file}`)).flatMap((file) => {
    const { packages } = JSON.parse(readFileSync(`${repositoryRoot}/${file}`, "utf8")) as { packages: Record<string, LockEntry> };
    return findLockfileProblems(packages).map((problem) => `${file}: ${problem}`);
  });
}
