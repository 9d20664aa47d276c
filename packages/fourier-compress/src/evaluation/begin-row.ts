/** Rows as near as this, in proportion, are the same, as exact rows of messages have it: kernels differ in the last bits with the shape. */
const SAME_ROW = 1e-4;

/** Whether the first of these rows is `beginRow`. */
export function startsWithRow(rows: Float32Array, beginRow: Float32Array): boolean {
  let [difference, norm] = [0, 0];
  for (const [i, expected] of beginRow.entries()) {
    difference += (rows[i]! - expected) ** 2;
    norm += expected ** 2;
  }
  return difference <= SAME_ROW ** 2 * norm;
}
