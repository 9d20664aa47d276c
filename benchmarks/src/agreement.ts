/**
 * Largest difference between two samples of a result, relative to the largest number in the first. Libraries that compute something
 * else are not compared by speed.
 */
export function disagreement(expected: readonly number[], actual: readonly number[]): number {
  if (expected.length !== actual.length) return Infinity;
  const scale = Math.max(...expected.map(Math.abs), 1e-30);
  return Math.max(0, ...expected.map((value, i) => (Number.isFinite(actual[i]) ? Math.abs(value - actual[i]!) / scale : Infinity)));
}

/** float32 sums in another order differ by less, wrong results by more. */
export const tolerance = 1e-3;
