import { existsSync, readFileSync } from "node:fs";
import { findPackageJSON } from "node:module";

/** Version of an installed package. @throws when it is not installed */
export function packageVersion(name: string): string {
  const file = findPackageJSON(name, import.meta.url);
  if (file === undefined || !existsSync(file)) throw new Error(`${name} is not installed`);
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}
