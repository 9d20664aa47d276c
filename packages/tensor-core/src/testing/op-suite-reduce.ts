import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import * as indexing from "../ops/indexing.ts";
import * as reduce from "../ops/reduce.ts";
import type { Dtype } from "../tensor/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { at, build, count, permuteHost, reduceHost, type HostArray } from "./op-suite-host.ts";
import { allDtypes, between, checkOperation, checkProperty, layouts, shapes } from "./op-suite-check.ts";

export const reduceOperations: readonly string[] = [
  "sum",
  "mean",
  "product",
  "max",
  "min",
  "any",
  "all",
  "norm",
  "logSumExp",
  "variance",
  "standardDeviation",
  "argmax",
  "argmin",
  "cumsum",
  "cumprod",
  "take",
  "embedding",
  "scatterAdd",
  "takeAlongAxis",
  "flip",
  "oneHot",
  "sort",
  "argsort",
  "topK",
];

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
const meanOf = (values: readonly number[]): number => total(values) / values.length;
const varianceOf = (values: readonly number[]): number => meanOf(values.map((value) => (value - meanOf(values)) ** 2));

const formulas: Record<string, (values: readonly number[]) => number> = {
  sum: total,
  mean: meanOf,
  product: (values) => values.reduce((result, value) => result * value, 1),
  max: (values) => Math.max(...values),
  min: (values) => Math.min(...values),
  any: (values) => Number(values.some((value) => value !== 0)),
  all: (values) => Number(values.every((value) => value !== 0)),
  norm: (values) => Math.hypot(...values),
  logSumExp: (values) => Math.log(total(values.map(Math.exp))),
  variance: varianceOf,
  standardDeviation: (values) => Math.sqrt(varianceOf(values)),
};

type Reduction = (input: Tensor, axis?: number | readonly number[], options?: { keepdims?: boolean; correction?: number }) => Tensor;
const reductions = reduce as unknown as Record<string, Reduction>;

/** Result dtype of a reduction. */
function reducedDtype(name: string, dtype: Dtype): Dtype {
  if (name === "any" || name === "all") return "bool";
  if (dtype === "float32" || dtype === "float16") return dtype;
  return ["sum", "product", "max", "min"].includes(name) ? "int32" : "float32";
}

function needsElements(name: string): boolean {
  return name === "max" || name === "min";
}

/** All axes, or some of them, now and then counted from the end. */
function drawnAxes(rank: number): fc.Arbitrary<number | readonly number[] | undefined> {
  if (rank === 0) return fc.constantFrom(undefined, []);
  const axis = fc.integer({ min: -rank, max: rank - 1 });
  const several = fc
    .subarray(Array.from({ length: rank }, (_, i) => i))
    .chain((axes) => fc.nat(7).map((signs) => axes.map((i) => ((signs >> i) & 1 ? i - rank : i))));
  return fc.oneof(fc.constant(undefined), axis, several);
}

function asList(axes: number | readonly number[] | undefined): readonly number[] | undefined {
  return typeof axes === "number" ? [axes] : axes;
}

/** Rows of the last axis, each with the order that sorts it, stably. */
function orderRows(array: HostArray, descending: boolean): HostArray {
  const columns = array.shape.at(-1)!;
  const rows = columns === 0 ? 0 : count(array.shape) / columns;
  const values = Array.from({ length: rows }, (_, row) => {
    const part = array.values.slice(row * columns, (row + 1) * columns);
    return part.map((_, i) => i).sort((i, j) => (descending ? part[j]! - part[i]! : part[i]! - part[j]!) || i - j);
  });
  return { shape: array.shape, values: values.flat() };
}

function takeRows(array: HostArray, order: HostArray): HostArray {
  return build(order.shape, (index, position) => at(array, [...index.slice(0, -1), order.values[position]!]));
}

/** Reductions, sorting and gathering. */
export function reduceSuite(device: DeviceName): void {
  const drawn = shapes().chain((shape) =>
    fc.record({ shape: fc.constant(shape), layout: layouts, axes: drawnAxes(shape.length), keepdims: fc.boolean() }),
  );

  describe("reductions", () => {
    it.each(Object.entries(formulas))("%s", async (name, formula) => {
      await checkProperty(
        device,
        drawn,
        (input, { shape, layout, axes, keepdims }) => {
          const usable = needsElements(name) ? shape.map((length) => Math.max(1, length)) : shape;
          const x = input("float32", usable, { layout, value: name === "product" ? between(0.5, 1.5)(2) : between(-3, 3)(2) });
          const expected = reduceHost(x.host, asList(axes), keepdims, formula);
          return {
            run: () => reductions[name]!(x.tensor, axes, { keepdims }),
            expected,
            dtype: reducedDtype(name, "float32"),
            tolerance: 10,
          };
        },
        60,
      );
      for (const dtype of allDtypes) {
        await checkOperation(device, (input) => {
          const x = input(dtype, [2, 3, 3]);
          return {
            run: () => reductions[name]!(x.tensor, -2),
            expected: reduceHost(x.host, [-2], false, formula),
            dtype: reducedDtype(name, dtype),
            tolerance: 5,
          };
        });
      }
    });

    it("divide by count - correction", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [4, 5]);
        const unbiased = (values: readonly number[]): number => (varianceOf(values) * values.length) / (values.length - 1);
        return {
          run: () => [
            reduce.variance(x.tensor, 1, { correction: 1 }),
            reduce.standardDeviation(x.tensor, undefined, { correction: 1, keepdims: true }),
          ],
          expected: [
            reduceHost(x.host, [1], false, unbiased),
            reduceHost(x.host, undefined, true, (values) => Math.sqrt(unbiased(values))),
          ],
          dtype: ["float32", "float32"],
          tolerance: 4,
        };
      });
    });

    it("do not overflow in float16 on the way", async () => {
      await checkOperation(device, (input) => {
        const x = input("float16", [4], { value: () => 300 });
        const y = input("float16", [4], { value: (i) => (i < 2 ? 1000 : 2000) });
        return {
          run: () => [reduce.norm(x.tensor), reduce.standardDeviation(y.tensor), reduce.mean(y.tensor), reduce.logSumExp(y.tensor)],
          expected: [600, 500, 1500, 2000 + Math.log(2)].map((value) => ({ shape: [], values: [value] })),
          dtype: ["float16", "float16", "float16", "float16"],
        };
      });
    });

    it("let NaN win", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [2, 3], { value: (i) => (i === 1 ? NaN : i) });
        const whole = (values: number[]): HostArray => ({ shape: [2], values });
        return {
          run: () => [reduce.max(x.tensor, 1), reduce.min(x.tensor, 1), reduce.argmax(x.tensor, 1), reduce.argmin(x.tensor, 1)],
          expected: [whole([NaN, 5]), whole([NaN, 3]), whole([1, 2]), whole([1, 0])],
          dtype: ["float32", "float32", "int32", "int32"],
        };
      });
    });

    it("logSumExp survives what exp does not", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [4, 2], { value: (i) => [1000, 1000, -1000, -1001, -Infinity, -Infinity, Infinity, 0][i]! });
        return {
          run: () => reduce.logSumExp(x.tensor, 1),
          expected: { shape: [4], values: [1000 + Math.log(2), -1000 + Math.log(1 + Math.exp(-1)), -Infinity, Infinity] },
        };
      });
    });

    it("argmax and argmin", async () => {
      await checkProperty(device, drawn, (input, { shape, layout, axes }) => {
        const usable = shape.map((length) => Math.max(1, length));
        const dtype = usable.length === 1 ? "int32" : "float32";
        const x = input(dtype, usable, { layout, value: (i) => (i * 7) % 5 });
        const axis = typeof axes === "number" ? axes : undefined;
        const first =
          (pick: (...values: number[]) => number) =>
          (values: readonly number[]): number =>
            values.indexOf(pick(...values));
        return {
          run: () => [reduce.argmax(x.tensor, axis), reduce.argmin(x.tensor, axis)],
          expected: [reduceHost(x.host, asList(axis), false, first(Math.max)), reduceHost(x.host, asList(axis), false, first(Math.min))],
          dtype: ["int32", "int32"],
          tolerance: 0,
        };
      });
    });

    it("cumprod", async () => {
      const view = fc.record({
        shape: shapes(1, 3),
        layout: layouts,
        axis: fc.integer({ min: -1, max: 0 }),
        dtype: fc.constantFrom("float32", "float16", "int32"),
      });
      await checkProperty(device, view, (input, { shape, layout, axis, dtype }) => {
        const x = input(dtype, shape, { layout, value: (i) => [1, -1, 2, 0.5, 1, 1][i % 6]! * (dtype === "int32" ? 2 : 1) });
        const position = axis < 0 ? shape.length - 1 : 0;
        const expected = build(shape, (index) => {
          let product = 1;
          for (let i = 0; i <= index[position]!; i++) product *= at(x.host, index.with(position, i));
          return dtype === "int32" ? Number(BigInt.asIntN(32, BigInt(product))) : product;
        });
        return { run: () => reduce.cumprod(x.tensor, axis), expected, dtype };
      });
    });

    it("cumsum", async () => {
      const view = fc.record({
        shape: shapes(1, 3),
        layout: layouts,
        axis: fc.integer({ min: -1, max: 0 }),
        dtype: fc.constantFrom(...allDtypes),
      });
      await checkProperty(
        device,
        view,
        (input, { shape, layout, axis, dtype }) => {
          const x = input(dtype, shape, { layout });
          const position = axis < 0 ? shape.length - 1 : 0;
          const running = (reverse: boolean): HostArray =>
            build(shape, (index) => {
              let sum = 0;
              for (let i = reverse ? index[position]! : 0; reverse ? i < shape[position]! : i <= index[position]!; i++)
                sum += at(x.host, index.with(position, i));
              return sum;
            });
          const result = dtype === "float32" || dtype === "float16" ? dtype : "int32";
          return {
            run: () => [reduce.cumsum(x.tensor, axis), reduce.cumsum(x.tensor, axis, { reverse: true })],
            expected: [running(false), running(true)],
            dtype: [result, result],
            tolerance: 5,
          };
        },
        40,
      );
    });
  });

  describe("sorting", () => {
    const rows = fc.record({
      shape: shapes(1, 3),
      layout: layouts,
      dtype: fc.constantFrom(...allDtypes),
      descending: fc.boolean(),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    });

    it("sort, argsort and topK", async () => {
      await checkProperty(
        device,
        rows,
        (input, { shape, layout, dtype, descending, part }) => {
          const x = input(dtype, shape, { layout });
          const order = orderRows(x.host, descending);
          const k = Math.round(part * shape.at(-1)!);
          const top = { shape: shape.with(-1, k), values: order.values.filter((_, i) => i % shape.at(-1)! < k) };
          return {
            run: () => {
              const sorted = indexing.sort(x.tensor, { descending });
              const best = indexing.topK(x.tensor, k, { largest: descending });
              return [sorted.values, sorted.indices, indexing.argsort(x.tensor, { descending }), best.values, best.indices];
            },
            expected: [takeRows(x.host, order), order, order, takeRows(x.host, top), top],
            dtype: [dtype, "int32", "int32", dtype, "int32"],
            tolerance: 0,
          };
        },
        60,
      );
    });

    it("puts NaN last", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [4], { value: (i) => [2, NaN, 1, 3][i]! });
        return {
          run: () => Object.values(indexing.sort(x.tensor)),
          expected: [
            { shape: [4], values: [1, 2, 3, NaN] },
            { shape: [4], values: [2, 0, 3, 1] },
          ],
          dtype: ["float32", "int32"],
        };
      });
    });
  });

  describe("gathering", () => {
    const gathered = fc.record({
      shape: shapes(1, 3),
      layout: layouts,
      indexShape: shapes(0, 2, 20),
      indexLayout: layouts,
      axis: fc.integer({ min: -1, max: 0 }),
      dtype: fc.constantFrom(...allDtypes),
    });

    it("take and embedding", async () => {
      await checkProperty(
        device,
        gathered,
        (input, { shape, layout, indexShape, indexLayout, axis, dtype }) => {
          const usable = shape.map((length) => Math.max(1, length));
          const position = axis < 0 ? shape.length - 1 : 0;
          const x = input(dtype, usable, { layout });
          const indices = input("int32", indexShape, { layout: indexLayout, value: (i) => (i * 5) % usable[position]! });
          const expected = build([...usable.slice(0, position), ...indexShape, ...usable.slice(position + 1)], (index) => {
            const inner = index.slice(position, position + indexShape.length);
            return at(x.host, [...index.slice(0, position), at(indices.host, inner), ...index.slice(position + indexShape.length)]);
          });
          const table = usable.length === 2 && position === 0;
          return {
            run: () => (table ? indexing.embedding(x.tensor, indices.tensor) : indexing.take(x.tensor, indices.tensor, axis)),
            expected,
            dtype,
            tolerance: 0,
          };
        },
        60,
      );
    });

    it("give zeros for indices outside", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [3, 2], { value: (i) => i + 1 });
        const indices = input("int32", [4], { value: (i) => [2, -1, 3, 0][i]! });
        return { run: () => indexing.take(x.tensor, indices.tensor), expected: { shape: [4, 2], values: [5, 6, 0, 0, 0, 0, 1, 2] } };
      });
    });

    it("scatterAdd", async () => {
      await checkProperty(
        device,
        fc.record({
          shape: shapes(1, 3),
          layouts: fc.tuple(layouts, layouts),
          axis: fc.integer({ min: -1, max: 0 }),
          number: fc.nat(5),
          dtype: fc.constantFrom<Dtype>("float32", "int32"),
        }),
        (input, { shape, layouts: [layoutX, layoutU], axis, number, dtype }) => {
          const usable = shape.map((length) => Math.max(1, length));
          const position = axis < 0 ? shape.length - 1 : 0;
          const x = input(dtype, usable, { layout: layoutX });
          const indices = input("uint8", [number], { value: (i) => (i * 3) % usable[position]! });
          const updates = input(dtype, usable.with(position, number), { layout: layoutU });
          const expected = build(usable, (index) => {
            let sum = at(x.host, index);
            for (let i = 0; i < number; i++)
              if (indices.host.values[i] === index[position]) sum += at(updates.host, index.with(position, i));
            return sum;
          });
          return { run: () => indexing.scatterAdd(x.tensor, indices.tensor, updates.tensor, axis), expected, dtype };
        },
        40,
      );
    });

    it("takeAlongAxis", async () => {
      await checkProperty(
        device,
        fc.record({
          shape: shapes(1, 3),
          layouts: fc.tuple(layouts, layouts),
          axis: fc.integer({ min: -1, max: 0 }),
          number: fc.nat(4),
          dtype: fc.constantFrom(...allDtypes),
        }),
        (input, { shape, layouts: [layoutX, layoutI], axis, number, dtype }) => {
          const usable = shape.map((length) => Math.max(1, length));
          const position = axis < 0 ? shape.length - 1 : 0;
          const x = input(dtype, usable, { layout: layoutX });
          const indices = input("int32", usable.with(position, number), { layout: layoutI, value: (i) => (i * 7) % usable[position]! });
          const expected = build(indices.host.shape, (index, place) => at(x.host, index.with(position, indices.host.values[place]!)));
          return { run: () => indexing.takeAlongAxis(x.tensor, indices.tensor, axis), expected, dtype, tolerance: 0 };
        },
        40,
      );
    });

    it("flip and oneHot", async () => {
      await checkProperty(device, gathered, (input, { shape, layout, axis, dtype }) => {
        const x = input(dtype, shape, { layout });
        const position = axis < 0 ? shape.length - 1 : 0;
        const ids = input("int32", shape, { layout, value: (i) => i % 4 });
        return {
          run: () => [indexing.flip(x.tensor, axis), indexing.oneHot(ids.tensor, 3)],
          expected: [
            build(shape, (index) => at(x.host, index.with(position, shape[position]! - 1 - index[position]!))),
            build([...shape, 3], (index) => Number(at(ids.host, index.slice(0, -1)) === index.at(-1))),
          ],
          dtype: [dtype, "float32"],
          tolerance: 0,
        };
      });
    });

    it("undo sorting", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [3, 5]);
        expect(permuteHost(permuteHost(x.host, [1, 0]), [1, 0])).toEqual(x.host);
        return {
          run: () => {
            const { values, indices } = indexing.sort(x.tensor);
            using back = indexing.argsort(indices);
            const restored = indexing.takeAlongAxis(values, back);
            values.dispose();
            indices.dispose();
            return restored;
          },
          expected: x.host,
          tolerance: 0,
        };
      });
    });
  });
}
