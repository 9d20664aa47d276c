import { readFileSync, writeFileSync } from "node:fs";

/** Puts new text between the markers of a document. @throws when it has no markers of that name */
export function replaceBetweenMarkers(document: string, text: string, name: string): string {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`the document needs the lines ${begin} and ${end}`);
  return `${document.slice(0, from + begin.length)}\n\n${text}\n\n${document.slice(to)}`;
}

/** `replaceBetweenMarkers` in a file. */
export function rewriteFile(path: string, text: string, name: string = "bench"): void {
  writeFileSync(path, replaceBetweenMarkers(readFileSync(path, "utf8"), text, name));
}
