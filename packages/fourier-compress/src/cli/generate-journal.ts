import { open, type FileHandle } from "node:fs/promises";
import { parseSessionJournal, type JournalEntry, type JournalWriter, type SessionJournal } from "../client/session-journal.ts";
import { SessionJournalError, SettingsError } from "../errors.ts";

/** Longest journal that is read. */
const LONGEST_BYTES = 64 << 20;

/** A journal in a file of lines of JSON, readable by its owner alone: it holds the session's secret. */
export class JournalFile implements JournalWriter {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** A new journal. @throws SettingsError when the file is there already */
  static async create(path: string): Promise<JournalFile> {
    try {
      return new JournalFile(await open(path, "ax", 0o600));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
      throw new SettingsError(`--journal ${path} is there already; go on with --resume ${path}, or remove it`, { cause });
    }
  }

  /** A journal that an earlier process left, to be written on. A line that it did not finish is cut off. @throws SessionJournalError */
  static async resume(path: string): Promise<{ readonly journal: SessionJournal; readonly file: JournalFile }> {
    const handle = await open(path, "r+");
    try {
      const { size } = await handle.stat();
      if (size > LONGEST_BYTES) throw new SessionJournalError(`${path} has ${size} bytes; a journal has at most ${LONGEST_BYTES}`);
      const bytes = await handle.readFile();
      const journal = parseSessionJournal(bytes.toString("utf8"));
      await handle.truncate(bytes.lastIndexOf(0x0a) + 1);
      // From here on at the end.
      await handle.close();
      return { journal, file: new JournalFile(await open(path, "a")) };
    } catch (error) {
      await handle.close().catch(() => {});
      throw error;
    }
  }

  /** Resolves when the entry is on the disk. */
  async write(entry: JournalEntry): Promise<void> {
    await this.#handle.appendFile(`${JSON.stringify(entry)}\n`);
    await this.#handle.datasync();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}
