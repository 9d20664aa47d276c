import { describe, expect, it } from "vitest";
import { DtypeError } from "../../errors.ts";
import { float16BitsToFloat32, float32ToFloat16Bits, type Dtype } from "../../tensor/dtype.ts";
import { createReferenceBackend } from "../reference/index.ts";
import { createWasmBackend } from "./backend.ts";
import { awkwardSizes, place, reserve, someFloats, someIntegers, specialFloats, take } from "./device-arrays.testing.ts";

const backend = createWasmBackend();
const reference = createReferenceBackend();
const { kernels } = backend;
const dtypes: readonly Dtype[] = ["float32", "float16", "int32", "uint8", "int8", "bool"];

describe("fill and arange", () => {
  it.each(dtypes)("fills %s of any size and leaves the neighbours", (dtype) => {
    for (const size of awkwardSizes) {
      for (const value of [0, 1, dtype === "uint8" || dtype === "bool" ? 1 : -3]) {
        const output = reserve(backend, dtype, [size]);
        kernels.fill({ output, value });
        expect(take(backend, output)).toEqual(new Array(size).fill(value));
      }
    }
  });

  it("counts up and down", () => {
    const output = reserve(backend, "float32", [1000]);
    kernels.arange({ output, start: 0.1, step: -0.3 });
    expect(take(backend, output)).toEqual(Array.from({ length: 1000 }, (_, i) => Math.fround(0.1 + i * -0.3)));
    const integers = reserve(backend, "int32", [65]);
    kernels.arange({ output: integers, start: -5, step: 3 });
    expect(take(backend, integers)).toEqual(Array.from({ length: 65 }, (_, i) => -5 + 3 * i));
  });
});

describe("copy", () => {
  const pairs = dtypes.flatMap((from) => dtypes.map((to) => [from, to] as const));

  it.each(pairs)("%s to %s, with and without gaps", (from, to) => {
    const wanted = from === "bool" ? [0, 1] : from === "uint8" ? [0, 1, 127, 128, 255] : from === "int8" ? [0, 1, -1, 127, -128]
      : from === "int32" ? [0, 1, -1, 300, -300, 65_504, 65_520, 2 ** 31 - 1, -(2 ** 31)]
        : [...specialFloats, 255.9, 256, -128.9, 1e-5, 6e-8, 5.96e-8, 2.9e-8, 65_519, 65_520, 2049, 2051, 0.333];
    for (const size of awkwardSizes) {
      const values = Array.from({ length: size * 2 }, (_, i) => wanted[i % wanted.length]!);
      for (const strides of [[size, 1], [1, 2]] as const) {
        const results = [backend, reference].map((device) => {
          const output = reserve(device, to, [2, size]);
          device.kernels.copy({ input: place(device, from, [2, size], values, strides), output });
          return take(device, output);
        });
        expect(results[0], `${from} to ${to} [2, ${size}] strides ${strides}`).toEqual(results[1]);
      }
    }
  });

  it("converts every float16 to float32 and back", () => {
    const bits = Array.from({ length: 65_536 }, (_, i) => i);
    const halves = { ...place(backend, "int8", [65_536 * 2], []), dtype: "float16" as const };
    const buffer = backend.allocate(131_072);
    backend.write(buffer, 0, new Uint8Array(Uint16Array.from(bits).buffer));
    const input = { ...halves, buffer, shape: [65_536], strides: [1], offset: 0 };
    const output = reserve(backend, "float32", [65_536]);
    kernels.copy({ input, output });
    const back = { ...input, buffer: backend.allocate(131_072) };
    kernels.copy({ input: output, output: back });
    const returned = new Uint16Array(backend.readSync(back.buffer, 0, 131_072).buffer);
    const floats = take(backend, output);
    const wrong = bits.filter((half, i) => {
      const expected = float16BitsToFloat32(half);
      // NaN keeps no payload
      if (Number.isNaN(expected)) return !Number.isNaN(floats[i]) || (returned[i]! & 0x7e00) !== 0x7e00;
      return !Object.is(floats[i], expected) || returned[i] !== float32ToFloat16Bits(expected);
    });
    expect(wrong).toEqual([]);
    expect(floats).toHaveLength(65_536);
  });

  it.each([[33, 47], [16, 16], [100, 64], [128, 130], [17, 200]])("transposes [%i, %i], alone and in batches", (rows, columns) => {
    const values = someFloats(6 * rows * columns);
    const shape = [2, rows, 3, columns];
    // stored as [3, 2, columns, rows]
    const strides = [columns * rows, 1, 2 * columns * rows, rows];
    const output = reserve(backend, "float32", shape);
    kernels.copy({ input: place(backend, "float32", shape, values, strides), output });
    const result = take(backend, output);
    const wrong = result.filter((value, i) => {
      const c = i % columns;
      const k = Math.floor(i / columns) % 3;
      const r = Math.floor(i / columns / 3) % rows;
      const b = Math.floor(i / columns / 3 / rows);
      return value !== values[b * strides[0]! + r + k * strides[2]! + c * rows];
    });
    expect(wrong).toEqual([]);
  });

  it("writes into strided views and leaves the gaps", () => {
    const target = place(backend, "float32", [5, 4], new Float32Array(40).fill(9), [2, 10]);
    kernels.copy({ input: place(backend, "float32", [5, 4], someIntegers(20)), output: target });
    const all = take(backend, { ...target, shape: [40], strides: [1] });
    expect(all.filter((_, i) => i % 2 === 1)).toEqual(new Array(20).fill(9));
    expect(all.filter((_, i) => i % 2 === 0)).toEqual(
      Array.from({ length: 20 }, (_, i) => someIntegers(20)[(i % 5) * 4 + Math.floor(i / 5)]),
    );
  });

  it("copies broadcast and six-axis views", () => {
    const values = someIntegers(64, 1e6);
    const shape = [2, 2, 2, 2, 2, 2];
    for (const strides of [[1, 2, 4, 8, 16, 32], [32, 1, 16, 2, 8, 4], [0, 1, 0, 2, 0, 4]]) {
      const results = [backend, reference].map((device) => {
        const output = reserve(device, "int32", shape);
        device.kernels.copy({ input: place(device, "int32", shape, values, strides), output });
        return take(device, output);
      });
      expect(results[0]).toEqual(results[1]);
    }
  });
});

describe("gather and scatter", () => {
  it.each(dtypes)("gathers rows of %s, zeros outside", (dtype) => {
    for (const inner of [1, 3, 16, 65]) {
      const values = Array.from({ length: 2 * 5 * inner }, (_, i) => (dtype === "bool" ? i % 2 : i % 100));
      const indices = [4, 0, -1, 2, 5, 4, 2 ** 31 - 1];
      const output = reserve(backend, dtype, [2, 7, inner]);
      kernels.gather({
        input: place(backend, dtype, [2, 5, inner], values), indices: place(backend, "int32", [7], indices), output, outer: 2, size: 5,
        inner,
      });
      const expected = Array.from({ length: 14 * inner }, (_, i) => {
        const index = indices[Math.floor(i / inner) % 7]!;
        return index < 0 || index >= 5 ? 0 : values[(Math.floor(i / inner / 7) * 5 + index) * inner + (i % inner)]!;
      });
      expect(take(backend, output)).toEqual(expected);
    }
  });

  it.each(
    [["float32", 1], ["float32", 37], ["int32", 64], ["int32", 3]] as const,
  )("adds rows of %s, inner %i, in order", (dtype, inner) => {
    const indices = [1, 0, 1, -1, 9, 1, 2];
    const start = someIntegers(2 * 4 * inner, 1000);
    const updates = someIntegers(2 * 7 * inner, 1000, 3);
    const output = place(backend, dtype, [2, 4, inner], start);
    kernels.scatterAdd({
      output, indices: place(backend, "int32", [7], indices), updates: place(backend, dtype, [2, 7, inner], updates), outer: 2, size: 4,
      inner,
    });
    const expected = Array.from(start);
    for (let o = 0; o < 2; o++) {
      indices.forEach((index, i) => {
        if (index < 0 || index >= 4) return;
        for (let k = 0; k < inner; k++) expected[(o * 4 + index) * inner + k]! += updates[(o * 7 + i) * inner + k]!;
      });
    }
    expect(take(backend, output)).toEqual(expected);
  });

  it.each([1, 5])("gathers and adds single elements, inner %i", (inner) => {
    const values = someFloats(2 * 6 * inner);
    const indices = someIntegers(2 * 3 * inner, 7);
    const place3 = (array: ArrayLike<number>, count: number, dtype: Dtype = "float32") => place(backend, dtype, [2, count, inner], array);
    const gathered = reserve(backend, "float32", [2, 3, inner]);
    kernels.gatherElements({ input: place3(values, 6), indices: place3(indices, 3, "int32"), output: gathered, outer: 2, size: 6, inner });
    const at = (i: number): number => (Math.floor(i / (3 * inner)) * 6 + indices[i]!) * inner + (i % inner);
    const inside = (i: number): boolean => indices[i]! >= 0 && indices[i]! < 6;
    expect(take(backend, gathered)).toEqual(Array.from(indices, (_, i) => (inside(i) ? values[at(i)]! : 0)));
    const sums = place3(values, 6);
    kernels.scatterElementsAdd({
      output: sums, indices: place3(indices, 3, "int32"), updates: place3(new Float32Array(6 * inner).fill(0.5), 3), outer: 2, size: 6,
      inner,
    });
    const expected = Float32Array.from(values);
    indices.forEach((_, i) => {
      if (inside(i)) expected[at(i)]! += 0.5;
    });
    expect(take(backend, sums)).toEqual(Array.from(expected));
  });

  it("refuses narrow elements", () => {
    const bytes = place(backend, "uint8", [1, 2, 1], [1, 2]);
    const indices = place(backend, "int32", [1, 2, 1], [0, 1]);
    expect(() => kernels.gatherElements({ input: bytes, indices, output: bytes, outer: 1, size: 2, inner: 1 })).toThrow(DtypeError);
  });
});
