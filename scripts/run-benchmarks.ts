/**
 * `npm run bench -- <package> [--json]` and `npm run verify -- <package> [--json]`: builds the packages, installs the peers in
 * `benchmarks/` when its lockfile has changed, and runs `benchmarks/run.ts` or `benchmarks/verify.ts`. Only that program
 * writes to stdout.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { installProject } from "./install-project.ts";
import { runTurbo } from "./turbo.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = `${root}benchmarks/`;
const programs: Readonly<Record<string, string>> = { bench: "run.ts", verify: "verify.ts" };

function main(): number {
  const [task = "", ...args] = process.argv.slice(2);
  const program = programs[task];
  const packages = readdirSync(`${root}packages`).filter((name) => existsSync(`${root}packages/${name}/package.json`));
  const named = args.filter((argument) => !argument.startsWith("-"));
  if (program === undefined || named.length !== 1 || !packages.includes(named[0]!)) {
    console.error(`usage: npm run ${program === undefined ? "bench|verify" : task} -- <${packages.join(" | ")}> [--json]`);
    return 2;
  }
  if (!existsSync(folder + program)) throw new Error(`benchmarks/${program} does not exist`);
  const built = runTurbo(["run", "build", "--quiet"]);
  if (built !== 0) return built;
  installProject(folder, "installing the peers in benchmarks/ (once for each lockfile)");
  return spawnSync(process.execPath, [folder + program, ...args], { cwd: root, stdio: "inherit" }).status ?? 1;
}

process.exitCode = main();
