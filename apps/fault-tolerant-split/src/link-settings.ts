import { readFile } from "node:fs/promises";

/** What the workers' codec is made of. Workers are processes of their own: they find it in a file that an inherited variable names. */
export interface LinkSettings {
  /** Codec table of the stage boundary, without its ending. Without it messages are raw float32. */
  readonly table?: string;
  /** Times smaller than float16, on the calibration text. */
  readonly activationRatio: number;
  /** Norm of what is lost of a message's gradients, over their own. */
  readonly gradientError: number;
  /** Folder that each process counts its messages into. */
  readonly traffic: string;
}

/** Names the settings' file. */
export const SETTINGS_VARIABLE = "LINK_CODEC_SETTINGS";

/** Reads the settings that the environment names. @throws Error without the variable, or for a file that is none */
export async function readLinkSettings(): Promise<LinkSettings> {
  const path = process.env[SETTINGS_VARIABLE];
  if (path === undefined) throw new Error(`${SETTINGS_VARIABLE} names no file; the codec's settings are in one`);
  const { table, activationRatio, gradientError, traffic } = JSON.parse(await readFile(path, "utf8")) as Partial<LinkSettings>;
  if (typeof traffic !== "string" || typeof activationRatio !== "number" || typeof gradientError !== "number") {
    throw new Error(`${path}: settings need traffic, activationRatio and gradientError`);
  }
  return { traffic, activationRatio, gradientError, ...(table === undefined ? {} : { table }) };
}
