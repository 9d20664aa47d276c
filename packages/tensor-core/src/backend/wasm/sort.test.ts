import { describe, expect, it } from "vitest";
import { createReferenceBackend } from "../reference/index.ts";
import { createWasmBackend } from "./backend.ts";
import { awkwardSizes, place, reserve, someFloats, someIntegers, specialFloats, take } from "./device-arrays.testing.ts";

const backend = createWasmBackend();
const reference = createReferenceBackend();

function sorted(
  device: typeof backend | typeof reference, dtype: "float32" | "int32", rows: number, columns: number, values: ArrayLike<number>,
  descending: boolean,
): number[][] {
  const outputs = [reserve(device, dtype, [rows, columns]), reserve(device, "int32", [rows, columns])] as const;
  device.kernels.sort(
    { input: place(device, dtype, [rows, columns], values), values: outputs[0], indices: outputs[1], rows, columns, descending },
  );
  return outputs.map((view) => take(device, view));
}

function best(
  device: typeof backend | typeof reference, dtype: "float32" | "int32", rows: number, columns: number, k: number,
  values: ArrayLike<number>, largest: boolean,
): number[][] {
  const outputs = [reserve(device, dtype, [rows, k]), reserve(device, "int32", [rows, k])] as const;
  device.kernels.topK(
    { input: place(device, dtype, [rows, columns], values), values: outputs[0], indices: outputs[1], rows, columns, k, largest },
  );
  return outputs.map((view) => take(device, view));
}

describe.each([false, true])("descending %s", (descending) => {
  it.each([...awkwardSizes, 48, 49, 5000])("sorts rows of %i with many ties, stably", (columns) => {
    for (const rows of [1, 3]) {
      const ties = someIntegers(rows * columns, 9);
      const special = Array.from({ length: rows * columns }, (_, i) => specialFloats[(i * 5) % specialFloats.length]!);
      for (const values of [ties, special, someFloats(rows * columns, 1e30)]) {
        expect(sorted(backend, "float32", rows, columns, values, descending)).toEqual(
          sorted(reference, "float32", rows, columns, values, descending),
        );
      }
      const integers = someIntegers(rows * columns, 2 ** 31 - 1);
      expect(sorted(backend, "int32", rows, columns, integers, descending)).toEqual(
        sorted(reference, "int32", rows, columns, integers, descending),
      );
    }
  });

  it.each(
    [[10, 3], [1000, 1], [1000, 50], [1000, 128], [1000, 129], [1000, 1000], [64, 64]],
  )("finds the best of rows of %i, k = %i", (columns, k) => {
    const rising = Float32Array.from({ length: 2 * columns }, (_, i) => i);
    const special = Array.from({ length: 2 * columns }, (_, i) => specialFloats[(i * 5) % specialFloats.length]!);
    for (const values of [someIntegers(2 * columns, 20), special, rising, rising.toReversed()]) {
      expect(best(backend, "float32", 2, columns, k, values, descending)).toEqual(
        best(reference, "float32", 2, columns, k, values, descending),
      );
    }
  });
});

describe("long rows", () => {
  it("sorts a row that is too long for pooled scratch memory", () => {
    const values = someFloats(100_000);
    const [ordered, indices] = sorted(backend, "float32", 1, 100_000, values, false);
    expect(ordered).toEqual(Array.from(values.toSorted()));
    expect(indices!.every((index, i) => values[index] === ordered![i])).toBe(true);
  });
});
