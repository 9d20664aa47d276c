/** Rows that differ by less, in proportion, are the same: kernels for one row and for many differ in the last bits. */
const SAME_ROW = 1e-4;

/** Whether ‖a - b‖ <= share · ‖b‖ over the length of b. */
export function isNear(a: Float32Array, b: Float32Array, share: number): boolean {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return difference <= share ** 2 * norm;
}

/**
 * Whether the first of these rows is `beginRow`, that of the begin token at position 0.
 * @param share how much they may differ, in proportion, where that is less than they may anyway
 */
export function startsWithRow(rows: Float32Array, beginRow: Float32Array, share: number = SAME_ROW): boolean {
  return isNear(rows, beginRow, Math.min(SAME_ROW, share));
}
