import type { Kernels } from "../backend.ts";
import { load, store } from "./access.ts";

/** Sorting of rows. */
export const sortKernels: Pick<Kernels, "sort" | "topK"> = {
  sort({ input, values, indices, rows, columns, descending }) {
    const sorted = sortedRows(load(input), rows, columns, columns, descending);
    store(values, sorted.values);
    store(indices, sorted.indices);
  },

  topK({ input, values, indices, rows, columns, k, largest }) {
    const sorted = sortedRows(load(input), rows, columns, k, largest);
    store(values, sorted.values);
    store(indices, sorted.indices);
  },
};

/** The first `kept` of each sorted row. Equal values keep their order and NaN comes last, in both directions. */
function sortedRows(
  input: Float64Array,
  rows: number,
  columns: number,
  kept: number,
  descending: boolean,
): { values: Float64Array; indices: Float64Array } {
  const values = new Float64Array(rows * kept);
  const indices = new Float64Array(rows * kept);
  for (let r = 0; r < rows; r++) {
    const row = input.subarray(r * columns, (r + 1) * columns);
    const order = Array.from(row.keys()).sort((i, j) => compareValues(row[i]!, row[j]!, descending) || i - j);
    for (let c = 0; c < kept; c++) {
      indices[r * kept + c] = order[c]!;
      values[r * kept + c] = row[order[c]!]!;
    }
  }
  return { values, indices };
}

function compareValues(a: number, b: number, descending: boolean): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  if (a === b) return 0;
  return a < b !== descending ? -1 : 1;
}
