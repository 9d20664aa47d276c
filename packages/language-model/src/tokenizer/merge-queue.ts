import { BinaryHeap } from "./binary-heap.ts";

/** A candidate merge of two neighbouring symbols. */
export interface MergeCandidate {
  /** Smaller is merged earlier: a rank, or a negated score. */
  readonly priority: number;
  /** Position of the left symbol; the leftmost of equal candidates goes first. */
  readonly left: number;
  /** Symbols when the candidate was made: one that changed since makes the candidate stale. */
  readonly leftId: number;
  readonly rightId: number;
  /** What the two become. */
  readonly mergedId: number;
}

/** By priority, then from the left. */
function before(a: MergeCandidate, b: MergeCandidate): boolean {
  return a.priority < b.priority || (a.priority === b.priority && a.left < b.left);
}

/** Priority and result of merging two neighbouring symbols, or undefined if they do not merge. */
export type MergeLookup = (leftId: number, rightId: number) => { readonly priority: number; readonly mergedId: number } | undefined;

/**
 * Merges neighbouring symbols, best candidate first, until none is left: byte-pair encoding in O(n log n) by a linked list and a
 * heap, with the result of the textbook loop that scans all pairs each time.
 */
export function mergeSymbols(symbols: readonly number[], lookup: MergeLookup): number[] {
  const count = symbols.length;
  if (count < 2) return [...symbols];
  const ids = Int32Array.from(symbols);
  const next = new Int32Array(count);
  const previous = new Int32Array(count);
  const queue = new BinaryHeap(before);
  const consider = (left: number): void => {
    const right = next[left] as number;
    if (right >= count) return;
    const leftId = ids[left] as number;
    const rightId = ids[right] as number;
    const merge = lookup(leftId, rightId);
    if (merge !== undefined) queue.push({ priority: merge.priority, left, leftId, rightId, mergedId: merge.mergedId });
  };
  for (let at = 0; at < count; at++) {
    next[at] = at + 1;
    previous[at] = at - 1;
  }
  for (let at = 0; at < count - 1; at++) consider(at);
  for (let candidate = queue.pop(); candidate !== undefined; candidate = queue.pop()) {
    const { left } = candidate;
    const right = next[left] as number;
    if (ids[left] !== candidate.leftId || right >= count || ids[right] !== candidate.rightId) continue;
    ids[left] = candidate.mergedId;
    ids[right] = -1;
    const following = next[right] as number;
    next[left] = following;
    if (following < count) previous[following] = left;
    const preceding = previous[left] as number;
    if (preceding >= 0) consider(preceding);
    consider(left);
  }
  const merged: number[] = [];
  for (let at = 0; at < count; at = next[at] as number) merged.push(ids[at] as number);
  return merged;
}
