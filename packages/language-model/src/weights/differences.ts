/** A setting in which two descriptions differ; absent values read "undefined". */
export interface Difference {
  readonly name: string;
  readonly first: string;
  readonly second: string;
}

/** Entries that two plain objects do not share, compared by their JSON with sorted keys. */
export function differences(first: unknown, second: unknown): Difference[] {
  const [one, other] = [entriesOf(first), entriesOf(second)];
  return [...new Set([...one.keys(), ...other.keys()])]
    .map((name) => ({ name, first: one.get(name) ?? "undefined", second: other.get(name) ?? "undefined" }))
    .filter((pair) => pair.first !== pair.second);
}

function entriesOf(value: unknown): Map<string, string> {
  if (typeof value !== "object" || value === null) return new Map([["value", canonicalJson(value)]]);
  return new Map(Object.entries(value).filter(([, entry]) => entry !== undefined).map(([name, entry]) => [name, canonicalJson(entry)]));
}

function canonicalJson(value: unknown): string {
  return (
    JSON.stringify(value, (_, entry: unknown) =>
      typeof entry === "object" && entry !== null && !Array.isArray(entry)
        ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
        : entry,
    ) ?? "undefined"
  );
}
