import { describe, expect, it } from "vitest";
import type { ReduceOperation } from "../backend.ts";
import { createReferenceBackend } from "../reference/index.ts";
import { createWasmBackend } from "./backend.ts";
import { awkwardSizes, place, reserve, someFloats, someIntegers, take } from "./device-arrays.testing.ts";

const backend = createWasmBackend();
const reference = createReferenceBackend();
const { kernels } = backend;

/** The same reduction here and on the reference device. */
function both(
  operation: ReduceOperation, dtype: "float32" | "int32" | "bool", shape: readonly number[], axes: readonly number[],
  values: ArrayLike<number>, strides?: readonly number[],
): readonly [number[], number[]] {
  const kept = shape.filter((_, axis) => !axes.includes(axis));
  const [actual, expected] = [backend, reference].map((device) => {
    const output = reserve(device, dtype, kept);
    device.kernels.reduce({ operation, input: place(device, dtype, shape, values, strides), axes, output });
    return take(device, output);
  });
  return [actual!, expected!];
}

const numeric = ["sum", "mean", "product", "maximum", "minimum"] as const;

describe("reduce", () => {
  it.each(numeric)("%s of float32 over rows, columns and everything", (operation) => {
    for (const size of awkwardSizes) {
      const cases = [
        [[size], [0]], [[3, size], [1]], [[size, 3], [0]], [[7, size], [0]], [[2, 5, size], [1]], [[2, size, 3], [0, 2]],
      ] as const;
      for (const [shape, axes] of cases) {
        // Products stay in range, close to 1.
        const values = someFloats(shape.reduce((product, n) => product * n, 1)).map((x) => (operation === "product" ? 1 + x / 100 : x));
        const [actual, expected] = both(operation, "float32", shape, axes, values);
        actual.forEach((value, i) => {
          const tolerance = 2e-6 * (Math.abs(expected[i]!) + 1) + 1e-8 * values.length;
          if (Number.isFinite(expected[i])) expect(Math.abs(value - expected[i]!)).toBeLessThanOrEqual(tolerance);
          else expect(value).toBe(expected[i]);
        });
        expect(actual).toHaveLength(expected.length);
      }
    }
  });

  it.each(numeric)("%s of int32 wraps", (operation) => {
    for (const size of awkwardSizes) {
      for (const [shape, axes] of [[[3, size], [1]], [[size, 5], [0]]] as const) {
        if (operation === "mean" && size === 0) continue;
        const values = someIntegers(shape[0] * shape[1], operation === "product" ? 5 : 1e6);
        const [actual, expected] = both(operation, "int32", shape, axes, values);
        expect(actual.map((x) => x + 0)).toEqual(expected.map((x) => x + 0));
      }
    }
  });

  it.each(["any", "all"] as const)("%s of bool", (operation) => {
    for (const size of awkwardSizes) {
      for (const [shape, axes] of [[[4, size], [1]], [[size, 70], [0]], [[2, size, 3], [1]]] as const) {
        const values = someFloats(shape.reduce((product: number, n) => product * n, 1)).map(
          (x) => Number(operation === "any" ? x > 1.8 : x > -1.8),
        );
        const [actual, expected] = both(operation, "bool", shape, axes, values);
        expect(actual).toEqual(expected);
      }
    }
  });

  it("lets NaN through maximum and minimum wherever it stands", () => {
    for (const place of [0, 1, 15, 16, 17, 62]) {
      for (const operation of ["maximum", "minimum"] as const) {
        const values = someFloats(63 * 5);
        values[place * 5] = NaN;
        expect(both(operation, "float32", [63, 5], [0], values)[0]).toEqual(both(operation, "float32", [63, 5], [0], values)[1]);
        const row = values.subarray(0, 63);
        row[place] = NaN;
        expect(both(operation, "float32", [63], [0], row)[0]).toEqual([NaN]);
      }
    }
    expect(both("maximum", "float32", [3], [0], [-Infinity, -Infinity, -Infinity])[0]).toEqual([-Infinity]);
  });

  it("does not care how the view lies in memory", () => {
    const values = someFloats(20 * 33);
    const contiguous = new Float32Array(20 * 33);
    for (let i = 0; i < 20; i++) for (let j = 0; j < 33; j++) contiguous[i * 33 + j] = values[i + j * 20]!;
    for (const axes of [[0], [1], [0, 1]]) {
      expect(both("sum", "float32", [20, 33], axes, values, [1, 20])[0]).toEqual(both("sum", "float32", [20, 33], axes, contiguous)[0]);
    }
  });

  it("sums a million numbers to the last bits", () => {
    const values = someFloats(1_000_003).map((x) => x + 2);
    const exact = values.reduce((total, x) => total + x, 0);
    expect(Math.abs(both("sum", "float32", [1_000_003], [0], values)[0][0]! / exact - 1)).toBeLessThan(2e-7);
    const columns = both("mean", "float32", [333_334, 3], [0], values.subarray(0, 333_334 * 3))[0];
    columns.forEach((mean, k) => {
      let total = 0;
      for (let i = k; i < 333_334 * 3; i += 3) total += values[i]!;
      expect(Math.abs(mean / (total / 333_334) - 1)).toBeLessThan(2e-7);
    });
  });

  it("gives the same bits however ranges are split and however many threads there are", () => {
    const together = createWasmBackend();
    together.runtime.pool.setThreadCount(3);
    const alone = createWasmBackend();
    alone.runtime.pool.setThreadCount(1);
    const values = someFloats(300_000, 1000);
    const cases = [
      [[300_000], [0]], [[300, 1000], [1]], [[300, 1000], [0]], [[1000, 300], [0]], [[100_000, 3], [0]], [[10, 1000, 30], [1]],
    ] as const;
    for (const [shape, axes] of cases) {
      for (const operation of numeric) {
        const kept = shape.filter((_, axis) => !(axes as readonly number[]).includes(axis));
        const [a, b] = [together, alone].map((device) => {
          const output = reserve(device, "float32", kept);
          device.kernels.reduce({ operation, input: place(device, "float32", shape, values), axes, output });
          return take(device, output);
        });
        expect(a, `${operation} of [${shape.join(", ")}]`).toEqual(b);
      }
    }
    together.runtime.pool.stop();
  });

  it("writes each tile alike whatever its neighbours", () => {
    const { exports, pointer } = backend.runtime;
    const input = place(backend, "float32", [3, 100, 150], someFloats(45_000));
    const results = [[9], [1, 2, 3, 6, 9], [4, 5, 9], [1, 2, 3, 4, 5, 6, 7, 8, 9]].map((ends) => {
      const output = reserve(backend, "float32", [450]);
      let begin = 0;
      for (const end of ends) {
        exports.reduceColumns(0, pointer(input), pointer(output), 100, 150, 64, 1, 4096, begin, end);
        begin = end;
      }
      return take(backend, output);
    });
    for (const result of results) expect(result).toEqual(results[0]);
  });
});

describe("argReduce", () => {
  it.each(["argmax", "argmin"] as const)("%s: the first extreme, NaN before all", (operation) => {
    for (const size of awkwardSizes.filter((n) => n > 0)) {
      for (const [outer, inner] of [[3, 1], [1, 1], [2, 5]] as const) {
        for (const dtype of ["float32", "int32"] as const) {
          const values = Array.from(someIntegers(outer * size * inner, 6));
          if (dtype === "float32" && size > 4) values[inner * 2] = values[inner * 3] = NaN;
          const [actual, expected] = [backend, reference].map((device) => {
            const output = reserve(device, "int32", [outer, inner]);
            device.kernels.argReduce({ operation, input: place(device, dtype, [outer, size, inner], values), output, outer, size, inner });
            return take(device, output);
          });
          expect(actual, `${operation} ${dtype} [${outer}, ${size}, ${inner}]`).toEqual(expected);
        }
      }
    }
  });
});

describe("cumulative", () => {
  it.each([[false, "sum"], [true, "sum"], [false, "product"], [true, "product"]] as const)("reverse %s, %s", (reverse, operation) => {
    for (const size of awkwardSizes) {
      for (const inner of [1, 3, 4, 21]) {
        for (const dtype of ["float32", "int32"] as const) {
          const values = dtype === "int32" ? someIntegers(2 * size * inner, 4) : someFloats(2 * size * inner).map(
            (x) => (operation === "product" ? 1 + x / 50 : x),
          );
          const [actual, expected] = [backend, reference].map((device) => {
            const output = reserve(device, dtype, [2, size, inner]);
            device.kernels.cumulative(
              { operation, input: place(device, dtype, [2, size, inner], values), output, outer: 2, size, inner, reverse },
            );
            return take(device, output);
          });
          if (dtype === "int32") expect(actual).toEqual(expected);
          else actual!.forEach(
            (value, i) => expect(Math.abs(value - expected![i]!)).toBeLessThanOrEqual(1e-6 * (1 + Math.abs(expected![i]!))),
          );
        }
      }
    }
  });

  it("keeps a running sum exact over a million steps", () => {
    const size = 1_000_000;
    const input = place(backend, "float32", [size], new Float32Array(size).fill(0.1));
    const output = reserve(backend, "float32", [size]);
    kernels.cumulative({ operation: "sum", input, output, outer: 1, size, inner: 1, reverse: false });
    expect(take(backend, output).at(-1)).toBe(Math.fround(Math.fround(0.1) * size));
  });
});
