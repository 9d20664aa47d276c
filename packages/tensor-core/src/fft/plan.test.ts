import { describe, expect, it } from "vitest";
import { createFftPlan, factorize, maximumFftLength, passTwiddles } from "./plan.ts";
import { chirp, isSmooth, paddedLengthFor } from "./roots.ts";

describe("factorize", () => {
  it.each(["rows", "columns"] as const)("multiplies back to the length, radix 4 first where it divides: %s", (layout) => {
    for (let length = 1; length <= 5000; length++) {
      if (!isSmooth(length)) continue;
      const radices = factorize(length, layout);
      expect(radices.reduce((product, radix) => product * radix, 1)).toBe(length);
      expect(radices.length === 1 || radices.every((radix) => [2, 3, 4, 5, 7, 8].includes(radix))).toBe(true);
      if (length % 4 === 0) expect(radices[0]).toBe(4);
    }
    expect(factorize(1, layout)).toEqual([1]);
  });
  it("puts a radix 8 where its layout is fastest", () => {
    expect(factorize(128, "rows")).toEqual([4, 8, 4]);
    expect(factorize(128, "columns")).toEqual([4, 4, 8]);
    expect(factorize(3584, "rows")).toEqual([4, 8, 7, 4, 4]);
    expect(factorize(3584, "columns")).toEqual([4, 7, 4, 4, 8]);
  });
});

describe("createFftPlan", () => {
  it("pads other lengths to a smooth multiple of four that holds the convolution", () => {
    for (const length of [11, 13, 127, 1009, 4099, 65537]) {
      const plan = createFftPlan(length, "columns");
      if (plan.kind !== "bluestein") throw new Error(`${length} should not be smooth`);
      expect(plan.paddedLength).toBeGreaterThanOrEqual(2 * length - 1);
      expect(plan.paddedLength).toBeLessThan(2.6 * length);
      expect(plan.paddedLength % 4).toBe(0);
      expect(isSmooth(plan.paddedLength)).toBe(true);
    }
  });
  it("finds the smallest padded length", () => {
    for (const minimum of [1, 5, 21, 261, 1000, 2017]) {
      let exact = Math.ceil(minimum / 4) * 4;
      while (!isSmooth(exact) || exact % 7 === 0) exact += 4;
      expect(paddedLengthFor(minimum)).toBe(exact);
    }
  });
  it("refuses lengths it cannot transform", () => {
    for (const length of [0, -4, 2.5, NaN, Infinity, maximumFftLength + 1]) expect(() => createFftPlan(length, "columns")).toThrow(/fft: length/);
  });
});

describe("tables", () => {
  it("hold the twiddles of a pass, output fastest", () => {
    const table = passTwiddles(6, 3);
    const at = (2 * 4 + 1) * 2;
    expect(table[at]).toBeCloseTo(Math.cos((2 * Math.PI * 4 * 2) / 18), 6);
    expect(table[at + 1]).toBeCloseTo(-Math.sin((2 * Math.PI * 4 * 2) / 18), 6);
  });
  it("hold the chirp to double precision at long lengths", () => {
    const length = 1_000_003;
    const { real, imaginary } = chirp(length);
    const j = 987_654n;
    const angle = (Math.PI * Number((j * j) % BigInt(2 * length))) / length;
    expect(real[Number(j)]).toBeCloseTo(Math.cos(angle), 12);
    expect(imaginary[Number(j)]).toBeCloseTo(-Math.sin(angle), 12);
  });
});
