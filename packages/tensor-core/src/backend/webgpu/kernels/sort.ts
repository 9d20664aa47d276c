import type { Kernels, TensorView } from "../../backend.ts";
import type { WebGpuRuntime } from "../runtime.ts";
import { mergeRuns } from "./sort/merge.ts";
import { sortTiles, tileColumns, type SortTask } from "./sort/tiles.ts";

/** Sorting of rows. */
export function sortKernels(runtime: WebGpuRuntime): Pick<Kernels, "sort" | "topK"> {
  return {
    sort({ input, values, indices, rows, columns, descending }) {
      sortRows(runtime, { input, values, indices, rows, columns, descending, kept: columns });
    },

    topK({ input, values, indices, rows, columns, k, largest }) {
      const task = { input, values, indices, rows, columns, descending: largest, kept: k };
      // Selecting shrinks what is left at least by half each time.
      if (k <= tileColumns / 2) selectRows(runtime, task);
      else sortRows(runtime, task);
    },
  };
}

/** Sorts tiles in workgroup memory, then merges ever longer runs. */
function sortRows(runtime: WebGpuRuntime, task: SortTask): void {
  const { rows, columns } = task;
  if (rows * task.kept === 0) return;
  if (columns <= tileColumns) {
    sortTiles(runtime, task, undefined, columns, undefined, tileColumns);
    return;
  }
  let sorted = pairs(runtime, rows, columns);
  sortTiles(runtime, task, undefined, columns, sorted, tileColumns);
  let spare = columns > 2 * tileColumns ? pairs(runtime, rows, columns) : undefined;
  let run = tileColumns;
  for (; run * 2 < columns; run *= 2) {
    mergeRuns(runtime, task, sorted, run, spare!);
    [sorted, spare] = [spare!, sorted];
  }
  mergeRuns(runtime, task, sorted, run, undefined);
  runtime.release(sorted, spare);
}

/** Sorts tiles and goes on with the first of each. */
function selectRows(runtime: WebGpuRuntime, task: SortTask): void {
  const { rows, kept } = task;
  if (rows * kept === 0) return;
  let candidates: TensorView | undefined;
  let { columns } = task;
  while (columns > tileColumns) {
    const tiles = Math.ceil(columns / tileColumns);
    const next = pairs(runtime, rows, tiles * kept);
    sortTiles(runtime, task, candidates, columns, next, kept);
    runtime.release(candidates);
    candidates = next;
    columns = tiles * kept;
  }
  sortTiles(runtime, task, candidates, columns, undefined, kept);
  runtime.release(candidates);
}

/** Keys with their indices, for each element of a row. */
function pairs(runtime: WebGpuRuntime, rows: number, columns: number): TensorView {
  return runtime.temporary("int32", [rows, columns, 2]);
}
