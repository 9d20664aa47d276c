import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DeviceName } from "../backend/backend.ts";
import * as creation from "../ops/creation.ts";
import * as materialize from "../ops/materialize.ts";
import { itemSize, type Dtype } from "../tensor/dtype.ts";
import { build, zip, type HostArray } from "./op-suite-host.ts";
import {
  allDtypes,
  checkOperation,
  checkProperty,
  dense,
  expectNoLeaks,
  fillerOf,
  layouts,
  place,
  roundToFloat16,
  shapes,
} from "./op-suite-check.ts";

export const creationOperations: readonly string[] = [
  "tensor",
  "zeros",
  "ones",
  "full",
  "zerosLike",
  "onesLike",
  "fullLike",
  "arange",
  "linspace",
  "eye",
  "cast",
  "clone",
  "contiguous",
  "to",
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

const drawnView = fc.record({ shape: shapes(), layout: layouts, dtype: fc.constantFrom(...allDtypes) });

/** Creation, copies and conversions. */
export function creationSuite(device: DeviceName): void {
  describe("creation", () => {
    it("makes tensors of nested arrays, typed arrays and booleans", async () => {
      await checkOperation(device, () => ({
        run: () => [
          creation.tensor(
            [
              [1, 2, 3],
              [4, 5, 6],
            ],
            { device },
          ),
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
        return {
          run: () => [creation.tensor(data, { dtype, device }), materialize.cast(source.tensor, dtype)],
          expected: [expected, expected],
          dtype: [dtype, dtype],
          tolerance: 0,
        };
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
        expected: [
          { shape: [2, 2], values: [1, 2, 3, 4] },
          { shape: [2, 2], values: [0, 0, 0, 0] },
        ],
        dtype: ["float32", "float32"],
      }));
    });

    it.each(allDtypes)("fills %s", async (dtype) => {
      await checkOperation(device, (input) => {
        const like = input(dtype, [3, 2], { layout: { ...dense, order: [1, 0] } });
        const filled = (shape: readonly number[], value: number): HostArray => build(shape, () => value);
        return {
          run: () => [
            creation.zeros([2, 3], { dtype, device }),
            creation.ones([5], { dtype, device }),
            creation.full([0, 2], 1, { dtype, device }),
            creation.zerosLike(like.tensor),
            creation.onesLike(like.tensor),
            creation.fullLike(like.tensor, 1),
            creation.eye(2, 3, { dtype, device }),
          ],
          expected: [
            filled([2, 3], 0),
            filled([5], 1),
            filled([0, 2], 1),
            filled([3, 2], 0),
            filled([3, 2], 1),
            filled([3, 2], 1),
            build([2, 3], ([i, j]) => Number(i === j)),
          ],
          dtype: Array.from({ length: 7 }, () => dtype),
          tolerance: 0,
        };
      });
    });

    it("counts", async () => {
      await checkOperation(device, () => ({
        run: () => [
          creation.arange(5, undefined, 1, { device }),
          creation.arange(2, 9, 3, { device }),
          creation.arange(3, -2, -2, { device }),
          creation.arange(1, 1, 1, { device }),
          creation.arange(0, 1, 0.25, { device }),
          creation.arange(3, undefined, 1, { dtype: "float32", device }),
          creation.linspace(-1, 1, 5, { device }),
          creation.linspace(3, 9, 1, { device }),
          creation.linspace(0, 1, 0, { device }),
          creation.eye(3, undefined, { device }),
        ],
        expected: [
          { shape: [5], values: [0, 1, 2, 3, 4] },
          { shape: [3], values: [2, 5, 8] },
          { shape: [3], values: [3, 1, -1] },
          { shape: [0], values: [] },
          { shape: [4], values: [0, 0.25, 0.5, 0.75] },
          { shape: [3], values: [0, 1, 2] },
          { shape: [5], values: [-1, -0.5, 0, 0.5, 1] },
          { shape: [1], values: [3] },
          { shape: [0], values: [] },
          { shape: [3, 3], values: [1, 0, 0, 0, 1, 0, 0, 0, 1] },
        ],
        dtype: ["int32", "int32", "int32", "int32", "float32", "float32", "float32", "float32", "float32", "float32"],
      }));
    });
  });

  describe("copies", () => {
    it("read, clone and make contiguous any view", async () => {
      await checkProperty(
        device,
        drawnView,
        (input, { shape, layout, dtype }) => {
          const x = input(dtype, shape, { layout });
          return {
            run: () => {
              const results = [materialize.clone(x.tensor), materialize.contiguous(x.tensor)];
              expect(results.every((result) => result.isContiguous)).toBe(true);
              expect(results[1]!.storage === x.tensor.storage).toBe(x.tensor.isContiguous);
              return results;
            },
            expected: [x.host, x.host],
            dtype: [dtype, dtype],
            tolerance: 0,
          };
        },
        60,
      );
    });

    it("cast between all dtypes", async () => {
      for (const from of allDtypes) {
        await checkProperty(
          device,
          fc.record({ shape: shapes(), layout: layouts, to: fc.constantFrom(...allDtypes) }),
          (input, { shape, layout, to }) => {
            const x = input(from, shape, { layout });
            return {
              run: () => materialize.cast(x.tensor, to),
              expected: zip((value) => converted(value, to), x.host),
              dtype: to,
              tolerance: 0,
            };
          },
        );
      }
    });

    it("read data in the dtype asked for", async () => {
      await expectNoLeaks(device, async () => {
        const x = place(device, "float16", [2, 2], { ...dense, order: [1, 0] }, (i) => i + 0.5).tensor;
        expect(await x.data()).toEqual(new Float32Array([0.5, 1.5, 2.5, 3.5]));
        expect(await x.data("int32")).toEqual(new Int32Array([0, 1, 2, 3]));
        expect(await x.data("float16")).toEqual(new Uint16Array([0x3800, 0x3e00, 0x4100, 0x4300]));
        expect(await x.toArray()).toEqual([
          [0.5, 1.5],
          [2.5, 3.5],
        ]);
        const moving = x.to(device);
        expect(moving).toBeInstanceOf(Promise);
        using same = await moving;
        expect(same.storage).toBe(x.storage);
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

  it.each(allDtypes)("accounts for the bytes of %s", (dtype) => {
    using x = creation.zeros([3, 5], { dtype, device });
    expect(x.buffer.byteLength).toBe(15 * itemSize(dtype));
    expect(fillerOf(dtype, 1)(0)).toBeTypeOf("number");
  });
}
