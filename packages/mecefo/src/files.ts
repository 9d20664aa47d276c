import { randomBytes } from "node:crypto";
import { open, readFile, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { FormatError } from "./errors.ts";

/** Makes the names in a folder durable. Windows cannot open folders, and does this by itself. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes a file through a temporary one beside it, so that readers see the old content or the new, and a crash leaves one of them. */
export async function replaceFileWith(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    const handle = await open(temporary, "wx");
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Writes text or bytes so that readers see the old content or the new. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  await replaceFileWith(path, (handle) => handle.writeFile(content));
}

/** Bytes of a plain file. @throws FormatError if there is none; `fix` says what to do then */
export async function sizeOfFile(path: string, fix: string): Promise<number> {
  const status = await stat(path).catch((cause: unknown) => {
    throw new FormatError(path, `there is no such file. ${fix}`, { cause });
  });
  if (!status.isFile()) throw new FormatError(path, `is not a plain file. ${fix}`);
  return status.size;
}

/**
 * Reads a JSON file of limited size.
 * @throws FormatError if it is not there, too large or not JSON
 */
export async function readBoundedJson(path: string, largestBytes: number, fix: string): Promise<unknown> {
  const size = await sizeOfFile(path, fix);
  if (size > largestBytes) throw new FormatError(path, `has ${size} bytes, at most ${largestBytes} are read`);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await readFile(path))) as unknown;
  } catch (cause) {
    throw new FormatError(path, `is not JSON. ${fix}`, { cause });
  }
}

/** Writes all of some bytes where the handle stands. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) done += (await handle.write(bytes, done, bytes.byteLength - done)).bytesWritten;
}
