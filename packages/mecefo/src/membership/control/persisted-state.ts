import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { FormatError, MembershipError } from "../../errors.ts";
import { clusterStateSchema, type ClusterState } from "../cluster-state.ts";

const LARGEST_FILE = 4 << 20;

const persistedSchema = z.object({ format: z.literal("mecefo-coordinator"), revision: z.int().min(1), state: clusterStateSchema });

/** Writes a state so that the file always holds a whole one, also after the power failed. */
export async function writePersistedState(path: string, state: ClusterState, revision: number): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify({ format: "mecefo-coordinator", revision, state }));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), "r");
  await folder.sync().catch(() => undefined); // not every file system can
  await folder.close();
}

/** Reads it; undefined: there is none. @throws FormatError when it is damaged, MembershipError when it is another job's */
export async function readPersistedState(path: string, job: string): Promise<{ state: ClusterState; revision: number } | undefined> {
  let text: string;
  try {
    const bytes = await readFile(path);
    if (bytes.length > LARGEST_FILE) {
      throw new FormatError(path, `${bytes.length} bytes; a coordinator's state has at most ${LARGEST_FILE}`);
    }
    text = bytes.toString("utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  let value: z.infer<typeof persistedSchema>;
  try {
    value = persistedSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new FormatError(path, "is no state of a coordinator; delete it to begin anew from a checkpoint or the seed", { cause: error });
  }
  if (value.state.job !== job) {
    throw new MembershipError(`${path} holds the state of job "${value.state.job}", not of "${job}": give another file, or that job`);
  }
  return value;
}
