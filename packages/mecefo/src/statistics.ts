/** The middle of the values, or the mean of the two in the middle; undefined when there are none. */
export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The greatest of the values (any number of them: not spread into arguments); undefined when there are none. */
export function maximum(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => Math.max(a, b));
}

/** The mean; undefined when there are no values. */
export function mean(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
}

/** How many values there are of each name, the most frequent first. */
export function countBy<Value, Name extends string>(
  values: readonly Value[], nameOf: (value: Value) => Name,
): Partial<Record<Name, number>> {
  const counts = new Map<Name, number>();
  for (const value of values) counts.set(nameOf(value), (counts.get(nameOf(value)) ?? 0) + 1);
  return Object.fromEntries([...counts].toSorted((a, b) => b[1] - a[1])) as Partial<Record<Name, number>>;
}
