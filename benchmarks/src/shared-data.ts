import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Measured } from "./check.ts";

/** Path in the data folder beside the repository, or undefined. */
export function sharedData(path: string): string | undefined {
  const found = fileURLToPath(new URL(`../../../shared/data/${path}`, import.meta.url));
  return existsSync(found) ? found : undefined;
}

/** What a claim says whose data is not here. */
export const missingData = (path: string): Measured => ({ skipped: `needs ../shared/data/${path}` });
