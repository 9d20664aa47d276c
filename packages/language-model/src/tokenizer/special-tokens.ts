/**
 * Cuts a text at the names of special tokens: strings between them, ids for them, the longest name where several fit.
 * @param names special tokens by name
 */
export function splitAtSpecialTokens(text: string, names: ReadonlyMap<string, number>): (string | number)[] {
  const alternatives = [...names.keys()].filter((name) => name !== "").toSorted((a, b) => b.length - a.length);
  if (alternatives.length === 0) return [text];
  const pattern = new RegExp(alternatives.map((name) => name.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|"), "g");
  const parts: (string | number)[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    parts.push(names.get(match[0]) as number);
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}
