/** Installs a project of the repository that is no workspace (it is large, and few runs need it) from its own lockfile. */
import { execSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Runs `npm ci` in `folder` (absolute, with a trailing slash) unless it was done for the lockfile there. Only stderr is written
 * to, beginning with `notice`. Throws what npm's exit status gives.
 */
export function installProject(folder: string, notice: string): void {
  const hash = createHash("sha256").update(readFileSync(`${folder}package-lock.json`)).digest("hex");
  const stamp = `${folder}node_modules/.installed-lock`;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === hash) return;
  console.error(notice);
  // npm is a script on Windows, which needs a shell; the command is a constant.
  execSync("npm ci --no-audit --no-fund", { cwd: folder, stdio: ["ignore", 2, 2] });
  writeFileSync(stamp, hash);
}
