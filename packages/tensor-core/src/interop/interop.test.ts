import fc from "fast-check";
import ndarray, { type NdArray } from "ndarray";
import { describe, expect, it } from "vitest";
import { DisposedError, DtypeError, IndexError, ShapeError, arange, memory, tensor, tidy, zeros } from "../index.ts";
import "../reference.ts";
import { fromNdarray, fromNestedTypedArrays, toNdarray, toNestedTypedArrays } from "./index.ts";

const before = memory().allocations;

describe("toNdarray", () => {
  it("sees the tensor's memory, both ways", () => {
    using x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const view: NdArray<Float32Array> = toNdarray(x, "float32");
    expect([view.shape, view.dtype, view.get(1, 2)]).toEqual([[2, 3], "float32", 6]);
    view.set(0, 1, 20);
    expect([...x.dataSync()]).toEqual([1, 20, 3, 4, 5, 6]);
  });

  it("keeps strides and offsets of views", () => {
    tidy(() => {
      const x = arange(24, undefined, 1, { dtype: "float32" }).reshape([2, 3, 4]);
      const view = x.slice([1], [0, 3, 2]).transpose(0, 1);
      const array = toNdarray(view);
      const expected = view.dataSync();
      let position = 0;
      for (let i = 0; i < array.shape[0]!; i++)
        for (let j = 0; j < array.shape[1]!; j++)
          for (let k = 0; k < array.shape[2]!; k++) expect(array.get(i, j, k)).toBe(expected[position++]);
      expect(position).toBe(view.size);
    });
  });

  it("stays valid when the heap grows", () => {
    using x = tensor([7, 8]);
    const view = toNdarray(x, "float32");
    const reserved = memory().reservedBytes;
    const grown: Disposable = zeros([reserved / 4 + 1]);
    expect(memory().reservedBytes).toBeGreaterThan(reserved);
    view.set(1, 9);
    expect([...x.dataSync()]).toEqual([7, 9]);
    grown[Symbol.dispose]();
  });

  it("takes every dtype but float16, and scalars", () => {
    tidy(() => {
      expect(toNdarray(tensor(new Int32Array([1, -2])), "int32").data).toBeInstanceOf(Int32Array);
      expect(toNdarray(tensor(new Int8Array([1, -2]))).dtype).toBe("int8");
      expect(toNdarray(tensor([true, false]), "bool").get(0)).toBe(1);
      expect(toNdarray(tensor(3)).get()).toBe(3);
      expect(toNdarray(tensor([1, 2], { device: "reference" })).get(1)).toBe(2);
      expect(() => toNdarray(tensor([1], { dtype: "float16" }))).toThrow(DtypeError);
      expect(() => toNdarray(tensor([1]), "int32")).toThrow(/the tensor is float32, not int32/);
    });
  });

  it("refuses freed tensors", () => {
    const x = tensor([1]);
    x.dispose();
    expect(() => toNdarray(x)).toThrow(DisposedError);
  });
});

describe("fromNdarray", () => {
  it("copies any strides, negative and zero ones too", async () => {
    const axis = fc.record({
      length: fc.integer({ min: 0, max: 4 }),
      step: fc.integer({ min: 1, max: 3 }),
      flip: fc.boolean(),
      order: fc.nat(9),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(axis, { maxLength: 4 }), fc.nat(3), async (axes, start) => {
        const base = ndarray(
          Float64Array.from({ length: start + axes.reduce((size, { length, step }) => size * length * step, 1) }, (_, i) => i),
          axes.map(({ length, step }) => length * step),
          undefined,
          start,
        );
        const view = base.step(...axes.map(({ step, flip }) => (flip ? -step : step))).transpose(
          ...axes
            .map(({ order }, i) => [order, i] as const)
            .sort((a, b) => a[0] - b[0])
            .map(([, i]) => i),
        );
        using made = fromNdarray(view);
        expect(made.shape).toEqual(view.shape);
        const values = made.dataSync();
        let position = 0;
        const visit = (index: number[]): void => {
          if (index.length === view.dimension) expect(values[position++]).toBe(view.get(...index));
          else for (let i = 0; i < view.shape[index.length]!; i++) visit([...index, i]);
        };
        if (view.dimension > 0) visit([]);
        else position = 1;
        expect(position).toBe(made.size);
      }),
      { numRuns: 60 },
    );
  });

  it("chooses dtypes that hold the numbers", () => {
    tidy(() => {
      const dtypes = [
        new Float32Array(1),
        new Float64Array(1),
        [1.5],
        new Int16Array(1),
        new Uint16Array(1),
        new Uint32Array(1),
        new Uint8Array(1),
        new Uint8ClampedArray(1),
        new Int8Array(1),
      ].map((data) => fromNdarray({ data, shape: [1], stride: [1], offset: 0 }).dtype);
      expect(dtypes).toEqual(["float32", "float32", "float32", "int32", "int32", "int32", "uint8", "uint8", "int8"]);
      expect(fromNdarray(ndarray(new Float32Array([1.7])), { dtype: "int32" }).dtype).toBe("int32");
      expect([...fromNdarray({ data: [5], shape: [2, 2], stride: [0, 0], offset: 0 }).dataSync()]).toEqual([5, 5, 5, 5]);
      expect(fromNdarray({ data: new Float32Array(0), shape: [0, 3], stride: [3, 1], offset: 0 }).shape).toEqual([0, 3]);
    });
  });

  it.each<[string, () => unknown, new () => Error, RegExp]>([
    ["elements before the data", () => fromNdarray({ data: [1, 2], shape: [2], stride: [-1], offset: 0 }), IndexError, /elements -1 to 0/],
    ["elements after it", () => fromNdarray({ data: [1, 2], shape: [3], stride: [1], offset: 0 }), IndexError, /the data has 2/],
    [
      "a stride missing",
      () => fromNdarray({ data: [1, 2], shape: [1, 2], stride: [1], offset: 0 }),
      ShapeError,
      /1 strides for shape \[1, 2\]/,
    ],
    ["a fractional offset", () => fromNdarray({ data: [1, 2], shape: [1], stride: [1], offset: 0.5 }), IndexError, /no integer/],
    [
      "an endless shape",
      () => fromNdarray({ data: [1], shape: [2 ** 40, 2 ** 40], stride: [0, 0], offset: 0 }),
      ShapeError,
      /too many elements/,
    ],
    [
      "large unsigned numbers",
      () => fromNdarray({ data: new Uint32Array([2 ** 31]), shape: [1], stride: [1], offset: 0 }),
      DtypeError,
      /2147483648/,
    ],
    [
      "big integers",
      () => fromNdarray({ data: new BigInt64Array(1) as unknown as Float32Array, shape: [1], stride: [1], offset: 0 }),
      DtypeError,
      /BigInt64Array/,
    ],
  ])("refuses %s", (_, run, type, message) => {
    expect(run).toThrow(type);
    expect(run).toThrow(message);
  });
});

describe("nested typed arrays", () => {
  it("go in and out", async () => {
    const nested = [
      [Float32Array.of(1, 2, 3), Float32Array.of(4, 5, 6)],
      [Float32Array.of(7, 8, 9), Float32Array.of(10, 11, 12)],
    ];
    using x = fromNestedTypedArrays(nested);
    expect(x.shape).toEqual([2, 2, 3]);
    expect(await toNestedTypedArrays(x)).toEqual(nested);
    using flat = fromNestedTypedArrays(Int32Array.of(4, 5));
    expect([flat.dtype, await toNestedTypedArrays(flat)]).toEqual(["int32", Int32Array.of(4, 5)]);
    using scalar = tensor(2);
    expect(await toNestedTypedArrays(scalar)).toEqual(Float32Array.of(2));
  });

  it("must be of one type and length", () => {
    expect(() => fromNestedTypedArrays([Float32Array.of(1), Float32Array.of(1, 2)])).toThrow(/ragged/);
    expect(() => fromNestedTypedArrays([Float32Array.of(1), [Float32Array.of(1)]])).toThrow(ShapeError);
    expect(() => fromNestedTypedArrays([Float32Array.of(1), Int32Array.of(1)])).toThrow(DtypeError);
    expect(() => fromNestedTypedArrays([])).toThrow(/no typed array/);
  });
});

it("leaves nothing in memory", () => {
  expect(memory().allocations).toBe(before);
});
