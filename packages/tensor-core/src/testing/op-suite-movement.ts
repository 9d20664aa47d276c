import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import * as creation from "../ops/creation.ts";
import * as join from "../ops/join.ts";
import * as materialize from "../ops/materialize.ts";
import { tril, triu } from "../ops/triangle.ts";
import * as views from "../ops/views.ts";
import { promoteDtypes } from "../tensor/dtype.ts";
import { at, build, count, permuteHost, reshapeHost, type HostArray } from "./op-suite-host.ts";
import { allDtypes, checkOperation, checkProperty, expectNoLeaks, layouts, read, shapes } from "./op-suite-check.ts";

export const movementOperations: readonly string[] = [
  "reshape",
  "flatten",
  "permute",
  "transpose",
  "expandDims",
  "squeeze",
  "broadcastTo",
  "tril",
  "triu",
  "slice",
  "assign",
  "split",
  "diagonal",
  "concatenate",
  "stack",
  "unstack",
  "pad",
  "tile",
  "repeat",
];

/** NumPy's basic indexing on a host array. */
function sliceHost(array: HostArray, index: readonly views.SliceIndex[]): HostArray {
  const axes = array.shape.map((length, axis) => {
    const part = index[axis] ?? null;
    if (typeof part === "number") return { positions: [part < 0 ? part + length : part], kept: false };
    const [from, to, step = 1] = part ?? [];
    const bound = (value: number): number => Math.min(length, Math.max(0, value < 0 ? value + length : value));
    const positions: number[] = [];
    for (let i = bound(from ?? 0); i < bound(to ?? length); i += step) positions.push(i);
    return { positions, kept: true };
  });
  const shape = axes.filter(({ kept }) => kept).map(({ positions }) => positions.length);
  return build(shape, (place) => {
    let next = 0;
    return at(
      array,
      axes.map(({ positions, kept }) => positions[kept ? place[next++]! : 0]!),
    );
  });
}

const drawnView = fc.record({ shape: shapes(), layout: layouts, dtype: fc.constantFrom(...allDtypes) });

function drawnSlice(length: number): fc.Arbitrary<views.SliceIndex> {
  const bound = fc.option(fc.integer({ min: -length - 2, max: length + 2 }));
  const range = fc.tuple(bound, bound, fc.integer({ min: 1, max: 3 }));
  const choices: fc.Arbitrary<views.SliceIndex>[] = [range, range, fc.constant(null)];
  if (length > 0) choices.push(fc.integer({ min: -length, max: length - 1 }));
  return fc.oneof(...choices);
}

/** Views and joins. */
export function movementSuite(device: DeviceName): void {
  describe("views", () => {
    const rank2to3 = fc.record({ shape: shapes(2, 3), layout: layouts, dtype: fc.constantFrom(...allDtypes) });

    it("reshape", async () => {
      await checkProperty(
        device,
        fc.record({ view: drawnView, target: fc.nat(5) }),
        (input, { view: { shape, layout, dtype }, target }) => {
          const x = input(dtype, shape, { layout });
          const size = count(shape);
          const targets = [[size], [1, size], [size, 1, 1], shape, [...shape, 1], size % 2 === 0 ? [2, size / 2] : [size]];
          const goal = targets[target]!;
          const open = size > 0 ? goal.map((length, axis) => (axis === goal.length - 1 ? -1 : length)) : goal;
          return {
            run: () => [views.reshape(x.tensor, goal), views.reshape(x.tensor, open), views.flatten(x.tensor)],
            expected: [reshapeHost(x.host, goal), reshapeHost(x.host, goal), reshapeHost(x.host, [size])],
            dtype: [dtype, dtype, dtype],
            tolerance: 0,
          };
        },
        60,
      );
    });

    it("shares memory where it can", async () => {
      await expectNoLeaks(device, async () => {
        const x = creation.tensor(
          [
            [1, 2, 3],
            [4, 5, 6],
          ],
          { device },
        );
        const all = [
          views.reshape(x, [3, 2]),
          views.transpose(x),
          views.slice(x, null, [1]),
          views.expandDims(x, 0),
          views.broadcastTo(x, [2, 2, 3]),
          views.diagonal(x),
        ];
        expect(all.every((view) => view.storage === x.storage)).toBe(true);
        const strided = views.reshape(all[1]!, [6]);
        expect(strided.storage === x.storage).toBe(false);
        x.dispose();
        // The views keep the memory alive.
        expect((await read(all[1]!)).values).toEqual([1, 4, 2, 5, 3, 6]);
        for (const view of [...all, strided]) view.dispose();
      });
    });

    it("permute and transpose", async () => {
      await checkProperty(
        device,
        fc.record({ view: rank2to3, order: fc.shuffledSubarray([0, 1, 2], { minLength: 3 }) }),
        (input, { view: { shape, layout, dtype }, order }) => {
          const x = input(dtype, shape, { layout });
          const axes = order.filter((axis) => axis < shape.length);
          const reversed = shape.map((_, axis) => shape.length - 1 - axis);
          const swapped = shape.map((_, axis) => (axis >= shape.length - 2 ? 2 * shape.length - 3 - axis : axis));
          return {
            run: () => [
              views.permute(x.tensor, axes),
              views.permute(
                x.tensor,
                axes.map((axis) => axis - shape.length),
              ),
              views.permute(x.tensor),
              views.transpose(x.tensor),
              views.transpose(x.tensor, 0, -1),
            ],
            expected: [
              permuteHost(x.host, axes),
              permuteHost(x.host, axes),
              permuteHost(x.host, reversed),
              permuteHost(x.host, swapped),
              permuteHost(
                x.host,
                shape.map((_, axis) => (axis === 0 ? shape.length - 1 : axis === shape.length - 1 ? 0 : axis)),
              ),
            ],
            dtype: Array.from({ length: 5 }, () => dtype),
            tolerance: 0,
          };
        },
      );
    });

    it("expandDims and squeeze", async () => {
      await checkProperty(device, fc.record({ view: drawnView, axis: fc.nat(3) }), (input, { view: { shape, layout, dtype }, axis }) => {
        const x = input(dtype, shape, { layout });
        const position = axis % (shape.length + 1);
        const wide = shape.toSpliced(position, 0, 1);
        return {
          run: () => {
            const expanded = views.expandDims(x.tensor, position);
            return [
              expanded,
              views.expandDims(x.tensor, position - shape.length - 1),
              views.squeeze(expanded, position),
              views.squeeze(expanded),
            ];
          },
          expected: [
            reshapeHost(x.host, wide),
            reshapeHost(x.host, wide),
            x.host,
            reshapeHost(
              x.host,
              shape.filter((length) => length !== 1),
            ),
          ],
          dtype: [dtype, dtype, dtype, dtype],
          tolerance: 0,
        };
      });
    });

    it("tril and triu", async () => {
      const drawn = fc.record({
        shape: shapes(2, 4),
        layout: layouts,
        dtype: fc.constantFrom(...allDtypes),
        diagonal: fc.integer({ min: -3, max: 3 }),
      });
      await checkProperty(device, drawn, (input, { shape, layout, dtype, diagonal }) => {
        const x = input(dtype, shape, { layout });
        const kept = (keeps: (right: number) => boolean): HostArray =>
          build(shape, (index) => (keeps(index.at(-1)! - index.at(-2)! - diagonal) ? at(x.host, index) : 0));
        return {
          run: () => [tril(x.tensor, diagonal), triu(x.tensor, diagonal)],
          expected: [kept((right) => right <= 0), kept((right) => right >= 0)],
          dtype: [dtype, dtype],
          tolerance: 0,
        };
      });
    });

    it("broadcastTo", async () => {
      await checkProperty(
        device,
        fc.record({ view: drawnView, lead: fc.constantFrom([], [2], [0], [1, 3]), ones: fc.nat(7) }),
        (input, { view: { shape, layout, dtype }, lead, ones }) => {
          const narrow = shape.map((length, axis) => ((ones >> axis) & 1 ? 1 : length));
          const x = input(dtype, narrow, { layout });
          const target = [...lead, ...shape];
          return {
            run: () => views.broadcastTo(x.tensor, target),
            expected: build(target, (index) => at(x.host, index)),
            dtype,
            tolerance: 0,
          };
        },
      );
    });

    it("slice", async () => {
      const drawn = drawnView.chain((view) => fc.tuple(fc.constant(view), fc.tuple(...view.shape.map(drawnSlice)), fc.nat(3)));
      await checkProperty(
        device,
        drawn,
        (input, [{ shape, layout, dtype }, index, given]) => {
          const x = input(dtype, shape, { layout });
          const parts = index.slice(0, Math.max(0, shape.length - (given === 3 ? 1 : 0)));
          return { run: () => views.slice(x.tensor, ...parts), expected: sliceHost(x.host, parts), dtype, tolerance: 0 };
        },
        120,
      );
    });

    it("assign", async () => {
      const drawn = fc
        .record({ shape: shapes(1, 3), layout: layouts })
        .chain((view) => fc.tuple(fc.constant(view), fc.tuple(...view.shape.map(drawnSlice)), fc.boolean()));
      await checkProperty(
        device,
        drawn,
        (input, [{ shape, layout }, index, scalar]) => {
          const x = input("float32", shape, { layout: { ...layout, repeated: 0 } });
          const part = sliceHost(x.host, index);
          const value = input(scalar ? "int32" : "float32", scalar ? [] : part.shape, { layout, seed: 77 });
          // The same writes by position: which elements does the index name?
          const named = sliceHost({ shape: x.host.shape, values: x.host.values.map((_, i) => i) }, index).values;
          const expected = [...x.host.values];
          build(part.shape, (place, position) => (expected[named[position]!] = at(value.host, place)));
          return {
            run: () => {
              views.assign(x.tensor as never, value.tensor as never, ...index);
              return materialize.clone(x.tensor);
            },
            expected: { shape, values: expected },
            tolerance: 0,
          };
        },
        80,
      );
    });

    it("assign reads the old values where target and value overlap", async () => {
      await checkOperation(device, (input) => {
        const x = input("float32", [5], { value: (i) => i });
        return {
          run: () => {
            using head = views.slice(x.tensor, [0, 4]);
            views.assign(x.tensor as never, head as never, [1, 5]);
            return materialize.clone(x.tensor);
          },
          expected: { shape: [5], values: [0, 0, 1, 2, 3] },
        };
      });
    });

    it("split and unstack", async () => {
      await checkProperty(
        device,
        fc.record({ view: rank2to3, axis: fc.integer({ min: -2, max: 1 }) }),
        (input, { view: { shape, layout, dtype }, axis }) => {
          const x = input(dtype, shape, { layout });
          const position = axis < 0 ? axis + shape.length : axis;
          const length = shape[position]!;
          const parts = [Math.floor(length / 2), 0, length - Math.floor(length / 2)];
          const lead = Array.from({ length: position }, () => null);
          let start = 0;
          const pieces = parts.map((part) => sliceHost(x.host, [...lead, [start, (start += part)]]));
          const rows = Array.from({ length }, (_, i) => sliceHost(x.host, [...lead, i]));
          const outputs = [
            ...views.split(x.tensor, parts, axis),
            ...join.unstack(x.tensor, axis),
            ...(length > 0 ? views.split(x.tensor, length, axis) : []),
          ];
          const singles = Array.from({ length }, (_, i) => sliceHost(x.host, [...lead, [i, i + 1]]));
          return { run: () => outputs, expected: [...pieces, ...rows, ...singles], dtype: outputs.map(() => dtype), tolerance: 0 };
        },
      );
    });

    it("diagonal", async () => {
      await checkProperty(device, rank2to3, (input, { shape, layout, dtype }) => {
        const x = input(dtype, shape, { layout });
        const lead = shape.slice(0, -2);
        const expected = build([...lead, Math.min(...shape.slice(-2))], (index) => at(x.host, [...index, index.at(-1)!]));
        return { run: () => views.diagonal(x.tensor), expected, dtype, tolerance: 0 };
      });
    });
  });

  describe("joins", () => {
    it("concatenate and stack, with dtypes that meet", async () => {
      const drawn = fc.record({
        shape: shapes(1, 3),
        layouts: fc.tuple(layouts, layouts),
        dtypes: fc.tuple(fc.constantFrom(...allDtypes), fc.constantFrom(...allDtypes)),
        axis: fc.integer({ min: -1, max: 0 }),
        length: fc.nat(3),
      });
      await checkProperty(
        device,
        drawn,
        (input, { shape, layouts: [layoutA, layoutB], dtypes: [dtypeA, dtypeB], axis, length }) => {
          const position = axis < 0 ? shape.length - 1 : 0;
          const a = input(dtypeA, shape, { layout: layoutA });
          const b = input(dtypeB, shape.with(position, length), { layout: layoutB });
          const c = input(dtypeB, shape, { layout: layoutB });
          const dtype = promoteDtypes(dtypeA, dtypeB);
          const whole = shape.with(position, shape[position]! + length);
          const joined = build(whole, (index) =>
            index[position]! < shape[position]!
              ? at(a.host, index)
              : atExact(b.host, index.with(position, index[position]! - shape[position]!)),
          );
          const place = axis < 0 ? shape.length : 0;
          const stacked = build(shape.toSpliced(place, 0, 2), (index) =>
            at(index[place] === 0 ? a.host : c.host, index.toSpliced(place, 1)),
          );
          return {
            run: () => [join.concatenate([a.tensor, b.tensor], axis), join.stack([a.tensor, c.tensor], axis)],
            expected: [joined, stacked],
            dtype: [dtype, dtype],
            tolerance: 0,
          };
        },
        60,
      );
    });

    it("pad", async () => {
      await checkProperty(
        device,
        fc.record({ view: drawnView, amounts: fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: 3, maxLength: 3 }) }),
        (input, { view: { shape, layout, dtype }, amounts }) => {
          const x = input(dtype, shape, { layout });
          const around = amounts.slice(0, shape.length);
          const expected = build(
            shape.map((length, axis) => length + around[axis]![0] + around[axis]![1]),
            (index) => {
              const inside = index.map((i, axis) => i - around[axis]![0]);
              return inside.every((i, axis) => i >= 0 && i < shape[axis]!) ? atExact(x.host, inside) : 1;
            },
          );
          return { run: () => join.pad(x.tensor, around, 1), expected, dtype, tolerance: 0 };
        },
      );
    });

    it("tile and repeat", async () => {
      await checkProperty(
        device,
        fc.record({ view: drawnView, times: fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }) }),
        (input, { view: { shape, layout, dtype }, times }) => {
          const x = input(dtype, shape, { layout });
          const counts = times.slice(0, shape.length);
          const tiled = build(
            shape.map((length, axis) => length * counts[axis]!),
            (index) =>
              atExact(
                x.host,
                index.map((i, axis) => i % shape[axis]!),
              ),
          );
          if (shape.length === 0) return { run: () => join.tile(x.tensor, counts), expected: tiled, dtype, tolerance: 0 };
          const repeated = build(shape.with(-1, shape.at(-1)! * times[0]!), (index) =>
            atExact(x.host, index.with(-1, Math.floor(index.at(-1)! / times[0]!))),
          );
          return {
            run: () => [join.tile(x.tensor, counts), join.repeat(x.tensor, times[0]!, -1)],
            expected: [tiled, repeated],
            dtype: [dtype, dtype],
            tolerance: 0,
          };
        },
      );
    });
  });
}

/** As `at`, for an index that is exactly the array's own. */
function atExact(array: HostArray, index: readonly number[]): number {
  return array.values[index.reduce((position, i, axis) => position * array.shape[axis]! + i, 0)]!;
}
