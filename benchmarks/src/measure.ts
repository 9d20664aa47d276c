import type { Prepared } from "./workload.ts";

/** The middle of some numbers. @throws RangeError without numbers */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("the median of nothing");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Seconds that `count` calls take. */
async function time(prepared: Prepared, count: number): Promise<number> {
  const { run, runAsync } = prepared;
  const started = performance.now();
  if (run !== undefined) for (let i = 0; i < count; i++) run();
  else for (let i = 0; i < count; i++) await runAsync!();
  return (performance.now() - started) / 1000;
}

/**
 * Calls until `seconds` have passed, so that the JIT has compiled and caches are filled; at least once. Returns seconds per call at
 * the end.
 */
export async function warmUp(prepared: Prepared, seconds: number): Promise<number> {
  const deadline = performance.now() + seconds * 1000;
  let count = 1;
  let last: number;
  do {
    last = (await time(prepared, count)) / count;
    // Batches of about a millisecond: the clock is read seldom enough not to matter.
    count = Math.max(1, Math.min(1_000_000, Math.round(0.001 / Math.max(last, 1e-9))));
  } while (performance.now() < deadline);
  return last;
}

/** Median seconds per call over batches that fill about `seconds` in all; one call where a single one takes longer. */
export async function measure(prepared: Prepared, seconds: number, estimate: number): Promise<number> {
  const batches = 5;
  const count = Math.max(1, Math.round(seconds / batches / Math.max(estimate, 1e-9)));
  const results: number[] = [];
  const deadline = performance.now() + seconds * 1000;
  do results.push((await time(prepared, count)) / count);
  while (results.length < batches && performance.now() < deadline);
  return median(results);
}
