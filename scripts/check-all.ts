/**
 * `npm run check`: lockfile, imports, changesets, unused code, package metadata, published types and bundle size. Runs all of them even
 * when
 * one fails, prints what each found, and with `--json <file>` writes the counts.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { delimiter } from "node:path";
import { checkImports } from "./check-imports.ts";
import { checkLockfiles } from "./check-lockfile.ts";
import { listPublishable, repositoryRoot } from "./workspaces.ts";

interface Check {
  readonly name: string;
  /** Runs the check and returns whether it passed; it prints its own findings. */
  run(): boolean;
}

function listed(findProblems: () => readonly string[]): () => boolean {
  return () => {
    const problems = findProblems();
    for (const problem of problems) console.log(`  ${problem}`);
    return problems.length === 0;
  };
}

/** A tool from node_modules/.bin. The command is a constant or made of folder names, so the shell (needed on Windows) is harmless. */
function tool(command: string): () => boolean {
  return () => {
    const path = `${repositoryRoot}/node_modules/.bin${delimiter}${process.env["PATH"] ?? ""}`;
    const { status } = spawnSync(command, { cwd: repositoryRoot, shell: true, stdio: "inherit", env: { ...process.env, PATH: path } });
    return status === 0;
  };
}

/** Internal ranges must be met by the workspace's own version, or npm would fetch another from the registry. */
function checkInternalRanges(): string[] {
  const packages = listPublishable();
  const versions = new Map(packages.map(({ manifest }) => [manifest.name, manifest.version]));
  return packages.flatMap(({ manifest }) =>
    Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies })
      .filter(([name, range]) => versions.has(name) && range !== `^${versions.get(name)}`)
      .map(([name, range]) => `${manifest.name} wants ${name} ${range}, the workspace has ${versions.get(name)}`),
  );
}

/** Every publishable package is licensed, described and carries its documents. */
function checkPackageFiles(): string[] {
  return listPublishable().flatMap(({ folder, manifest }) => {
    const required = ["README.md", "LICENSE"];
    const missing = required.filter((file) => {
      try {
        return readFileSync(`${folder}/${file}`, "utf8").length === 0;
      } catch {
        return true;
      }
    });
    return missing.map((file) => `${manifest.name} has no ${file}`);
  });
}

const checks: readonly Check[] = [
  { name: "lockfiles complete and without hosts", run: listed(checkLockfiles) },
  { name: "imports: no cycles, downwards only, declared", run: listed(checkImports) },
  { name: "internal version ranges", run: listed(checkInternalRanges) },
  { name: "package documents", run: listed(checkPackageFiles) },
  { name: "unused files, exports and dependencies (knip)", run: tool("knip --no-config-hints") },
  ...listPublishable().flatMap(({ folder, manifest }) => {
    const place = folder.slice(repositoryRoot.length + 1);
    return [
      { name: `publint ${manifest.name}`, run: tool(`publint run ${place} --strict`) },
      { name: `attw ${manifest.name}`, run: tool(`attw --pack ${place} --profile esm-only --format ascii`) },
    ];
  }),
  { name: "bundle sizes (size-limit)", run: tool("size-limit") },
];

let passed = 0;
for (const check of checks) {
  console.log(`\n== ${check.name}`);
  const ok = check.run();
  console.log(ok ? "   ok" : "   FAILED");
  if (ok) passed++;
}
const failed = checks.length - passed;
console.log(`\nchecks: ${passed} passed, ${failed} failed`);
const json = process.argv.indexOf("--json");
if (json >= 0) writeFileSync(process.argv[json + 1]!, JSON.stringify({ passed, failed, skipped: 0 }));
process.exitCode = failed === 0 ? 0 : 1;
