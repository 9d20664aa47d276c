/**
 * Tuning tables on disk (Node). In browsers a table is plain JSON to be kept wherever the page keeps its data: `parseTuning` checks it when
 * it comes back.
 */
import { DeviceError } from "../../errors.ts";
import { nodeModule } from "../../io/node-module.ts";
import { parseTuning, type MatmulTuning } from "./autotune.ts";

/** Largest file that is read: tables take a few hundred bytes. */
const maximumBytes = 65_536;

/** Where tables are kept. */
export interface TuningStorageOptions {
  /** Default: `webgpu-tuning` in the folder named by FRUGAL_CACHE, or in `.cache/frugal` of the user's home. */
  readonly folder?: string | undefined;
}

function defaultFolder(): string {
  const { homedir } = nodeModule("node:os");
  const { join } = nodeModule("node:path");
  const chosen = process.env["FRUGAL_CACHE"];
  return join(chosen === undefined || chosen === "" ? join(homedir(), ".cache", "frugal") : chosen, "webgpu-tuning");
}

/** The file of an adapter's table. @throws TensorError outside Node */
export function tuningPath(adapter: string, { folder = defaultFolder() }: TuningStorageOptions = {}): string {
  const readable = adapter.replaceAll(/[^A-Za-z0-9]+/g, "-").slice(0, 80);
  const digest = nodeModule("node:crypto").createHash("sha256").update(adapter).digest("hex").slice(0, 12);
  return nodeModule("node:path").join(folder, `${readable}-${digest}.json`);
}

/** Writes a table where `loadTuning` finds it, whole or not at all. Returns the path. @throws the file system's error */
export async function saveTuning(tuning: MatmulTuning, options?: TuningStorageOptions): Promise<string> {
  const { mkdir, rename, writeFile } = nodeModule("node:fs/promises");
  const path = tuningPath(tuning.adapter, options);
  await mkdir(nodeModule("node:path").dirname(path), { recursive: true });
  const temporary = `${path}.${process.pid}.tmp`;
  await writeFile(temporary, `${JSON.stringify(tuning, undefined, 2)}\n`);
  await rename(temporary, path);
  return path;
}

/**
 * The stored table of an adapter (`adapterName`); undefined where there is none.
 * @throws DeviceError for a file that is no table of this adapter
 */
export async function loadTuning(adapter: string, options?: TuningStorageOptions): Promise<MatmulTuning | undefined> {
  const { readFile, stat } = nodeModule("node:fs/promises");
  const path = tuningPath(adapter, options);
  let text: string;
  try {
    const { size } = await stat(path);
    if (size > maximumBytes) throw new DeviceError(`${path} has ${size} bytes, a tuning table at most ${maximumBytes}; delete it`);
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  let tuning: MatmulTuning;
  try {
    tuning = parseTuning(JSON.parse(text));
  } catch (cause) {
    throw new DeviceError(`${path} is no tuning table; delete it`, { cause });
  }
  if (tuning.adapter !== adapter) {
    throw new DeviceError(`${path} is the table of the adapter "${tuning.adapter}", not "${adapter}"; delete it`);
  }
  return tuning;
}
