import { BinaryHeap } from "./binary-heap.ts";

/** A distinct word of the training text: its symbols, which merging shortens, and how often it occurs. */
export interface TrainingWord {
  symbols: number[];
  readonly count: number;
}

interface PairStatistics {
  readonly left: number;
  readonly right: number;
  count: number;
  /** Indices of words that hold the pair, or held it. */
  readonly words: Set<number>;
}

/** More frequent first, then the pair with the smaller ids, so that training is deterministic. */
function before(a: QueuedPair, b: QueuedPair): boolean {
  if (a.count !== b.count) return a.count > b.count;
  return a.pair.left < b.pair.left || (a.pair.left === b.pair.left && a.pair.right < b.pair.right);
}

interface QueuedPair {
  readonly pair: PairStatistics;
  /** The pair's count when queued; a pair that lost some since is queued again before it is believed. */
  readonly count: number;
}

const PAIR_BASE = 2 ** 26;

/**
 * Merges the most frequent pair of symbols of all words until none occurs `minimumFrequency` times or `merge` declines. Counts are
 * kept up to date from the words that hold the merged pair alone.
 * @param words changed in place
 * @param merge gives the id of the merged symbol, or undefined to stop
 */
export function learnMerges(
  words: TrainingWord[],
  minimumFrequency: number,
  merge: (left: number, right: number) => number | undefined,
): void {
  const pairs = new Map<number, PairStatistics>();
  const queue = new BinaryHeap(before);
  const touched = new Set<PairStatistics>();
  const change = (left: number, right: number, by: number, word: number): void => {
    const key = left * PAIR_BASE + right;
    let pair = pairs.get(key);
    if (pair === undefined) pairs.set(key, (pair = { left, right, count: 0, words: new Set() }));
    pair.count += by;
    if (by > 0) {
      pair.words.add(word);
      touched.add(pair);
    }
  };
  const queueTouched = (): void => {
    for (const pair of touched) if (pair.count > 0) queue.push({ pair, count: pair.count });
    touched.clear();
  };
  words.forEach(({ symbols, count }, word) => {
    for (let at = 0; at + 1 < symbols.length; at++) change(symbols[at] as number, symbols[at + 1] as number, count, word);
  });
  queueTouched();

  for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
    const { pair, count } = entry;
    if (pair.count !== count) {
      // A pair that only lost occurrences has no other entry; one that gained some was queued when it did.
      if (pair.count < count && pair.count > 0) queue.push({ pair, count: pair.count });
      continue;
    }
    if (count < minimumFrequency) return;
    const merged = merge(pair.left, pair.right);
    if (merged === undefined) return;
    for (const index of pair.words) {
      const word = words[index] as TrainingWord;
      const { symbols } = word;
      const result: number[] = [];
      for (let at = 0; at < symbols.length; at++) {
        if (symbols[at] === pair.left && symbols[at + 1] === pair.right) {
          result.push(merged);
          at++;
        } else result.push(symbols[at] as number);
      }
      if (result.length === symbols.length) continue;
      for (let at = 0; at + 1 < symbols.length; at++) change(symbols[at] as number, symbols[at + 1] as number, -word.count, index);
      for (let at = 0; at + 1 < result.length; at++) change(result[at] as number, result[at + 1] as number, word.count, index);
      word.symbols = result;
    }
    pairs.delete(pair.left * PAIR_BASE + pair.right);
    queueTouched();
  }
}
