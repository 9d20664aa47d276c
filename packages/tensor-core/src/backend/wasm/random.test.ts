import { describe, expect, it } from "vitest";
import { threefry2x32 } from "../../random/threefry.ts";
import { createWasmBackend } from "./backend.ts";
import { awkwardSizes, place, reserve, take } from "./device-arrays.testing.ts";

const backend = createWasmBackend();

function draw(
  distribution: "bits" | "uniform" | "normal", key: readonly [number, number], counter: number, count: number,
  parameters: readonly [number, number] = [0, 1],
): number[] {
  const output = reserve(backend, distribution === "bits" ? "int32" : "float32", [count]);
  backend.kernels.random({ distribution, key, counter, parameters, output });
  return take(backend, output);
}

function words(key: readonly [number, number], counter: number, count: number): Uint32Array {
  const result = new Uint32Array(2 * Math.ceil(count / 2));
  for (let i = 0; i < result.length; i += 2) {
    const block = counter + i / 2;
    threefry2x32(key[0], key[1], block % 2 ** 32, Math.floor(block / 2 ** 32), result, i);
  }
  return result.subarray(0, count);
}

describe("random", () => {
  it("gives the known answers of Random123", () => {
    expect(draw("bits", [0, 0], 0, 2).map((word) => (word >>> 0).toString(16))).toEqual(["6b200159", "99ba4efe"]);
    // The other vectors' counters are no safe integers; their kernels take the words as they are.
    const { exports, pointer } = backend.runtime;
    for (const [key, counter, answer] of [
      [[0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], ["1cb996fc", "bb002be7"]],
      [[0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3], ["c4923a9c", "483df7a0"]],
    ] as const) {
      const output = reserve(backend, "int32", [2]);
      exports.random(2, key[0], key[1], counter[0], counter[1], 0, 0, pointer(output), 4096, 0, 2);
      expect(take(backend, output).map((word) => (word >>> 0).toString(16))).toEqual(answer);
    }
  });

  it.each(awkwardSizes)("gives the bits of the TypeScript function for %i elements, across the carry into the high word", (count) => {
    for (const counter of [0, 5, 2 ** 32 - 1, 2 ** 32 - 2, 2 ** 32 - 6, 2 ** 45 + 7]) {
      const key = [0xdeadbeef, 42] as const;
      expect(draw("bits", key, counter, count)).toEqual(Array.from(words(key, counter, count), (word) => word | 0));
    }
  });

  it("turns bits into uniform and normal numbers as the contract says", () => {
    const key = [7, 8] as const;
    const bits = words(key, 100, 1001);
    draw("uniform", key, 100, 1001, [-3, 5]).forEach(
      (x, i) => expect(Math.abs(x - (-3 + (8 * (bits[i]! >>> 8)) / 2 ** 24))).toBeLessThan(1e-6),
    );
    const unit = draw("uniform", key, 100, 1001);
    expect(unit).toEqual(Array.from(bits, (word) => (word >>> 8) / 2 ** 24));
    draw("normal", key, 100, 1000, [1, 2]).forEach((x, i) => {
      const radius = Math.sqrt(-2 * Math.log(((bits[i & ~1]! >>> 8) + 1) / 2 ** 24));
      const angle = (2 * Math.PI * (bits[i | 1]! >>> 8)) / 2 ** 24;
      expect(Math.abs(x - (1 + 2 * radius * (i % 2 ? Math.sin(angle) : Math.cos(angle))))).toBeLessThan(4e-6);
    });
  });

  it("has the moments of its distributions", () => {
    const normal = draw("normal", [1, 2], 0, 200_000);
    const mean = normal.reduce((total, x) => total + x, 0) / normal.length;
    const variance = normal.reduce((total, x) => total + (x - mean) ** 2, 0) / normal.length;
    expect(Math.abs(mean)).toBeLessThan(0.01);
    expect(Math.abs(variance - 1)).toBeLessThan(0.02);
  });

  it("does not depend on how a range is split", () => {
    const { exports, pointer } = backend.runtime;
    const output = place(backend, "int32", [100], new Int32Array(100));
    const ranges = [[48, 100], [0, 8], [8, 48]] as const;
    for (const [begin, end] of ranges) exports.random(2, 3, 4, 9, 0, 0, 0, pointer(output), 4096, begin, end);
    expect(take(backend, output)).toEqual(draw("bits", [3, 4], 9, 100));
  });
});
