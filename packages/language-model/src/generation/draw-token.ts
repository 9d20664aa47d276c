/** Which tokens may be drawn. */
export interface DrawLimits {
  readonly topK?: number | undefined;
  readonly topP: number;
}

/**
 * Draws an index in proportion to probabilities, from the top-k and then the top-p of them.
 * @param probabilities not negative; their sum need not be 1
 * @param draw uniform in [0, 1)
 */
export function drawToken(probabilities: Float32Array, draw: number, { topK, topP }: DrawLimits): number {
  const limited = topK !== undefined && topK < probabilities.length;
  if (!limited && topP === 1) return walk(probabilities.length, (i) => probabilities[i]!, draw);
  let candidates = limited ? mostProbable(probabilities, topK) : Array.from(probabilities.keys());
  if (topP < 1) candidates = nucleus(probabilities, candidates, topP);
  return candidates[walk(candidates.length, (i) => probabilities[candidates[i]!]!, draw)]!;
}

/** The first position at which the running sum passes its share of the total. */
function walk(count: number, probability: (i: number) => number, draw: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += probability(i);
  let remaining = draw * total;
  let last = 0;
  for (let i = 0; i < count; i++) {
    const share = probability(i);
    if (share === 0) continue;
    remaining -= share;
    last = i;
    if (remaining < 0) break;
  }
  return last;
}

/** Ids of the k largest, in order of id; of equals at the edge, the first ones. */
function mostProbable(probabilities: Float32Array, k: number): number[] {
  const threshold = kthLargest(probabilities.slice(), k);
  const ids: number[] = [];
  let equals = k;
  for (const value of probabilities) if (value > threshold) equals--;
  for (let id = 0; id < probabilities.length; id++) {
    const value = probabilities[id]!;
    if (value > threshold || (value === threshold && equals-- > 0)) ids.push(id);
  }
  return ids;
}

/** Hoare's selection; `values` is reordered. */
function kthLargest(values: Float32Array, k: number): number {
  let low = 0;
  let high = values.length - 1;
  const wanted = k - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1]!;
    let [i, j] = [low, high];
    while (i <= j) {
      while (values[i]! > pivot) i++;
      while (values[j]! < pivot) j--;
      if (i <= j) {
        [values[i], values[j]] = [values[j]!, values[i]!];
        i++;
        j--;
      }
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return values[wanted]!;
}

/** The smallest set of candidates whose share of their sum reaches p, most probable first. */
function nucleus(probabilities: Float32Array, candidates: readonly number[], p: number): number[] {
  const total = candidates.reduce((sum, id) => sum + probabilities[id]!, 0);
  const largest = candidates.reduce((most, id) => Math.max(most, probabilities[id]!), 0);
  // Whatever lies below this cannot be in the set, unless it is the most probable: all such tokens together are worth less than 1 - p (as
  // in llama2.c). It spares sorting the whole vocabulary.
  const cutoff = Math.min(largest, ((1 - p) * total) / Math.max(1, candidates.length - 1));
  const sorted = candidates.filter((id) => probabilities[id]! >= cutoff).sort((a, b) => probabilities[b]! - probabilities[a]! || a - b);
  let reached = 0;
  const last = sorted.findIndex((id) => (reached += probabilities[id]!) >= p * total);
  return last < 0 ? sorted : sorted.slice(0, last + 1);
}
