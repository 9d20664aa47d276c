/**
 * Runs turbo with its telemetry off and without an update check. `--quiet` prints only what fails. Turbo's own output goes
 * to stderr, so that scripts which print JSON keep stdout to themselves.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Runs turbo in the repository root and returns its exit status. */
export function runTurbo(args: readonly string[]): number {
  const root = fileURLToPath(new URL("..", import.meta.url));
  const quiet = args.includes("--quiet");
  const turboArguments = args.filter((argument) => argument !== "--quiet");
  if (quiet) turboArguments.push("--output-logs=errors-only");
  const { status, error, stdout } = spawnSync(process.execPath, [`${root}node_modules/turbo/bin/turbo`, ...turboArguments], {
    cwd: root,
    stdio: ["ignore", quiet ? "pipe" : 2, 2],
    maxBuffer: 1 << 28,
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1" },
  });
  if (error) throw error;
  if (status !== 0 && stdout) process.stderr.write(stdout);
  return status ?? 1;
}

// `import.meta.main` needs Node 24.2.
if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = runTurbo(process.argv.slice(2));
