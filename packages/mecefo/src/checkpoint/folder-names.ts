import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** Name of the file that makes a checkpoint whole. */
export const MANIFEST: string = "manifest.json";

const padded = (value: number, digits: number): string => String(value).padStart(digits, "0");

/** Where the shards of a step gather until all are there: "<root>/.step-00000120.partial". */
export function partialFolder(root: string, step: number): string {
  return join(root, `.step-${padded(step, 8)}.partial`);
}

/** Name of a whole checkpoint: "step-00000120"; "step-00000120-1" where an earlier run through the step left one, which it replaces. */
export function checkpointName(step: number, attempt: number): string {
  return `step-${padded(step, 8)}${attempt === 0 ? "" : `-${attempt}`}`;
}

/** "stage-0003.safetensors". */
export function shardFileName(stage: number): string {
  return `stage-${padded(stage, 4)}.safetensors`;
}

/** A checkpoint's folder as its name tells. */
export interface NamedCheckpoint {
  readonly folder: string;
  readonly step: number;
  readonly attempt: number;
}

/** What lies in a folder of checkpoints. */
export interface CheckpointListing {
  /** Newest first. */
  readonly whole: readonly NamedCheckpoint[];
  /** Folders of steps whose shards are being gathered, or were when everybody died. */
  readonly partial: readonly { readonly folder: string; readonly step: number }[];
  /** Folders that were being deleted. */
  readonly deleted: readonly string[];
}

/** Looks at names alone. A folder that is not there is empty. */
export async function listCheckpoints(root: string): Promise<CheckpointListing> {
  const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const whole: NamedCheckpoint[] = [];
  const partial: { folder: string; step: number }[] = [];
  const deleted: string[] = [];
  for (const name of names) {
    const folder = join(root, name);
    const match = /^step-(\d{8,15})(?:-(\d{1,6}))?$/.exec(name);
    if (match) whole.push({ folder, step: Number(match[1]), attempt: Number(match[2] ?? 0) });
    const gathering = /^\.step-(\d{8,15})\.partial$/.exec(name);
    if (gathering) partial.push({ folder, step: Number(gathering[1]) });
    if (/^\.step-[\d-]+\.deleted$/.test(name)) deleted.push(folder);
  }
  return { whole: whole.toSorted((a, b) => b.step - a.step || b.attempt - a.attempt), partial, deleted };
}
