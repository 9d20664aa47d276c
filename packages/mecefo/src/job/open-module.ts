import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MecefoError, SettingsError } from "../errors.ts";

/**
 * The default export of a module that a job names. It runs with all rights of this process, as any import does.
 * @param option of the job that names it, for the message
 * @throws SettingsError if it cannot be loaded or has no default export
 */
export async function openModule(option: string, path: string): Promise<unknown> {
  let exports: { readonly default?: unknown };
  try {
    exports = (await import(/* @vite-ignore */ pathToFileURL(resolve(path)).href)) as { readonly default?: unknown };
  } catch (cause) {
    if (cause instanceof MecefoError) throw cause;
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new SettingsError(`${option}: the module ${path} cannot be loaded: ${detail}`, { cause });
  }
  if (exports.default === undefined) throw new SettingsError(`${option}: the module ${path} has no default export`);
  return exports.default;
}
