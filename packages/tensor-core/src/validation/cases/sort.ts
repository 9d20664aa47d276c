import * as draw from "../arbitrary.ts";
import type { Dtype } from "../../tensor/dtype.ts";
import { denseLayouts, seeds, sizes, small } from "../arbitraries.ts";
import { exact, type KernelTests } from "../kernel-test.ts";
import { outputSpec, tensorSpec } from "../tensor-spec.ts";
import { tiedValues } from "./reduce.ts";

const dtypes = draw.constantFrom<Dtype>("float32", "int32");

/** Tests of sorting. */
export const sortTests: KernelTests<"sort" | "topK"> = {
  sort: {
    outputs: ["values", "indices"],
    tolerance: exact,
    cases: draw
      .record({ dtype: dtypes, rows: small(5, 0), columns: sizes, descending: draw.boolean(), layout: denseLayouts, seed: seeds })
      .map(({ dtype, rows, columns, descending, layout, seed }) => ({
        input: tensorSpec(dtype, [rows, columns], tiedValues(dtype, seed), layout),
        values: outputSpec(dtype, [rows, columns], layout),
        indices: outputSpec("int32", [rows, columns], layout),
        rows,
        columns,
        descending,
      })),
  },

  topK: {
    outputs: ["values", "indices"],
    tolerance: exact,
    cases: draw
      .record({
        dtype: dtypes,
        rows: small(5, 0),
        columns: sizes,
        share: draw.double({ min: 0, max: 1 }),
        largest: draw.boolean(),
        layout: denseLayouts,
        seed: seeds,
      })
      .map(({ dtype, rows, columns, share, largest, layout, seed }) => {
        const k = Math.max(1, Math.round(columns * share));
        return {
          input: tensorSpec(dtype, [rows, columns], tiedValues(dtype, seed), layout),
          values: outputSpec(dtype, [rows, k], layout),
          indices: outputSpec("int32", [rows, k], layout),
          rows,
          columns,
          k,
          largest,
        };
      }),
  },
};
