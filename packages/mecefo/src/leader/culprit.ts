/**
 * Whom everybody waits for. Follows "waits for" from each member that has not voted to one that waits for nobody; of several the one that
 * most chains end at, then the first. In a circle of waiting members the one with the least id is taken, since one has to go.
 */
export function findCulprit(missing: readonly string[], waitsFor: ReadonlyMap<string, string>): string | undefined {
  const ends = new Map<string, number>();
  for (const start of missing) {
    const path = [start];
    let at = start;
    for (let next = waitsFor.get(at); next !== undefined; next = waitsFor.get(at)) {
      if (path.includes(next)) {
        at = path.slice(path.indexOf(next)).toSorted()[0]!;
        break;
      }
      path.push(next);
      at = next;
    }
    ends.set(at, (ends.get(at) ?? 0) + 1);
  }
  return [...ends].toSorted(([a, i], [b, j]) => j - i || (a < b ? -1 : 1))[0]?.[0];
}
