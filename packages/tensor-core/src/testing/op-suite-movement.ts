import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import * as creation from "../ops/creation.ts";
import * as join from "../ops/join.ts";
import * as materialize from "../ops/materialize.ts";
import * as views from "../ops/views.ts";
import { itemSize, promoteDtypes, type Dtype } from "../tensor/dtype.ts";
import { at, build, count, permuteHost, reshapeHost, zip, type HostArray } from "./op-suite-host.ts";
import { allDtypes, checkOperation, checkProperty, dense, expectNoLeaks, fillerOf, layouts, place, read, roundToFloat16, shapes } from "./op-suite-check.ts";

export const movementOperations: readonly string[] = [
  "tensor", "zeros", "ones", "full", "zerosLike", "onesLike", "fullLike", "arange", "linspace", "eye",
  "cast", "clone", "contiguous", "to",
  "reshape", "flatten", "permute", "transpose", "expandDims", "squeeze", "broadcastTo", "slice", "assign", "split", "diagonal",
  "concatenate", "stack", "unstack", "pad", "tile", "repeat",
];

/** What a value becomes in a dtype. */
function converted(value: number, dtype: Dtype): number {
  const saturate = (low: number, high: number): number => (Number.isNaN(value) ? 0 : Math.min(high, Math.max(low, Math.trunc(value))));
  switch (dtype) {
    case "float32":
      return Math.fround(value);
    case "float16":
      return roundToFloat16(value);
    case "int32":
      return saturate(-(2 ** 31), 2 ** 31 - 1);
    case "uint8":
      return saturate(0, 255);
    case "int8":
      return saturate(-128, 127);
    case "bool":
      return Number(value !== 0);
  }
}

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
    return at(array, axes.map(({ positions, kept }) => positions[kept ? place[next++]! : 0]!));
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

/** Creation, views, copies and joins. */
export function movementSuite(device: DeviceName): void {
  describe("creation", () => {
    it("makes tensors of nested arrays, typed arrays and booleans", async () => {
      await checkOperation(device, () => ({
        run: () => [
          creation.tensor([[1, 2, 3], [4, 5, 6]], { device }),
          creation.tensor(7, { device }),
          creation.tensor([], { device }),
          creation.tensor([[], []], { device }),
          creation.tensor([true, false], { device }),
          creation.tensor(new Int32Array([1, -2, 3, 4]), [2, 2], { device }),
          creation.tensor(new Uint8Array([0, 255]), { device }),
          creation.tensor(new Int8Array([-128, 127]), { device }),
          creation.tensor(new Uint16Array([0x3c00, 0xc000, 0x7bff, 0x0001]), { device }),
          creation.tensor(new Float32Array([1.5, 2.5]), [2, 1], { dtype: "float16", device }),
        ],
        expected: [
          { shape: [2, 3], values: [1, 2, 3, 4, 5, 6] },
          { shape: [], values: [7] },
          { shape: [0], values: [] },
          { shape: [2, 0], values: [] },
          { shape: [2], values: [1, 0] },
          { shape: [2, 2], values: [1, -2, 3, 4] },
          { shape: [2], values: [0, 255] },
          { shape: [2], values: [-128, 127] },
          { shape: [4], values: [1, -2, 65504, 2 ** -24] },
          { shape: [2, 1], values: [1.5, 2.5] },
        ],
        dtype: ["float32", "float32", "float32", "float32", "bool", "int32", "uint8", "int8", "float16", "float16"],
        tolerance: 0,
      }));
    });

    it.each(allDtypes)("converts data to %s as cast does", async (dtype) => {
      const values = [0, 1.9, -1.9, 300, -300, 3e9, -3e9, 0.25, NaN];
      const data = dtype === "float32" || dtype === "float16" ? values.slice(0, 5) : values;
      await checkOperation(device, (input) => {
        const source = input("float32", [data.length], { value: (i) => data[i]! });
        const expected = { shape: [data.length], values: data.map((value) => converted(value, dtype)) };
        return { run: () => [creation.tensor(data, { dtype, device }), materialize.cast(source.tensor, dtype)], expected: [expected, expected], dtype: [dtype, dtype], tolerance: 0 };
      });
    });

    it("keeps its own copy of shape and data", async () => {
      const shape = [2, 2];
      const data = new Float32Array([1, 2, 3, 4]);
      await checkOperation(device, () => ({
        run: () => {
          const made = [creation.tensor(data, shape, { device }), creation.zeros(shape, { device })];
          shape[0] = 9;
          data[0] = 9;
          return made;
        },
        expected: [{ shape: [2, 2], values: [1, 2, 3, 4] }, { shape: [2, 2], values: [0, 0, 0, 0] }],
        dtype: ["float32", "float32"],
      }));
    });

    it.each(allDtypes)("fills %s", async (dtype) => {
      await checkOperation(device, (input) => {
        const like = input(dtype, [3, 2], { layout: { ...dense, order: [1, 0] } });
        const filled = (shape: readonly number[], value: number): HostArray => build(shape, () => value);
        return {
          run: () => [
            creation.zeros([2, 3], { dtype, device }), creation.ones([5], { dtype, device }), creation.full([0, 2], 1, { dtype, device }),
            creation.zerosLike(like.tensor), creation.onesLike(like.tensor), creation.fullLike(like.tensor, 1), creation.eye(2, 3, { dtype, device }),
          ],
          expected: [filled([2, 3], 0), filled([5], 1), filled([0, 2], 1), filled([3, 2], 0), filled([3, 2], 1), filled([3, 2], 1), build([2, 3], ([i, j]) => Number(i === j))],
          dtype: Array.from({ length: 7 }, () => dtype),
          tolerance: 0,
        };
      });
    });

    it("counts", async () => {
      await checkOperation(device, () => ({
        run: () => [
          creation.arange(5, undefined, 1, { device }), creation.arange(2, 9, 3, { device }), creation.arange(3, -2, -2, { device }), creation.arange(1, 1, 1, { device }),
          creation.arange(0, 1, 0.25, { device }), creation.arange(3, undefined, 1, { dtype: "float32", device }),
          creation.linspace(-1, 1, 5, { device }), creation.linspace(3, 9, 1, { device }), creation.linspace(0, 1, 0, { device }), creation.eye(3, undefined, { device }),
        ],
        expected: [
          { shape: [5], values: [0, 1, 2, 3, 4] }, { shape: [3], values: [2, 5, 8] }, { shape: [3], values: [3, 1, -1] }, { shape: [0], values: [] },
          { shape: [4], values: [0, 0.25, 0.5, 0.75] }, { shape: [3], values: [0, 1, 2] },
          { shape: [5], values: [-1, -0.5, 0, 0.5, 1] }, { shape: [1], values: [3] }, { shape: [0], values: [] }, { shape: [3, 3], values: [1, 0, 0, 0, 1, 0, 0, 0, 1] },
        ],
        dtype: ["int32", "int32", "int32", "int32", "float32", "float32", "float32", "float32", "float32", "float32"],
      }));
    });
  });

  describe("copies", () => {
    it("read, clone and make contiguous any view", async () => {
      await checkProperty(device, drawnView, (input, { shape, layout, dtype }) => {
        const x = input(dtype, shape, { layout });
        return {
          run: () => {
            const results = [materialize.clone(x.tensor), materialize.contiguous(x.tensor)];
            expect(results.every((result) => result.isContiguous)).toBe(true);
            expect(results[1] === x.tensor).toBe(x.tensor.isContiguous);
            return results;
          },
          expected: [x.host, x.host], dtype: [dtype, dtype], tolerance: 0,
        };
      }, 60);
    });

    it("cast between all dtypes", async () => {
      for (const from of allDtypes) {
        await checkProperty(device, fc.record({ shape: shapes(), layout: layouts, to: fc.constantFrom(...allDtypes) }), (input, { shape, layout, to }) => {
          const x = input(from, shape, { layout });
          return { run: () => materialize.cast(x.tensor, to), expected: zip((value) => converted(value, to), x.host), dtype: to, tolerance: 0 };
        });
      }
    });

    it("read data in the dtype asked for", async () => {
      await expectNoLeaks(device, async () => {
        const x = place(device, "float16", [2, 2], { ...dense, order: [1, 0] }, (i) => i + 0.5).tensor;
        expect(await x.data()).toEqual(new Float32Array([0.5, 1.5, 2.5, 3.5]));
        expect(await x.data("int32")).toEqual(new Int32Array([0, 1, 2, 3]));
        expect(await x.data("float16")).toEqual(new Uint16Array([0x3800, 0x3e00, 0x4100, 0x4300]));
        expect(await x.toArray()).toEqual([[0.5, 1.5], [2.5, 3.5]]);
        expect(x.to(device)).toBeInstanceOf(Promise);
        expect(await x.to(device)).toBe(x);
        x.dispose();
      });
    });

    it("item gives the only element", async () => {
      await expectNoLeaks(device, async () => {
        using x = creation.tensor([[2.5]], { device });
        expect(await x.item()).toBe(2.5);
        using empty = creation.zeros([0, 3], { device });
        expect(await empty.toArray()).toEqual([]);
      });
    });
  });

  describe("views", () => {
    const rank2to3 = fc.record({ shape: shapes(2, 3), layout: layouts, dtype: fc.constantFrom(...allDtypes) });

    it("reshape", async () => {
      await checkProperty(device, fc.record({ view: drawnView, target: fc.nat(5) }), (input, { view: { shape, layout, dtype }, target }) => {
        const x = input(dtype, shape, { layout });
        const size = count(shape);
        const targets = [[size], [1, size], [size, 1, 1], shape, [...shape, 1], size % 2 === 0 ? [2, size / 2] : [size]];
        const goal = targets[target]!;
        const open = size > 0 ? goal.map((length, axis) => (axis === goal.length - 1 ? -1 : length)) : goal;
        return {
          run: () => [views.reshape(x.tensor, goal), views.reshape(x.tensor, open), views.flatten(x.tensor)],
          expected: [reshapeHost(x.host, goal), reshapeHost(x.host, goal), reshapeHost(x.host, [size])],
          dtype: [dtype, dtype, dtype], tolerance: 0,
        };
      }, 60);
    });

    it("shares memory where it can", async () => {
      await expectNoLeaks(device, async () => {
        const x = creation.tensor([[1, 2, 3], [4, 5, 6]], { device });
        const all = [views.reshape(x, [3, 2]), views.transpose(x), views.slice(x, null, [1]), views.expandDims(x, 0), views.broadcastTo(x, [2, 2, 3]), views.diagonal(x)];
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
      await checkProperty(device, fc.record({ view: rank2to3, order: fc.shuffledSubarray([0, 1, 2], { minLength: 3 }) }), (input, { view: { shape, layout, dtype }, order }) => {
        const x = input(dtype, shape, { layout });
        const axes = order.filter((axis) => axis < shape.length);
        const reversed = shape.map((_, axis) => shape.length - 1 - axis);
        const swapped = shape.map((_, axis) => (axis >= shape.length - 2 ? 2 * shape.length - 3 - axis : axis));
        return {
          run: () => [views.permute(x.tensor, axes), views.permute(x.tensor, axes.map((axis) => axis - shape.length)), views.permute(x.tensor), views.transpose(x.tensor), views.transpose(x.tensor, 0, -1)],
          expected: [
            permuteHost(x.host, axes), permuteHost(x.host, axes), permuteHost(x.host, reversed), permuteHost(x.host, swapped),
            permuteHost(x.host, shape.map((_, axis) => (axis === 0 ? shape.length - 1 : axis === shape.length - 1 ? 0 : axis))),
          ],
          dtype: Array.from({ length: 5 }, () => dtype), tolerance: 0,
        };
      });
    });

    it("expandDims and squeeze", async () => {
      await checkProperty(device, fc.record({ view: drawnView, axis: fc.nat(3) }), (input, { view: { shape, layout, dtype }, axis }) => {
        const x = input(dtype, shape, { layout });
        const position = axis % (shape.length + 1);
        const wide = shape.toSpliced(position, 0, 1);
        return {
          run: () => {
            const expanded = views.expandDims(x.tensor, position);
            return [expanded, views.expandDims(x.tensor, position - shape.length - 1), views.squeeze(expanded, position), views.squeeze(expanded)];
          },
          expected: [reshapeHost(x.host, wide), reshapeHost(x.host, wide), x.host, reshapeHost(x.host, shape.filter((length) => length !== 1))],
          dtype: [dtype, dtype, dtype, dtype], tolerance: 0,
        };
      });
    });

    it("broadcastTo", async () => {
      await checkProperty(device, fc.record({ view: drawnView, lead: fc.constantFrom([], [2], [0], [1, 3]), ones: fc.nat(7) }), (input, { view: { shape, layout, dtype }, lead, ones }) => {
        const narrow = shape.map((length, axis) => ((ones >> axis) & 1 ? 1 : length));
        const x = input(dtype, narrow, { layout });
        const target = [...lead, ...shape];
        return { run: () => views.broadcastTo(x.tensor, target), expected: build(target, (index) => at(x.host, index)), dtype, tolerance: 0 };
      });
    });

    it("slice", async () => {
      const drawn = drawnView.chain((view) => fc.tuple(fc.constant(view), fc.tuple(...view.shape.map(drawnSlice)), fc.nat(3)));
      await checkProperty(device, drawn, (input, [{ shape, layout, dtype }, index, given]) => {
        const x = input(dtype, shape, { layout });
        const parts = index.slice(0, Math.max(0, shape.length - (given === 3 ? 1 : 0)));
        return { run: () => views.slice(x.tensor, ...parts), expected: sliceHost(x.host, parts), dtype, tolerance: 0 };
      }, 120);
    });

    it("assign", async () => {
      const drawn = fc.record({ shape: shapes(1, 3), layout: layouts }).chain((view) => fc.tuple(fc.constant(view), fc.tuple(...view.shape.map(drawnSlice)), fc.boolean()));
      await checkProperty(device, drawn, (input, [{ shape, layout }, index, scalar]) => {
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
          expected: { shape, values: expected }, tolerance: 0,
        };
      }, 80);
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
      await checkProperty(device, fc.record({ view: rank2to3, axis: fc.integer({ min: -2, max: 1 }) }), (input, { view: { shape, layout, dtype }, axis }) => {
        const x = input(dtype, shape, { layout });
        const position = axis < 0 ? axis + shape.length : axis;
        const length = shape[position]!;
        const parts = [Math.floor(length / 2), 0, length - Math.floor(length / 2)];
        const lead = Array.from({ length: position }, () => null);
        let start = 0;
        const pieces = parts.map((part) => sliceHost(x.host, [...lead, [start, (start += part)]]));
        const rows = Array.from({ length }, (_, i) => sliceHost(x.host, [...lead, i]));
        const outputs = [...views.split(x.tensor, parts, axis), ...join.unstack(x.tensor, axis), ...(length > 0 ? views.split(x.tensor, length, axis) : [])];
        const singles = Array.from({ length }, (_, i) => sliceHost(x.host, [...lead, [i, i + 1]]));
        return { run: () => outputs, expected: [...pieces, ...rows, ...singles], dtype: outputs.map(() => dtype), tolerance: 0 };
      });
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
      const drawn = fc.record({ shape: shapes(1, 3), layouts: fc.tuple(layouts, layouts), dtypes: fc.tuple(fc.constantFrom(...allDtypes), fc.constantFrom(...allDtypes)), axis: fc.integer({ min: -1, max: 0 }), length: fc.nat(3) });
      await checkProperty(device, drawn, (input, { shape, layouts: [layoutA, layoutB], dtypes: [dtypeA, dtypeB], axis, length }) => {
        const position = axis < 0 ? shape.length - 1 : 0;
        const a = input(dtypeA, shape, { layout: layoutA });
        const b = input(dtypeB, shape.with(position, length), { layout: layoutB });
        const c = input(dtypeB, shape, { layout: layoutB });
        const dtype = promoteDtypes(dtypeA, dtypeB);
        const whole = shape.with(position, shape[position]! + length);
        const joined = build(whole, (index) => (index[position]! < shape[position]! ? at(a.host, index) : atExact(b.host, index.with(position, index[position]! - shape[position]!))));
        const place = axis < 0 ? shape.length : 0;
        const stacked = build(shape.toSpliced(place, 0, 2), (index) => at(index[place] === 0 ? a.host : c.host, index.toSpliced(place, 1)));
        return { run: () => [join.concatenate([a.tensor, b.tensor], axis), join.stack([a.tensor, c.tensor], axis)], expected: [joined, stacked], dtype: [dtype, dtype], tolerance: 0 };
      }, 60);
    });

    it("pad", async () => {
      await checkProperty(device, fc.record({ view: drawnView, amounts: fc.array(fc.tuple(fc.nat(2), fc.nat(2)), { minLength: 3, maxLength: 3 }) }), (input, { view: { shape, layout, dtype }, amounts }) => {
        const x = input(dtype, shape, { layout });
        const around = amounts.slice(0, shape.length);
        const expected = build(shape.map((length, axis) => length + around[axis]![0] + around[axis]![1]), (index) => {
          const inside = index.map((i, axis) => i - around[axis]![0]);
          return inside.every((i, axis) => i >= 0 && i < shape[axis]!) ? atExact(x.host, inside) : 1;
        });
        return { run: () => join.pad(x.tensor, around, 1), expected, dtype, tolerance: 0 };
      });
    });

    it("tile and repeat", async () => {
      await checkProperty(device, fc.record({ view: drawnView, times: fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }) }), (input, { view: { shape, layout, dtype }, times }) => {
        const x = input(dtype, shape, { layout });
        const counts = times.slice(0, shape.length);
        const tiled = build(shape.map((length, axis) => length * counts[axis]!), (index) => atExact(x.host, index.map((i, axis) => i % shape[axis]!)));
        if (shape.length === 0) return { run: () => join.tile(x.tensor, counts), expected: tiled, dtype, tolerance: 0 };
        const repeated = build(shape.with(-1, shape.at(-1)! * times[0]!), (index) => atExact(x.host, index.with(-1, Math.floor(index.at(-1)! / times[0]!))));
        return { run: () => [join.tile(x.tensor, counts), join.repeat(x.tensor, times[0]!, -1)], expected: [tiled, repeated], dtype: [dtype, dtype], tolerance: 0 };
      });
    });
  });

  it.each(allDtypes)("accounts for the bytes of %s", (dtype) => {
    using x = creation.zeros([3, 5], { dtype, device });
    expect(x.buffer.byteLength).toBe(15 * itemSize(dtype));
    expect(fillerOf(dtype, 1)(0)).toBeTypeOf("number");
  });
}

/** As `at`, for an index that is exactly the array's own. */
function atExact(array: HostArray, index: readonly number[]): number {
  return array.values[index.reduce((position, i, axis) => position * array.shape[axis]! + i, 0)]!;
}
