import { existsSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "..", "..", "..", "..", "shared", "data");

/**
 * Path of a file or folder of the optional test data beside the repository, or undefined (with a warning) where it is not there.
 * @throws Error under CI, where the data is required
 */
export function sharedData(...parts: string[]): string | undefined {
  const path = join(FOLDER, ...parts);
  if (existsSync(path)) return path;
  const message = `test data ${parts.join("/")} is not in ../shared/data`;
  if (process.env["CI"]) throw new Error(`${message}; it is required when CI is set`);
  console.warn(`SKIPPED: ${message}`);
  return undefined;
}
