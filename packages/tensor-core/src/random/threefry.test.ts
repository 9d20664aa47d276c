import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { foldIn, permutation, permutedIndex, randomKey, randomWord, threefry2x32 } from "./threefry.ts";

function hash(k0: number, k1: number, c0: number, c1: number): string[] {
  const words = new Uint32Array(3);
  threefry2x32(k0, k1, c0, c1, words, 1);
  return [...words.subarray(1)].map((word) => word.toString(16).padStart(8, "0"));
}

describe("threefry2x32", () => {
  it("gives the known answers of the Random123 distribution", () => {
    const ones = 0xffffffff;
    expect(hash(0, 0, 0, 0)).toEqual(["6b200159", "99ba4efe"]);
    expect(hash(ones, ones, ones, ones)).toEqual(["1cb996fc", "bb002be7"]);
    expect(hash(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3)).toEqual(["c4923a9c", "483df7a0"]);
  });

  it("depends on every bit of seed and position", () => {
    expect(randomKey(5)).toEqual([5, 0]);
    expect(randomKey(2 ** 32 + 5)).toEqual([5, 1]);
    expect(randomKey(-1)).toEqual([0xffffffff, 0xffffffff]);
    expect(() => randomKey(0.5)).toThrow(RangeError);
    expect(() => randomKey(2 ** 53)).toThrow(RangeError);
    const words = new Set(Array.from({ length: 4096 }, (_, position) => randomWord(randomKey(1), position)));
    expect(words.size).toBeGreaterThan(4090);
    expect(randomWord(randomKey(1), 2 ** 32)).not.toBe(randomWord(randomKey(1), 0));
    expect(foldIn(randomKey(1), 0)).not.toEqual(foldIn(randomKey(1), 1));
  });

  it("has balanced bits", () => {
    const counts = new Float64Array(32);
    const samples = 20_000;
    for (let position = 0; position < samples; position++) {
      const word = randomWord([7, 9], position);
      for (let bit = 0; bit < 32; bit++) counts[bit] = (counts[bit] as number) + ((word >>> bit) & 1);
    }
    // Five standard deviations of a fair coin.
    for (const count of counts) expect(Math.abs(count - samples / 2)).toBeLessThan(2.5 * Math.sqrt(samples));
  });
});

describe("permutation", () => {
  it("is a permutation for any count and key", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 600 }), fc.integer(), (count, seed) => {
        const sorted = permutation(randomKey(seed), count).toSorted();
        expect([...sorted]).toEqual(Array.from({ length: count }, (_, index) => index));
      }),
    );
  });

  it("sends each item to each place equally often", () => {
    const counts = new Float64Array(25);
    const keys = 5000;
    for (let seed = 0; seed < keys; seed++) {
      permutation(randomKey(seed), 5).forEach((to, from) => {
        counts[5 * from + to] = (counts[5 * from + to] as number) + 1;
      });
    }
    for (const count of counts) expect(Math.abs(count - keys / 5)).toBeLessThan(5 * Math.sqrt(keys * 0.16));
  });

  it("refuses indices outside", () => {
    expect(() => permutedIndex([0, 0], 3, 3)).toThrow(RangeError);
    expect(() => permutedIndex([0, 0], 0, 0)).toThrow(RangeError);
    expect(permutedIndex([0, 0], 2 ** 32, 2 ** 32 - 1)).toBeLessThan(2 ** 32);
  });
});
