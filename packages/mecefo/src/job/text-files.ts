import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { LanguageModelError, loadMobyDick, loadStateOfTheUnion, loadTextFile } from "@frugal/language-model";
import { FormatError, SettingsError } from "../errors.ts";

/** Text held in memory at once; larger corpora have to be cut. */
const LARGEST_TEXT_CHARACTERS = 1 << 28;
const LARGEST_FILE_COUNT = 100_000;

/** A corpus by name (from an npm package), or paths of UTF-8 text files and folders of them. */
export type TextSource = "moby-dick" | "sotu" | (string & {}) | readonly string[];

const corpora: Readonly<Record<string, () => Promise<string>>> = { "moby-dick": loadMobyDick, sotu: loadStateOfTheUnion };

/** All files below a folder, hidden ones left out, in the order of their names, so that it is the same everywhere. */
async function filesBelow(folder: string, found: string[]): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) await filesBelow(join(folder, entry.name), found);
    else if (entry.isFile()) found.push(join(folder, entry.name));
    if (found.length > LARGEST_FILE_COUNT) throw new SettingsError(`text: ${folder} has more than ${LARGEST_FILE_COUNT} files`);
  }
}

async function filesOf(path: string): Promise<string[]> {
  const status = await stat(path).catch((cause: unknown) => {
    throw new FormatError(path, 'there is no such text; give "moby-dick", "sotu", or UTF-8 text files or folders', { cause });
  });
  if (!status.isDirectory()) return [path];
  const found: string[] = [];
  await filesBelow(path, found);
  if (found.length === 0) throw new FormatError(path, "the folder holds no files");
  return found;
}

/** What a text source is called in `data.json`. */
export function textSourceName(source: TextSource): string {
  return typeof source === "string" ? source : source.join(", ");
}

/**
 * Loads a text; files follow one another after an empty line.
 * @throws FormatError naming a file that is not there, empty or not UTF-8, SettingsError for more than 256 Mi characters
 * @throws MissingResourceError (language-model) if a corpus's package is not installed
 */
export async function loadText(source: TextSource): Promise<string> {
  if (typeof source === "string" && Object.hasOwn(corpora, source)) return await corpora[source]!();
  const paths = typeof source === "string" ? [source] : source;
  if (paths.length === 0) throw new SettingsError("text: no files are named");
  const texts: string[] = [];
  let characters = 0;
  for (const path of paths) {
    for (const file of await filesOf(resolve(path))) {
      let text: string;
      try {
        text = await loadTextFile(file);
      } catch (cause) {
        if (!(cause instanceof LanguageModelError)) throw cause;
        throw new FormatError(file, cause.message.replace(`${file} `, ""), { cause });
      }
      characters += text.length;
      if (characters > LARGEST_TEXT_CHARACTERS) {
        throw new SettingsError(`text: more than ${LARGEST_TEXT_CHARACTERS} characters up to ${file}; give less text`);
      }
      texts.push(text);
    }
  }
  return texts.join("\n\n");
}
