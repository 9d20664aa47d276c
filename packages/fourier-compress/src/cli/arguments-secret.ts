import { readFile, stat } from "node:fs/promises";
import { SettingsError } from "../errors.ts";

/** Longest file that is taken for a secret. */
const LONGEST_BYTES = 4096;

/**
 * A secret from a file or an environment variable, never from the command line, which other users of the machine can read. Undefined where
 * neither is given.
 * @throws SettingsError when both are given, or what is named holds nothing
 */
export async function readSecret(
  what: string, { file, variable }: { readonly file: string | undefined; readonly variable: string | undefined },
): Promise<string | undefined> {
  if (file !== undefined && variable !== undefined) throw new SettingsError(`give --${what}-file or --${what}-env, not both`);
  let value: string | undefined;
  if (variable !== undefined) value = process.env[variable];
  else if (file !== undefined) {
    if ((await stat(file)).size > LONGEST_BYTES) throw new SettingsError(`--${what}-file ${file} is longer than ${LONGEST_BYTES} bytes`);
    value = await readFile(file, "utf8");
  } else return undefined;
  const secret = value?.trim();
  if (secret === undefined || secret === "") throw new SettingsError(`the ${what} is empty: ${file ?? `environment variable ${variable}`}`);
  return secret;
}
