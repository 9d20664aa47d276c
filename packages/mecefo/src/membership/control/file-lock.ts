import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { MembershipError } from "../../errors.ts";

/** Ends a lock. */
export type ReleaseLock = () => Promise<void>;

/**
 * Takes the lock file `path`, or throws because a live process of this computer has it. A lock whose process is gone is taken over.
 * @throws MembershipError
 */
export async function takeFileLock(path: string, what: string): Promise<ReleaseLock> {
  const own = `${path}.${randomUUID()}`;
  await writeFile(own, JSON.stringify({ pid: process.pid, hostname: hostname() }), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        await link(own, path); // whole and at once, or not at all
        return async () => await rm(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const text = await readIfThere(path);
      const holder = readHolder(text);
      if (holder !== undefined && isAlive(holder)) {
        throw new MembershipError(
          `two coordinators: process ${holder.pid} on ${holder.hostname} already leads ${what}. End it first; if there is no such `
          + `coordinator, delete ${path}`,
        );
      }
      await removeIfStill(path, text);
    }
  } finally {
    await rm(own, { force: true });
  }
  throw new MembershipError(`two coordinators: another one is starting for ${what} at this moment (${path})`);
}

/** Removes the file if it still says `text`: another process may have taken the lock over meanwhile. */
async function removeIfStill(path: string, text: string | undefined): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return; // somebody else was faster
  }
  if (await readIfThere(aside) !== text) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(() => undefined);
}

interface Holder {
  readonly pid: number;
  readonly hostname: string;
}

function readHolder(text: string | undefined): Holder | undefined {
  try {
    const value = JSON.parse(text ?? "") as Partial<Holder>;
    return Number.isInteger(value.pid) && typeof value.hostname === "string" ? value as Holder : undefined;
  } catch {
    return undefined; // damaged: nobody's
  }
}

function isAlive({ pid, hostname: host }: Holder): boolean {
  if (host !== hostname()) return true; // cannot be told from here
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
