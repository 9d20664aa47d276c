import type { Kernels } from "../backend.ts";
import type { WasmRuntime } from "./runtime.ts";

/** Longer rows are sorted on one thread, with scratch memory that is given back; the pool keeps its blocks. */
const longestPooledRow = 65_536;
/** `topK` keeps up to this many by insertion and sorts the row for more. */
const insertionLimit = 128;

/** Sorting of rows. */
export function createSort(runtime: WasmRuntime): Pick<Kernels, "sort" | "topK"> {
  function run(kernel: "sortRows" | "topK", parameters: readonly number[], rows: number, columns: number, scratchBytes: number): void {
    if (columns <= longestPooledRow) runtime.parallel(kernel, parameters, rows, { work: rows * columns * 8, scratchBytes });
    else {
      const call = runtime.exports[kernel] as (...parameters: number[]) => void;
      runtime.withScratch(scratchBytes, (scratch) => call(...parameters, scratch, 0, rows));
    }
  }

  return {
    sort({ input, values, indices, rows, columns, descending }) {
      const parameters = [
        input.dtype === "int32" ? 1 : 0, descending ? 1 : 0, runtime.pointer(input), runtime.pointer(values), runtime.pointer(indices),
        columns,
      ];
      run("sortRows", parameters, rows, columns, 16 * columns + 4096);
    },

    topK({ input, values, indices, rows, columns, k, largest }) {
      if (k === 0) return;
      const parameters = [
        input.dtype === "int32" ? 1 : 0, largest ? 1 : 0, runtime.pointer(input), runtime.pointer(values), runtime.pointer(indices),
        columns, k,
      ];
      run("topK", parameters, rows, columns, k > insertionLimit ? 16 * columns + 4096 : 8 * k);
    },
  };
}
