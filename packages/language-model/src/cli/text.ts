import { loadMobyDick, loadStateOfTheUnion, loadTextFile } from "../datasets/text-source.ts";

/** How texts are named on the command line. */
export const TEXT_NAMES = "UTF-8 file, moby-dick or sotu (from their npm packages)";

const corpora: Readonly<Record<string, () => Promise<string>>> = { "moby-dick": loadMobyDick, sotu: loadStateOfTheUnion };

/** Whether a text is named, rather than given by its path. */
export function isTextName(name: string): boolean {
  return Object.hasOwn(corpora, name);
}

/** Loads a text by its name or path. */
export async function loadNamedText(name: string): Promise<string> {
  return await (isTextName(name) ? corpora[name]!() : loadTextFile(name));
}
