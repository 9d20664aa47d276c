/**
 * `npm run bench -- <package> [--gpu | --browser] [--json]` and `npm run verify -- <package> [--json]`: builds the packages,
 * installs the peers in `benchmarks/` when its lockfile has changed, and runs `benchmarks/run.ts` or `benchmarks/verify.ts`;
 * `--gpu` and `--browser` choose the programs for a graphics card and for WebGPU in Chromium. Only that program writes to stdout.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { installProject } from "./install-project.ts";
import { runTurbo } from "./turbo.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = `${root}benchmarks/`;
const programs: Readonly<Record<string, string>> = { bench: "run.ts", verify: "verify.ts" };
/** Flags of `bench` that choose another program. */
const variants: Readonly<Record<string, string>> = { "--gpu": "gpu/run.ts", "--browser": "browser/run.ts", "--gpu-pack": "gpu/pack.ts" };

function main(): number {
  const [task = "", ...given] = process.argv.slice(2);
  const variant = task === "bench" ? given.find((argument) => variants[argument] !== undefined) : undefined;
  const args = given.filter((argument) => argument !== variant);
  const program = variant === undefined ? programs[task] : variants[variant];
  const packages = readdirSync(`${root}packages`).filter((name) => existsSync(`${root}packages/${name}/package.json`));
  const named = args.filter((argument) => !argument.startsWith("-"));
  if (program === undefined || named.length !== 1 || !packages.includes(named[0]!)) {
    console.error(`usage: npm run ${program === undefined ? "bench|verify" : task} -- <${packages.join(" | ")}> [--json]`);
    return 2;
  }
  if (!existsSync(folder + program)) throw new Error(`benchmarks/${program} does not exist`);
  const built = runTurbo(["run", "build", "--quiet"]);
  if (built !== 0) return built;
  // On a card only we and PyTorch are measured: none of the peers is needed there.
  if (variant === undefined || variant === "--browser")
    installProject(folder, "installing the peers in benchmarks/ (once for each lockfile)");
  return spawnSync(process.execPath, [folder + program, ...args], { cwd: root, stdio: "inherit" }).status ?? 1;
}

process.exitCode = main();
